//! Where a mesh of one machine keeps its state: one folder, chosen by flag, variable or habit.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The variable that names the state folder.
pub(crate) const STATE_VARIABLE: &str = "WEFT_STATE_DIR";

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
        let length = home.socket().as_os_str().len();
        if length > MAX_SOCKET_PATH_BYTES {
            return Err(Failure::new(format!(
                "state folder {}: the socket's path has {length} bytes, the kernel takes {MAX_SOCKET_PATH_BYTES}",
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
