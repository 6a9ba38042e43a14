//! Which mesh a command asks: this machine's, whose state is one folder, or a cluster's.

use std::env;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::access::Access;
use crate::args::{Arguments, STATE_VARIABLE};
use crate::failure::Failure;
use crate::print;

/// A mesh in one of its two homes.
#[derive(Debug)]
pub(crate) enum Mesh {
    /// This machine's.
    Local(Home),
    /// A cluster's.
    Cluster(Access),
}

impl Mesh {
    /// The one that was asked for; else this machine's if it runs, else the kubeconfig's cluster. Where
    /// both could be meant, standard error names the choice.
    ///
    /// # Errors
    /// As [`Home::find`].
    pub(crate) fn choose(arguments: &Arguments) -> Result<Self, Failure> {
        let access = Access::of(&arguments.cluster);
        if access.is_explicit() {
            return Ok(Self::Cluster(access));
        }
        let home = Home::find(arguments.state_dir.as_deref());
        if arguments.cluster.local || arguments.state_dir.is_some() {
            return home.map(Self::Local);
        }
        let runs = home.as_ref().is_ok_and(Home::runs);
        match (runs, access.names_a_cluster()) {
            (false, Some(name)) => {
                print::note(&format!("weft: no mesh runs on this machine; asking the cluster {name}"));
                Ok(Self::Cluster(access))
            }
            (true, Some(_)) => {
                print::note("weft: asking this machine's mesh; --context NAME asks a cluster");
                home.map(Self::Local)
            }
            // A kubeconfig that can't be used is told of, and not passed over.
            (false, None) if env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty()) => {
                Ok(Self::Cluster(access))
            }
            (_, None) => home.map(Self::Local),
        }
    }
}

impl Mesh {
    /// The namespace that was asked for, else the one that is usual there.
    ///
    /// # Errors
    /// When no kubeconfig says which.
    pub(crate) async fn namespace(&self, asked: Option<&str>) -> Result<String, Failure> {
        match (asked, self) {
            (Some(asked), _) => Ok(asked.to_owned()),
            (None, Self::Local(_)) => Ok("default".to_owned()),
            (None, Self::Cluster(access)) => Ok(access.cluster().await?.namespace),
        }
    }
}

/// The state folder of one mesh.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    state: PathBuf,
}

impl Home {
    /// The folder that was asked for, else `$XDG_STATE_HOME/weft`, else `~/.local/state/weft`.
    ///
    /// # Errors
    /// When nothing names a folder, or its socket's path would be too long for the kernel.
    pub(crate) fn find(asked: Option<&Path>) -> Result<Self, Failure> {
        let state = match asked {
            Some(path) => path.to_path_buf(),
            None => habit().ok_or_else(|| {
                Failure::new("no state folder: neither XDG_STATE_HOME nor HOME is set")
                    .hint(format!("name one with --state-dir DIR or {STATE_VARIABLE}"))
            })?,
        };
        let state = std::path::absolute(&state)
            .map_err(|error| Failure::new(format!("state folder {}: {error}", state.display())))?;
        let home = Self { state };
        let length = home.launcher_socket(u32::MAX).as_os_str().len();
        if length > MAX_SOCKET_PATH_BYTES {
            return Err(Failure::new(format!(
                "state folder {}: a socket's path has {length} bytes, the kernel takes {MAX_SOCKET_PATH_BYTES}",
                home.state.display()
            ))
            .hint("name a shorter one with --state-dir DIR"));
        }
        Ok(home)
    }

    /// The folder itself.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// The control plane's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state.join("control.sock")
    }

    /// The socket of the launcher with this pid.
    pub(crate) fn launcher_socket(&self, pid: u32) -> PathBuf {
        self.launcher_sockets().join(format!("{pid}.sock"))
    }

    /// The folder of launchers' sockets.
    pub(crate) fn launcher_sockets(&self) -> PathBuf {
        self.state.join("run")
    }

    /// Whether a control plane answers there.
    fn runs(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    /// Tries whether files can be filled there: on a full disk folders can be made, and nothing else.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn try_write(&self) -> io::Result<()> {
        let path = self.state.join(format!("try.{}", std::process::id()));
        let tried = fs::write(&path, [0; 4096]);
        // Where it couldn't be made there is nothing to remove.
        let _ = fs::remove_file(&path);
        tried
    }

    /// Where logs go.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }
}

fn habit() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state"))).map(|base| base.join("weft"))
}

/// `sun_path` holds 108 bytes, the last of them NUL (unix(7)).
const MAX_SOCKET_PATH_BYTES: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_sockets_the_kernel_cannot_bind_is_refused() {
        let found = |bytes: usize| Home::find(Some(Path::new(&format!("/{}", "x".repeat(bytes - 1)))));
        // `/run/4294967295.sock` follows.
        assert!(found(107 - 20).is_ok());
        assert!(found(107 - 19).is_err());
    }
}
