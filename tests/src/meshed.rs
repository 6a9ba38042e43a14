//! Weft in the test cluster: installed once for all tests of a process, as README's Kubernetes page
//! says. Tests that change what holds for the whole mesh have it alone.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use crate::cluster::{Cluster, PATIENCE};
use crate::mesh::told;

/// Python's text of a server: HTTP/1.1 at 8080 answers with its path, TCP at 9000 echoes lines.
pub const SERVER: &str = include_str!("../programs/server.py");
/// Python's text of who asks it; the program itself says how.
pub const LOAD: &str = include_str!("../programs/load.py");

/// A mesh in the cluster, as far as others leave it alone.
#[derive(Debug)]
pub struct Meshed {
    /// The cluster.
    pub cluster: Cluster,
    _turn: Turn,
}

#[derive(Debug)]
enum Turn {
    Shared { _lock: RwLockReadGuard<'static, ()> },
    Alone { _lock: RwLockWriteGuard<'static, ()> },
}

impl Meshed {
    /// The mesh, beside other tests; installed when nobody has. `None` without a cluster.
    ///
    /// # Panics
    /// When it can't be installed.
    pub fn shared() -> Option<Self> {
        let cluster = Cluster::running()?;
        let turn = Turn::Shared { _lock: MESH_WIDE.read().unwrap_or_else(PoisonError::into_inner) };
        Some(Self { cluster, _turn: turn }.installed())
    }

    /// The mesh while no other test uses it. `None` without a cluster.
    ///
    /// # Panics
    /// When it can't be installed.
    pub fn alone() -> Option<Self> {
        Some(Self::locked()?.installed())
    }

    /// A cluster in which no mesh is installed, while no other test uses it.
    ///
    /// # Panics
    /// When the mesh can't be uninstalled.
    pub fn absent() -> Option<Self> {
        let mesh = Self::locked()?;
        if mesh.typed("kubectl get namespace weft").status.success() {
            mesh.shell("weft uninstall --force | kubectl delete -f -");
            mesh.shell("kubectl wait --for=delete namespace/weft --timeout=120s");
        }
        *INSTALLED.lock().unwrap_or_else(PoisonError::into_inner) = false;
        Some(mesh)
    }

    fn locked() -> Option<Self> {
        let cluster = Cluster::running()?;
        let turn = Turn::Alone { _lock: MESH_WIDE.write().unwrap_or_else(PoisonError::into_inner) };
        Some(Self { cluster, _turn: turn })
    }

    /// With the mesh, as a user installs it.
    fn installed(self) -> Self {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*installed {
            self.shell("weft install --crds | kubectl apply -f -");
            self.shell("weft install | kubectl apply -f -");
            self.shell("weft check --wait=120s");
            *installed = true;
        }
        drop(installed);
        self
    }

    /// Runs a line as a user types it, with `weft` and `kubectl` in the path. Returns what it wrote.
    ///
    /// # Panics
    /// When a program of it fails, with what it said.
    pub fn shell(&self, line: &str) -> String {
        let output = self.typed(line);
        assert!(output.status.success(), "{line}\n{}", told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// As [`Meshed::shell`], however it ends.
    ///
    /// # Panics
    /// When there is no shell.
    pub fn typed(&self, line: &str) -> Output {
        self.command("bash").args(["-o", "pipefail", "-c", line]).output().expect("bash")
    }

    /// Types a line again and again until what it wrote is what is waited for.
    ///
    /// # Panics
    /// After [`PATIENCE`], with what the last one said.
    pub fn shell_until(&self, line: &str, wanted: impl Fn(&Output) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.typed(line);
            if wanted(&output) {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            assert!(Instant::now() < deadline, "{line}\n{}", told(&output));
        }
    }

    /// A program that finds the cluster, `weft` and `kubectl` as a user's does.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.cluster.command(program);
        let path = std::env::var("PATH").unwrap_or_default();
        let state = self.cluster.state().display().to_string();
        command.env("PATH", format!("{}:{state}:{path}", built().display()));
        command
    }
}

/// The folder of this build's binaries.
fn built() -> PathBuf {
    crate::built_binaries().expect("cargo build --workspace --bins")
}

static MESH_WIDE: RwLock<()> = RwLock::new(());
static INSTALLED: Mutex<bool> = Mutex::new(false);
