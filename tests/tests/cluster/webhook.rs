//! The webhooks, by those who may not be believed and while they change: bad requests from inside of the
//! cluster, a certificate that is replaced, a controller that is replaced.

use std::process::{Command, Stdio};

use weft_tests::cluster::Namespace;
use weft_tests::meshed::Meshed;
use weft_tests::process::Process;
use weft_tests::shell::Shell;

/// Sends what an API server wouldn't; prints each answer's status. `slow` announces a body and sends none.
const ABUSE: &str = r#"
import http.client, json, ssl, sys, threading
context = ssl._create_unverified_context()
def ask(method, path, body):
    connection = http.client.HTTPSConnection("weft-controller.weft", 443, context=context, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()
def review(version, request):
    return json.dumps({"apiVersion": version, "kind": "AdmissionReview", "request": request})
def slow():
    connection = http.client.HTTPSConnection("weft-controller.weft", 443, context=context, timeout=30)
    connection.putrequest("POST", "/inject")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"{")
    return connection.getresponse().status
pod = {"kind": "Pod", "spec": {"containers": []}}
question = {"uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "namespace": sys.argv[1], "object": pod}
print("malformed", ask("POST", "/inject", "{"))
print("empty", ask("POST", "/inject", ""))
print("version", ask("POST", "/inject", review("admission.k8s.io/v1beta1", question)))
print("no question", ask("POST", "/validate", review("admission.k8s.io/v1", None)))
print("no pod", ask("POST", "/inject", review("admission.k8s.io/v1", question | {"object": 7})))
print("nowhere", ask("POST", "/inject", review("admission.k8s.io/v1", question | {"namespace": "no-such"})))
print("path", ask("POST", "/", review("admission.k8s.io/v1", question)))
print("method", ask("GET", "/inject", None))
print("huge", ask("POST", "/inject", b" " * (4 << 20)))
print("slow", slow())
print("good", ask("POST", "/inject", review("admission.k8s.io/v1", question)))
crowd = [threading.Thread(target=ask, args=("POST", "/inject", b"[" * (3 << 20))) for _ in range(24)]
for thread in crowd: thread.start()
for thread in crowd: thread.join()
print("after a crowd", ask("POST", "/inject", review("admission.k8s.io/v1", question)))
"#;
const ANSWERS: &str = "malformed 400\nempty 400\nversion 400\nno question 400\nno pod 400\nnowhere 503\npath 404\n\
                       method 405\nhuge 413\nslow 408\ngood 200\nafter a crowd 200\n";

fn controller(mesh: &Meshed) -> String {
    mesh.shell("kubectl get pod -n weft -l weft.io/component=controller -o jsonpath={.items[0].metadata.name}")
}

#[test]
fn requests_that_are_none_are_refused_and_cost_little() {
    let Some(mesh) = Meshed::alone() else { return };
    let namespace = mesh.cluster.namespace("abuse");
    namespace.apply(&Shell::outside("abuser").manifest());
    namespace.wait("pod/abuser", "condition=Ready");
    let name = controller(&mesh);
    let process = Process::of(&mesh.cluster, ("weft", &name), "weft");
    let abuse = namespace.exec("abuser", &["python3", "-c", ABUSE, namespace.name()]);
    assert_eq!(String::from_utf8_lossy(&abuse.stdout), ANSWERS, "{}", String::from_utf8_lossy(&abuse.stderr));
    let most = process.kib("VmHWM");
    // 24 × 3 MiB of what looks like JSON were sent at once; 512 MiB is what the controller may use.
    assert!(most < 200 * 1024, "{most} KiB at most");
    let made = try_pod(&namespace);
    assert!(made.success(), "a pod is injected as before");
    assert_eq!(controller(&mesh), name);
    let restarts = "jsonpath={.items[0].status.containerStatuses[0].restartCount}";
    assert_eq!(
        mesh.cluster.run(&["get", "pod", "-n", "weft", "-l", "weft.io/component=controller", "-o", restarts]),
        "0"
    );
}

/// A pod that asks for a proxy, in a dry run: made only when it got one.
fn try_pod(namespace: &Namespace<'_>) -> std::process::ExitStatus {
    let script = format!("{DRY_RUN} | grep -q weft-proxy");
    dry_run(namespace, &script).status().unwrap()
}

fn dry_run(namespace: &Namespace<'_>, script: &str) -> Command {
    let kubectl = namespace.kubectl();
    let mut command = Command::new("sh");
    command.envs(kubectl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("KUBECTL", kubectl.get_program()).env("NAMESPACE", namespace.name()).args(["-c", script]);
    command
}

const DRY_RUN: &str = "$KUBECTL run -n $NAMESPACE trial --image=none --labels=sidecar.istio.io/inject=true \
                       --dry-run=server -o jsonpath='{.spec.initContainers[*].name}'";

/// Makes pods, one after another, until [`Trials::end`].
struct Trials(std::process::Child);

impl Trials {
    fn start(namespace: &Namespace<'_>) -> Self {
        let script = format!(
            "made=0; failed=0; while [ ! -e $END ]; do if found=$({DRY_RUN} 2>&1) && [ \"$found\" = 'weft-init weft-proxy' ]; \
             then made=$((made + 1)); else failed=$((failed + 1)); echo \"$found\"; fi; done; echo made $made, failed $failed"
        );
        let mut command = dry_run(namespace, &script);
        let _ = std::fs::remove_file(end_file());
        Self(command.env("END", end_file()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Panics when a pod wasn't made, or none was.
    fn end(self) {
        std::fs::write(end_file(), "").unwrap();
        let output = self.0.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("failed 0") && !said.contains("made 0"), "{said}");
    }
}

fn end_file() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("weft-trials-{}", std::process::id()))
}

#[test]
fn pods_are_injected_while_the_webhooks_certificate_is_replaced() {
    let Some(mesh) = Meshed::alone() else { return };
    let namespace = mesh.cluster.namespace("rotated");
    let served = "openssl s_client -connect $(kubectl get service -n weft weft-controller \
                  -o jsonpath={.spec.clusterIP}):443 </dev/null 2>/dev/null | openssl x509 -noout -serial";
    let stored = "kubectl get secret -n weft weft-webhook -o jsonpath='{.data.tls\\.crt}' | base64 -d \
                  | openssl x509 -noout -serial";
    // The machine's own way to a Service is a moment behind a controller that was replaced.
    let before = mesh.shell_until(served, |output| output.status.success());
    let trials = Trials::start(&namespace);
    mesh.shell("kubectl delete secret -n weft weft-webhook");
    let new = mesh.shell_until(stored, |output| output.status.success());
    assert_ne!(new, before);
    mesh.shell_until(served, |output| String::from_utf8_lossy(&output.stdout) == new);
    trials.end();
    mesh.shell("weft check --wait=120s");
}

#[test]
fn pods_are_injected_while_the_controller_is_replaced() {
    let Some(mesh) = Meshed::alone() else { return };
    let namespace = mesh.cluster.namespace("replaced");
    let old = controller(&mesh);
    let trials = Trials::start(&namespace);
    mesh.shell("kubectl rollout restart -n weft deployment/weft-controller");
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    mesh.shell(&format!("kubectl wait -n weft --for=delete pod/{old} --timeout=120s"));
    trials.end();
}
