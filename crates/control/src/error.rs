//! Why a control plane can't run.

use std::io;
use std::path::PathBuf;

use crate::socket::SocketError;
use crate::store::StoreError;

/// Why the control plane can't run.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The folder of manifests.
    #[error("{}: expected a folder that can be read, found an error: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why it can't be read.
        cause: io::Error,
    },
    /// The server on the socket broke down.
    #[error("the control socket broke down: {0}")]
    Server(String),
}
