//! A Kubernetes cluster that runs already (`tests/cluster/up`), as tests use it: through kubectl, each
//! in namespaces of its own. Knows nothing of Weft.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mesh::told;
use crate::skipped;

/// How long a wait may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The running cluster.
#[derive(Debug)]
pub struct Cluster {
    state: PathBuf,
}

impl Cluster {
    /// The cluster that `WEFT_CLUSTER` names. Without one says that the test is skipped, where no
    /// test's output is hidden.
    pub fn running() -> Option<Self> {
        if let Some(state) = env::var_os("WEFT_CLUSTER") {
            return Some(Self { state: state.into() });
        }
        skipped("no cluster: scripts/test-cluster makes one for the tests");
        None
    }

    /// The folder of what runs.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// kubectl, as the cluster's administrator.
    pub fn kubectl(&self) -> Command {
        self.command(self.state.join("kubectl"))
    }

    /// Any program that finds the cluster as a user's does.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.state.join("pki/admin.kubeconfig")).stdin(Stdio::null());
        command
    }

    /// Runs kubectl with these words.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn run(&self, words: &[&str]) -> String {
        succeeded(self.kubectl().args(words), words)
    }

    /// Applies manifests.
    ///
    /// # Panics
    /// When the API server refuses one, with what it said.
    pub fn apply(&self, manifests: &str) {
        let mut command = self.kubectl();
        command.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl");
        child.stdin.take().expect("a pipe").write_all(manifests.as_bytes()).expect("a reader");
        let output = child.wait_with_output().expect("its output");
        assert!(output.status.success(), "{}\n{manifests}", told(&output));
    }

    /// Makes a namespace that is the test's own: `name`, made unique.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn namespace(&self, name: &str) -> Namespace<'_> {
        let name = format!("{name}-{}", std::process::id());
        self.run(&["create", "namespace", &name]);
        Namespace { cluster: self, name }
    }

    /// Stops a program of the control plane (`apiserver`, `controller-manager`) where it stands, until
    /// what this returns is dropped.
    ///
    /// # Panics
    /// When it doesn't run.
    pub fn freeze(&self, program: &str) -> Frozen {
        let remembered = fs::read_to_string(self.state.join("pids").join(program)).unwrap_or_default();
        let pid = remembered.split(' ').next().unwrap_or_default().parse();
        let frozen =
            Frozen(Pid::from_raw(pid.unwrap_or_else(|_| panic!("{program} isn't remembered: {remembered:?}"))));
        kill(frozen.0, Signal::SIGSTOP).unwrap_or_else(|error| panic!("{program}: {error}"));
        frozen
    }

    /// Ends a program of the control plane (`apiserver`) at once and starts it again, as
    /// `tests/cluster/restart` does.
    ///
    /// # Panics
    /// When it doesn't come back.
    pub fn restart(&self, program: &str) {
        succeeded(self.script("restart").arg(program), &["restart", program]);
    }

    /// Changes how long a node that says nothing counts as ready, as `tests/cluster/grace` does.
    ///
    /// # Panics
    /// When it can't be changed.
    pub fn node_grace(&self, grace: &str) {
        succeeded(self.script("grace").arg(grace), &["grace", grace]);
    }

    /// A command inside a node, which is a number from 1: in its network, mounts and processes.
    pub fn node(&self, node: u32) -> Command {
        let mut command = self.script("node");
        command.arg(node.to_string());
        command
    }

    fn script(&self, name: &str) -> Command {
        let mut command = self.command(Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(name));
        command.env("WEFT_CLUSTER_STATE", &self.state);
        command
    }
}

/// A program that is stopped, and goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen(Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// A namespace of a test, deleted when it is dropped; after a failure it first says what is in it.
#[derive(Debug)]
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Namespace<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self) -> Command {
        let mut command = self.cluster.kubectl();
        command.args(["--namespace", &self.name]);
        command
    }

    /// Runs kubectl in this namespace with these words.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn run(&self, words: &[&str]) -> String {
        succeeded(self.kubectl().args(words), words)
    }

    /// Applies manifests, in which `NAMESPACE` stands for this namespace's name.
    ///
    /// # Panics
    /// When the API server refuses one, with what it said.
    pub fn apply(&self, manifests: &str) {
        self.cluster.apply(&manifests.replace("NAMESPACE", &self.name));
    }

    /// Watches objects until a condition, as `kubectl wait` names both: `pod/a`, `condition=Ready`.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub fn wait(&self, what: &str, condition: &str) {
        let patience = format!("--timeout={}s", PATIENCE.as_secs());
        self.run(&["wait", what, &format!("--for={condition}"), &patience]);
    }

    /// Watches a rollout to its end: `deployment/a`.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub fn rolled_out(&self, what: &str) {
        self.run(&["rollout", "status", what, &format!("--timeout={}s", PATIENCE.as_secs())]);
    }

    /// Runs a program in a pod (`pod`, `deployment/a`, `pod -c container`) to its end.
    ///
    /// # Panics
    /// When kubectl can't be run.
    pub fn exec(&self, pod: &str, program: &[&str]) -> Output {
        let mut command = self.kubectl();
        command.arg("exec").args(pod.split(' ')).arg("--").args(program);
        command.output().expect("kubectl")
    }

    /// Runs a program in a pod again and again until what it did is what is waited for: for what
    /// can't be watched. Returns what it wrote.
    ///
    /// # Panics
    /// After [`PATIENCE`], with what the last run said.
    pub fn exec_until(&self, pod: &str, program: &[&str], wanted: impl Fn(&Output) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.exec(pod, program);
            if wanted(&output) {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            assert!(Instant::now() < deadline, "{pod}: {program:?}: {}", told(&output));
        }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for what in [&["get", "pods", "-o", "wide"][..], &["get", "events", "--sort-by=.lastTimestamp"]] {
                if let Ok(output) = self.kubectl().args(what).output() {
                    let _ = writeln!(io::stderr(), "in {}: {}", self.name, told(&output));
                }
            }
        }
        let _ = self.cluster.kubectl().args(["delete", "namespace", &self.name, "--wait=false"]).output();
    }
}

fn succeeded(command: &mut Command, words: &[&str]) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{words:?}: {}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
