//! A folder in which `weft` runs, and what it says there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// An empty folder, gone at the end.
pub(crate) struct Room(tempfile::TempDir);

impl Room {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Runs `weft` here: exit status, standard output, standard error.
    pub(crate) fn weft<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command
            .env("HOME", "/nonexistent")
            .env_remove("XDG_STATE_HOME")
            .env_remove("WEFT_STATE_DIR")
            .env_remove("KUBECONFIG");
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let status = output.status.code().map_or("killed".to_owned(), |code| code.to_string());
        let err = if err.is_empty() { String::new() } else { format!("--- stderr\n{err}") };
        format!("exit {status}\n{out}{err}")
    }

    /// The words of a line as arguments; none of them holds a space.
    pub(crate) fn run(&self, line: &str) -> String {
        self.weft(line.split_whitespace())
    }
}

/// Istio's example of a policy by identity.
pub(crate) const PAYMENTS: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: payments-policy
  namespace: payments
spec:
  selector:
    matchLabels:
      app: payments-api
  action: ALLOW
  rules:
  - from:
    - source:
        principals: [\"cluster.local/ns/checkout/sa/checkout-service\"]
";

/// The whole mesh: only callers that prove who they are.
pub(crate) const STRICT: &str = "\
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata:
  name: default
  namespace: istio-system
spec:
  mtls:
    mode: STRICT
";

/// A policy of the namespace `default` with these lines as its `spec`.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: {name}\nspec:\n{spec}")
}
