//! The accept loop that all listeners share: bounded, and it outlives errors.

use std::net::SocketAddr;
use std::rc::Rc;

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::drain::Drain;
use crate::limits::ACCEPT_PAUSE;

/// Hands each accepted connection to `serve` with a permit that it keeps while it lasts. While all
/// permits are out, callers wait in the kernel's queue. Ends when draining begins.
pub(crate) async fn each(
    drain: &Rc<Drain>,
    listener: TcpListener,
    permits: Arc<Semaphore>,
    serve: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    let accepting = async {
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, caller)) => {
                    // Fails only when the peer has reset the connection; reading tells it.
                    let _gone = socket.set_nodelay(true);
                    // A listener of both families tells IPv4 callers in IPv6, which no policy names.
                    serve(socket, SocketAddr::new(caller.ip().to_canonical(), caller.port()), permit);
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = drain.begun() => {}
    }
}
