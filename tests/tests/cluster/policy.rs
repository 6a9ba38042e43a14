//! Istio's YAML as it stands, in two namespaces: who is admitted, who is refused, and what the wire shows.

use std::io::Read;
use std::process::{Output, Stdio};

use weft_tests::cluster::Namespace;
use weft_tests::meshed::Meshed;
use weft_tests::shell::Shell;

const PAYMENTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: payments, namespace: NAMESPACE}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: payments, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: payments}}
  template:
    metadata: {labels: {app: payments}, annotations: {linkerd.io/inject: enabled}}
    spec:
      serviceAccountName: payments
      nodeName: node1
      terminationGracePeriodSeconds: 5
      containers:
      - name: payments
        image: localhost/weft-test/tools:1
        command: [sh, -c, "cd /tmp; echo card-4929-1312-0007-2026 > charge; exec python3 -m http.server 8080"]
        readinessProbe: {httpGet: {port: 8080, path: /charge}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: NAMESPACE}
spec: {selector: {app: payments}, ports: [{port: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: payments-policy, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: payments}}
  rules:
    - from:
        - source: {principals: ["cluster.local/ns/SHOP/sa/checkout-service"]}
"#;

const STRICT: &str = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"#;
const SECRET: &str = "card-4929-1312-0007-2026";

#[test]
fn only_the_verified_identity_is_admitted_and_the_wire_shows_nothing() {
    let Some(mesh) = Meshed::alone() else { return };
    let (payments, shop) = (mesh.cluster.namespace("pay"), mesh.cluster.namespace("shop"));
    payments.apply(&PAYMENTS.replace("SHOP", shop.name()));
    shop.run(&["create", "serviceaccount", "checkout-service"]);
    let checkout = Shell::meshed("checkout").account("checkout-service").on("node2");
    for pod in [checkout, Shell::meshed("stranger").on("node2"), Shell::outside("outside").on("node2")] {
        shop.apply(&pod.manifest());
    }
    for pod in ["pod/checkout", "pod/stranger", "pod/outside"] {
        shop.wait(pod, "condition=Ready");
    }
    payments.rolled_out("deployment/payments");
    let call = |pod: &str| charge(&shop, &payments, pod);
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();

    let capture = Capture::start(&mesh);
    shop.exec_until("checkout -c shell", &curl(&payments, "charge").each_ref().map(String::as_str), |o| {
        said(o) == format!("{SECRET}\n200")
    });
    let bytes = capture.end();
    assert!(bytes.len() > 1_000, "the capture saw the calls");
    assert!(!contains(&bytes, SECRET.as_bytes()), "the payload is on the wire");

    let stranger = said(&call("stranger"));
    assert!(stranger.contains("RBAC: access denied") && stranger.ends_with("403"), "{stranger}");
    let url = format!("http://payments.{}:8080/charge", payments.name());
    let id =
        said(&shop.exec("stranger -c shell", &["curl", "-s", "-o", "/dev/null", "-w", "%header{x-request-id}", &url]));
    let why = mesh.shell_until(&format!("weft why {id}"), |output| said(output).matches(" 403 ").count() == 2);
    assert!(why.contains(" refused it: denied: ") && why.contains("payments-policy"), "{why}");
    let outside = said(&call("outside"));
    assert!(outside.ends_with("403"), "a plain caller has no identity: {outside}");

    mesh.cluster.apply(STRICT);
    shop.exec_until("outside", &curl(&payments, "charge").each_ref().map(String::as_str), |o| !o.status.success());
    assert_eq!(said(&call("checkout")), format!("{SECRET}\n200"), "probes and calls go on under STRICT");
    payments.rolled_out("deployment/payments");
    mesh.shell("kubectl delete peerauthentication default -n istio-system");
}

fn charge(shop: &Namespace<'_>, payments: &Namespace<'_>, pod: &str) -> Output {
    shop.exec(&format!("{pod} -c shell"), &curl(payments, "charge").each_ref().map(String::as_str))
}

fn curl(payments: &Namespace<'_>, path: &str) -> [String; 7] {
    let url = format!("http://payments.{}:8080/{path}", payments.name());
    ["curl", "-s", "-m", "30", "-w", "%{http_code}", &url].map(str::to_owned)
}

/// What passes the link of node 2.
struct Capture(std::process::Child);

impl Capture {
    fn start(mesh: &Meshed) -> Self {
        let mut command = mesh.cluster.node(2);
        command.args([
            "sh",
            "-c",
            "tcpdump --immediate-mode -U -i eth0 -w - tcp and not port 10250 & read -r end; kill $!",
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // The file's header comes when it listens.
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 24]).unwrap();
        Self(child)
    }

    fn end(mut self) -> Vec<u8> {
        drop(self.0.stdin.take());
        let mut bytes = Vec::new();
        self.0.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
        self.0.wait().unwrap();
        bytes
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
