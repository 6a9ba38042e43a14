//! What a control plane answers to those who ask what no honest proxy asks, over the wire and from a pod's
//! own address: tokens that aren't the pod's, identities that aren't its own, records of others.

use std::fs;

use weft_tests::cluster::Namespace;
use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;
use weft_tests::process::Process;
use weft_tests::shell::Shell;

/// Two pods without proxies, of two accounts; one of them asks.
struct Scene<'a> {
    mesh: &'a Meshed,
    namespace: Namespace<'a>,
    files: tempfile::TempDir,
    control: String,
}

impl<'a> Scene<'a> {
    fn new(mesh: &'a Meshed, name: &str) -> Self {
        let namespace = mesh.cluster.namespace(name);
        for account in ["thief", "victim"] {
            namespace.run(&["create", "serviceaccount", account]);
            namespace.apply(&Shell::outside(account).account(account).manifest());
        }
        for pod in ["pod/thief", "pod/victim"] {
            namespace.wait(pod, "condition=Ready");
        }
        let files = tempfile::tempdir().unwrap();
        let anchors = mesh.shell("kubectl get configmap -n weft weft-anchors -o jsonpath='{.data.ca\\.crt}'");
        fs::write(files.path().join("anchors"), anchors).unwrap();
        let control = mesh.shell("kubectl get service -n weft weft-controller -o jsonpath={.spec.clusterIP}:15012");
        Self { mesh, namespace, files, control }
    }

    /// A token of a service account, with these words to `kubectl create token`.
    fn token(&self, account: &str, words: &[&str]) -> String {
        self.namespace.run(&[&["create", "token", account], words].concat())
    }

    /// A token of a pod, which bears its account's name, as its proxy has one.
    fn bound(&self, pod: &str, audience: &str) -> String {
        let pod_name = format!("--bound-object-name={pod}");
        self.token(pod, &[&format!("--audience={audience}"), "--bound-object-kind=Pod", &pod_name])
    }

    /// The same token, if it had ended an hour ago.
    fn expired(&self, token: &str) -> String {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/expired.py");
        let key = self.mesh.cluster.state().join("pki/tokens.key");
        self.mesh.shell(&format!("printf %s '{token}' | python3 {program} {}", key.display()))
    }

    /// What the thief is told, who asks for an account's certificate with a token, and then for records.
    fn asks(&self, token: &str, account: &str, records: &[&str]) -> String {
        let file = |name: &str| self.files.path().join(name).display().to_string();
        fs::write(file("token"), token).unwrap();
        let identity = format!("spiffe://cluster.local/ns/{}/sa/{account}", self.namespace.name());
        let mut command = Process::of(&self.mesh.cluster, (self.namespace.name(), "thief"), "sleep").network();
        command.args([env!("CARGO_BIN_EXE_asker"), &self.control, &file("anchors"), &file("token"), &identity]);
        let output = command.args(records).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Such a pod of the namespace, by its full name.
    fn full(&self, pod: &str) -> String {
        format!("{}/{pod}", self.namespace.name())
    }
}

/// What everybody hears who isn't believed: why is the log's.
const REFUSED: &str = "certificate refused: Unauthenticated: expected the proxy of a running pod of the mesh\n";

#[test]
fn a_token_is_believed_from_its_own_pod_alone_and_until_it_ends() {
    let Some(mesh) = Meshed::shared() else { return };
    let scene = Scene::new(&mesh, "tokens");
    let own = scene.bound("thief", "weft.io");
    let granted = scene.asks(&own, "thief", &[]);
    assert!(granted.starts_with("certificate: spiffe://"), "{granted}");

    let victims = scene.bound("victim", "weft.io");
    let refused = [
        ("of another pod", victims.clone(), "expected a connection from"),
        ("of another audience", scene.bound("thief", "https://kubernetes.default.svc.cluster.local"), "audience"),
        ("that ended", scene.expired(&own), "expired"),
        ("of no pod", scene.token("thief", &["--audience=weft.io"]), "bound to a pod"),
        ("that is none", "nonsense".to_owned(), "expected a token that the API server knows"),
    ];
    for (what, token, _) in &refused {
        assert_eq!(scene.asks(token, "thief", &[]), REFUSED, "a token {what}");
    }
    let log = mesh.shell("kubectl logs -n weft deployment/weft-controller --tail=200");
    let address = scene.namespace.run(&["get", "pod", "thief", "-o", "jsonpath={.status.podIP}"]);
    let told: Vec<&str> = log.lines().filter(|line| line.contains(&address)).collect();
    for (what, token, reason) in &refused {
        assert!(told.iter().any(|line| line.contains(reason)), "nothing of a token {what} in {told:#?}");
        assert!(!log.contains(token.rsplit('.').next().unwrap()) || *what == "that is none", "a token is in the log");
    }

    scene.namespace.run(&["delete", "pod", "victim", "--now"]);
    assert_eq!(scene.asks(&victims, "victim", &[]), REFUSED, "a token of a pod that is no more");
}

#[test]
fn a_pod_gets_no_other_identity_and_no_others_records() {
    let Some(mesh) = Meshed::shared() else { return };
    let scene = Scene::new(&mesh, "others");
    let own = scene.bound("thief", "weft.io");
    let (thief, victim) = (scene.full("thief"), scene.full("victim"));

    let another = scene.asks(&own, "victim", &[]);
    assert!(another.starts_with("certificate refused: InvalidArgument"), "{another}");
    let records = scene.asks(&own, "thief", &[&thief, &thief]);
    // It is answered; a pod without a proxy has no record.
    assert!(records.contains("record:  came, 1 removed"), "{records}");
    let as_victim = scene.asks(&own, "thief", &[&victim, &victim]);
    assert!(as_victim.contains("record refused: Unauthenticated"), "{as_victim}");
    let of_victim = scene.asks(&own, "thief", &[&thief, &victim]);
    assert!(of_victim.contains("record refused: PermissionDenied"), "{of_victim}");
}
