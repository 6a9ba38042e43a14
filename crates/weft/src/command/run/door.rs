//! Where `weft exec` asks a launcher for the way into its workload: a socket in the state folder, which
//! the workload's programs don't see. Who may ask is decided as at the control socket.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use weft_capture::Namespaces;

use crate::failure::{Context, Failure};
use crate::home::Home;
use crate::print;

/// A launcher's socket.
pub(super) struct Door {
    path: PathBuf,
    listener: UnixListener,
    namespaces: Arc<Namespaces>,
    card: Card,
}

/// Who is behind a door: what is asked for by name is found while no control plane runs, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Card {
    /// The service's name.
    pub(crate) name: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// This replica, `NAMESPACE/NAME`.
    pub(crate) workload: String,
    /// The user that its programs run as, when that is another's.
    pub(crate) user: Option<String>,
}

impl Door {
    /// Opens the socket of this launcher; call it inside of the runtime.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn new(home: &Home, namespaces: Arc<Namespaces>, card: Card) -> Result<Self, Failure> {
        let path = home.launcher_socket(std::process::id());
        let listener = weft_control::listen(&path).context("open the launcher's socket")?;
        Ok(Self { path, listener, namespaces, card })
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
                    Ok(_) => drop(self.answer(&stream)),
                    Err(error) => print::note(&format!("weft: a peer was turned away: {error}")),
                },
                // Out of descriptors, most likely.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    fn answer(&self, stream: &UnixStream) -> io::Result<()> {
        self.namespaces.send(stream)?;
        // It fits into the socket's buffer, which is empty but for a byte.
        stream.try_write(&serde_json::to_vec(&self.card)?).map(drop)
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
