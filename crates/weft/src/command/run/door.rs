//! Where `weft exec` asks a launcher for the way into its workload: a socket in the state folder, which
//! the workload's programs don't see. Who may ask is decided as at the control socket.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixListener;
use weft_capture::Namespaces;

use crate::failure::{Context, Failure};
use crate::home::Home;
use crate::print;

/// A launcher's socket; gone with it.
pub(super) struct Door {
    path: PathBuf,
    listener: UnixListener,
    namespaces: Namespaces,
}

impl Door {
    /// Opens the socket of this launcher; call it inside of the runtime.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn new(home: &Home, namespaces: Namespaces) -> Result<Self, Failure> {
        let path = home.launcher_socket(std::process::id());
        let listener = weft_control::listen(&path).context("open the launcher's socket")?;
        Ok(Self { path, listener, namespaces })
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

impl Drop for Door {
    fn drop(&mut self) {
        // What is left over is removed by whoever opens a socket of that name.
        let _ = fs::remove_file(&self.path);
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
