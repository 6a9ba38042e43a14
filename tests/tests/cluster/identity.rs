//! A pod gets its own identity and no other, whatever it asks and whoever's token it shows.

use weft_tests::cluster::Namespace;
use weft_tests::meshed::Meshed;

/// A pod that runs a proxy by hand, which asks for the identity of a service account.
const ASKING: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: $NAME, namespace: $NAMESPACE, annotations: {linkerd.io/inject: disabled}}
spec:
  serviceAccountName: $ACCOUNT
  terminationGracePeriodSeconds: 0
  volumes:
  - name: own
    projected: {sources: [{serviceAccountToken: {path: token, audience: $AUDIENCE}}]}
  - name: stolen
    secret: {secretName: stolen, optional: true}
  containers:
  - name: proxy
    image: $IMAGE
    command: [/weft-proxy, --kubernetes]
    securityContext: {runAsUser: 2102}
    volumeMounts: [{name: own, mountPath: /own}, {name: stolen, mountPath: /stolen}]
    env:
    - {name: WEFT_POD_NAME, value: $CLAIMED}
    - {name: WEFT_POD_NAMESPACE, value: $NAMESPACE}
    - {name: WEFT_POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
    - {name: WEFT_POD_IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
    - {name: WEFT_SERVICE_ACCOUNT, value: $WANTED}
    - {name: WEFT_NODE_NAME, value: node}
    - {name: WEFT_TRUST_DOMAIN, value: cluster.local}
    - {name: WEFT_CLUSTER_DOMAIN, value: cluster.local}
    - {name: WEFT_CONTROL_ADDRESS, value: "$CONTROL:15012"}
    - {name: WEFT_CONTROL_IDENTITY, value: spiffe://cluster.local/ns/weft/sa/weft-controller}
    - {name: WEFT_TRUST_ANCHORS, valueFrom: {configMapKeyRef: {name: anchors, key: ca.crt}}}
    - {name: WEFT_TOKEN_FILE, value: $TOKEN}
    - {name: WEFT_LOG, value: info}
"#;

/// How a pod asks; what isn't said is honest.
struct Ask<'a> {
    name: &'a str,
    account: &'a str,
    audience: &'a str,
    claimed: &'a str,
    wanted: &'a str,
    token: &'a str,
}

impl<'a> Ask<'a> {
    fn honest(name: &'a str, account: &'a str) -> Self {
        Self { name, account, audience: "weft.io", claimed: name, wanted: account, token: "/own/token" }
    }

    /// Starts it; what its proxy says once it was granted, or refused again and again.
    fn answered(&self, mesh: &Meshed, namespace: &Namespace<'_>) -> String {
        let control = mesh.shell("kubectl get service -n weft weft-controller -o jsonpath={.spec.clusterIP}");
        let image = mesh.shell(
            "kubectl get deployment -n weft weft-controller -o jsonpath='{.spec.template.spec.containers[0].image}'",
        );
        let image = image.replace("/controller:", "/proxy:");
        let pod = [
            ("$NAMESPACE", namespace.name()),
            ("$NAME", self.name),
            ("$ACCOUNT", self.account),
            ("$AUDIENCE", self.audience),
            ("$IMAGE", &image),
            ("$CLAIMED", self.claimed),
            ("$WANTED", self.wanted),
            ("$CONTROL", &control),
            ("$TOKEN", self.token),
        ];
        mesh.cluster.apply(&pod.iter().fold(ASKING.to_owned(), |text, (mark, value)| text.replace(mark, value)));
        namespace.wait(&format!("pod/{}", self.name), "condition=Ready");
        let log = format!("kubectl logs -n {} {}", namespace.name(), self.name);
        mesh.shell_until(&log, |output| {
            let log = String::from_utf8_lossy(&output.stdout);
            // The first refusals may only say that a watch was behind.
            log.contains(GRANTED) || log.matches(REFUSED).count() >= 3
        })
    }
}

const GRANTED: &str = "a certificate came";
const REFUSED: &str = "no certificate";

#[test]
fn a_pod_gets_its_own_identity_and_no_other() {
    let Some(mesh) = Meshed::shared() else { return };
    let namespace = mesh.cluster.namespace("identity");
    for account in ["thief", "victim"] {
        namespace.run(&["create", "serviceaccount", account]);
    }
    let anchors = mesh.shell("kubectl get configmap -n weft weft-anchors -o jsonpath='{.data.ca\\.crt}'");
    namespace.run(&["create", "configmap", "anchors", &format!("--from-literal=ca.crt={anchors}")]);
    let refused = |ask: Ask<'_>| {
        let log = ask.answered(&mesh, &namespace);
        assert!(log.contains(REFUSED) && !log.contains(GRANTED), "{}: {log}", ask.name);
        // Why is the control plane's to know.
        assert!(!log.contains("audience") && !log.contains("uid"), "{}: {log}", ask.name);
    };

    let log = Ask::honest("victim", "victim").answered(&mesh, &namespace);
    assert!(log.contains(GRANTED), "{log}");

    refused(Ask { wanted: "victim", ..Ask::honest("other-account", "thief") });
    refused(Ask { claimed: "victim", wanted: "victim", ..Ask::honest("other-pod", "thief") });
    refused(Ask { audience: "https://kubernetes.default.svc.cluster.local", ..Ask::honest("other-audience", "thief") });
    let api = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    refused(Ask { token: api, ..Ask::honest("api-token", "thief") });

    let create =
        |words: &[&str]| namespace.run(&[&["create", "token", "victim", "--audience=weft.io"], words].concat());
    let steal = |token: &str| {
        namespace.run(&["delete", "secret", "stolen", "--ignore-not-found"]);
        namespace.run(&["create", "secret", "generic", "stolen", &format!("--from-literal=token={token}")]);
    };
    let bound = create(&["--bound-object-kind=Pod", "--bound-object-name=victim"]);
    steal(&bound);
    let stolen = Ask { wanted: "victim", token: "/stolen/token", ..Ask::honest("stolen", "thief") };
    refused(Ask { claimed: "victim", ..stolen });
    steal(&create(&[]));
    refused(Ask { wanted: "victim", token: "/stolen/token", ..Ask::honest("unbound", "victim") });
    namespace.run(&["delete", "pod", "victim", "--now"]);
    steal(&bound);
    refused(Ask {
        claimed: "victim",
        wanted: "victim",
        token: "/stolen/token",
        ..Ask::honest("of-the-dead", "victim")
    });
}
