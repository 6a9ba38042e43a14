//! Where `weft exec` asks a launcher for the way into its workload: a socket in the state folder, which
//! the workload's programs don't see. Who may ask is decided as at the control socket.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use weft_capture::Namespaces;

use crate::failure::{Context, Failure};
use crate::home::Home;
use crate::print;

/// A launcher's socket.
pub(super) struct Door {
    path: PathBuf,
    listener: UnixListener,
    namespaces: Arc<Namespaces>,
}

impl Door {
    /// Opens the socket of this launcher; call it inside of the runtime.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn new(home: &Home, namespaces: Arc<Namespaces>) -> Result<Self, Failure> {
        let path = home.launcher_socket(std::process::id());
        let listener = weft_control::listen(&path).context("open the launcher's socket")?;
        Ok(Self { path, listener, namespaces })
    }

    /// Takes the socket away. What a killed launcher leaves is removed by the next `weft up`.
    pub(super) fn close(&self) {
        // It is gone already when somebody removed the state folder.
        let _ = fs::remove_file(&self.path);
    }

    /// Hands the namespaces to everybody who may have them; never ends.
    pub(super) async fn open_to_all(&self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match weft_control::admit(&stream) {
                    // Whoever has gone again wanted nothing.
                    Ok(()) => drop(self.namespaces.send(&stream)),
                    Err(error) => print::note(&format!("weft: a peer was turned away: {error}")),
                },
                // Out of descriptors, most likely.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
