//! Connections of proxies over the network: TLS, where a client proves an identity or none. Handshakes
//! run side by side, bounded in number and time; what comes of them is said with each call.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::{debug, error, warn};
use weft_identity::peer_identity;

use crate::authenticate::Client;
use crate::own::Config;

/// A connection whose handshake is done.
pub(crate) struct Secured {
    stream: TlsStream<TcpStream>,
    client: Client,
}

/// Accepts, until the receiver is dropped.
pub(crate) fn secured(listener: TcpListener, config: Config) -> impl Stream<Item = Result<Secured, Infallible>> {
    let (connections, receiver) = mpsc::channel(MAX_WAITING);
    tokio::spawn(accept(listener, config, connections));
    ReceiverStream::new(receiver)
}

async fn accept(listener: TcpListener, config: Config, connections: mpsc::Sender<Result<Secured, Infallible>>) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                error!(%error, "expected a connection");
                // Out of descriptors, most likely: others close theirs meanwhile.
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(config) = config.borrow().clone() else {
            warn!(%address, "turned away: there is no certificate of our own yet");
            continue;
        };
        let connections = connections.clone();
        tokio::spawn(async move {
            match shake(stream, address, config).await {
                Ok(secured) => {
                    drop(permit);
                    // The server is gone only when everything ends.
                    let _ = connections.send(Ok(secured)).await;
                }
                Err(error) => debug!(%address, %error, "no handshake"),
            }
        });
    }
}

async fn shake(stream: TcpStream, address: SocketAddr, config: Arc<ServerConfig>) -> io::Result<Secured> {
    stream.set_nodelay(true)?;
    let shaken = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
    let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let certificates = stream.get_ref().1.peer_certificates();
    let identity = certificates.map(peer_identity).transpose().map_err(io::Error::other)?;
    Ok(Secured { stream, client: Client { address: Some(address), identity } })
}

impl Connected for Secured {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client.clone()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Handshakes at once; more wait in the listener's backlog.
const MAX_HANDSHAKES: usize = 256;
/// Connections that wait for the server to take them.
const MAX_WAITING: usize = 64;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
