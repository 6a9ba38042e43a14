//! The accept loop that all listeners share: bounded, and it outlives errors.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::drain::Drain;
use crate::limits::{ACCEPT_PAUSE, ACCEPT_TOLD};

/// The rest of a connection, once it is known what it carries: in a box of its own size, so that a
/// connection holds neither the room of what it might have been nor that of its beginning.
pub(crate) type Carrying<'d> = Pin<Box<dyn Future<Output = ()> + 'd>>;

/// Hands each accepted connection to `serve` with a permit that it keeps while it lasts. While all
/// permits are out, callers wait in the kernel's queue. Ends when draining begins.
pub(crate) async fn each(
    drain: &Rc<Drain>,
    listener: TcpListener,
    permits: Arc<Semaphore>,
    serve: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    let mut told: Option<Instant> = None;
    let mut is_news = || {
        let news = told.is_none_or(|at| at.elapsed() >= ACCEPT_TOLD);
        if news {
            told = Some(Instant::now());
        }
        news
    };
    let accepting = async {
        loop {
            if permits.available_permits() == 0 && is_news() {
                let at = listener.local_addr().ok();
                tracing::warn!(?at, "as many connections are open as there may be; further ones wait");
            }
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, caller)) => {
                    // Fails only when the peer has reset the connection; reading tells it.
                    let _gone = socket.set_nodelay(true);
                    // A listener of both families tells IPv4 callers in IPv6, which no policy names.
                    serve(socket, SocketAddr::new(caller.ip().to_canonical(), caller.port()), permit);
                }
                Err(error) => {
                    if is_news() {
                        tracing::warn!(%error, "accepting failed; connections wait");
                    }
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn further_ones_wait_until_one_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (drain, served) = (Rc::new(Drain::default()), RefCell::new(Vec::new()));
        let serve = |socket: TcpStream, caller, permit| served.borrow_mut().push((socket, caller, permit));
        let calling = async {
            let mut first = TcpStream::connect(at).await.unwrap();
            let second = TcpStream::connect(at).await.unwrap();
            let third = TcpStream::connect(at).await.unwrap();
            let callers = || served.borrow().iter().map(|(_, caller, _)| *caller).collect::<Vec<_>>();
            while callers().len() < 2 {
                tokio::task::yield_now().await;
            }
            let (mut socket, _, permit) = served.borrow_mut().remove(0);
            for _ in 0..10 {
                first.write_all(b"goes on").await.unwrap();
                socket.read_exact(&mut [0; 7]).await.unwrap();
                tokio::task::yield_now().await;
            }
            // The loop has come round, so that the third would have been seen.
            assert_eq!(callers(), [second.local_addr().unwrap()]);
            drop((socket, permit));
            while !callers().contains(&third.local_addr().unwrap()) {
                tokio::task::yield_now().await;
            }
            assert_eq!(callers(), [second, third].map(|caller| caller.local_addr().unwrap()));
            drain.begin();
        };
        tokio::join!(each(&drain, listener, Arc::new(Semaphore::new(2)), serve), calling);
    }
}
