//! A server that one account may call and another may not: by it tests see whether the mesh goes on.

use weft_tests::cluster::Namespace;
use weft_tests::meshed::Meshed;
use weft_tests::shell::Shell;

/// Web pages, in the mesh.
pub(crate) const SERVER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: NAMESPACE, labels: {app: web, sidecar.istio.io/inject: "true"}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: localhost/weft-test/tools:1
    command: [python3, -m, http.server, "8080"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// Who may call: an account of the server's namespace.
const POLICY: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: friends, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: web}}
  rules: [{from: [{source: {principals: ["cluster.local/ns/NAMESPACE/sa/friend"]}}]}]
"#;

/// The server `web` with the pods `friend` and `stranger`, each of an account of its name.
pub(crate) struct Guarded<'a> {
    pub(crate) namespace: Namespace<'a>,
}

impl<'a> Guarded<'a> {
    /// Starts all three, and waits until the policy is in force.
    pub(crate) fn start(mesh: &'a Meshed, name: &str) -> Self {
        let namespace = mesh.cluster.namespace(name);
        for account in ["friend", "stranger"] {
            namespace.run(&["create", "serviceaccount", account]);
            namespace.apply(&Shell::meshed(account).account(account).manifest());
        }
        namespace.apply(SERVER);
        for pod in ["pod/web", "pod/friend", "pod/stranger"] {
            namespace.wait(pod, "condition=Ready");
        }
        let guarded = Self { namespace };
        guarded.guard();
        guarded
    }

    /// Applies the policy, and waits until it is in force.
    pub(crate) fn guard(&self) {
        self.namespace.apply(POLICY);
        self.until("stranger", "403");
        self.until("friend", "200");
    }

    /// The status that a pod's call gets; `000` is none at all.
    pub(crate) fn call(&self, pod: &str) -> String {
        String::from_utf8_lossy(&self.namespace.exec(pod, &CALL).stdout).into_owned()
    }

    /// Calls until a pod's call gets this status.
    pub(crate) fn until(&self, pod: &str, status: &str) {
        self.namespace.exec_until(pod, &CALL, |output| output.stdout == status.as_bytes());
    }

    /// Everything is as the policy says, and nothing else.
    pub(crate) fn holds(&self) {
        assert_eq!((self.call("friend").as_str(), self.call("stranger").as_str()), ("200", "403"));
    }
}

const CALL: [&str; 9] = ["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "http://web/"];
