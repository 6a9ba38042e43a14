//! Connections over the network: TLS of proxies, where a client proves an identity or none. Handshakes
//! run side by side, bounded in number and time, and so are connections, all and those of one address;
//! what a handshake proved is said with each call, and the connection ends when the proof does.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_util::Stream;
use futures_util::stream::unfold;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::{debug, error, warn};
use weft_identity::{Certificate, peer_identity};

use crate::authenticate::Client;
use crate::crowd::{Crowd, Place};
use crate::limits::{
    self, ACCEPT_PAUSE, COMMAND_LINES, CONNECTIONS_OF_AN_ADDRESS, HANDSHAKE, HANDSHAKES, SHAKEN, UNPROVED_LIFE,
};
use crate::own::Config;
use crate::placed::Placed;

/// A connection whose handshake is done.
pub(crate) struct Secured {
    stream: TlsStream<TcpStream>,
    client: Client,
    end: Pin<Box<Sleep>>,
    _place: Place<IpAddr>,
}

/// Accepts, until the receiver is dropped.
pub(crate) fn secured(listener: TcpListener, config: Config) -> impl Stream<Item = Result<Secured, Infallible>> {
    let (connections, receiver) = mpsc::channel(SHAKEN);
    tokio::spawn(accept(listener, config, connections));
    ReceiverStream::new(receiver)
}

/// Connections of command lines, which come through the API server and prove nothing: it did.
pub(crate) fn forwarded(listener: TcpListener) -> impl Stream<Item = Result<Placed<TcpStream, ()>, Infallible>> {
    let crowd = Crowd::new(COMMAND_LINES, COMMAND_LINES);
    unfold((listener, crowd), async |(listener, crowd)| {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => match crowd.enter(()) {
                    Some(place) => return Some((Ok(Placed::new(stream, place)), (listener, crowd))),
                    None => debug!("turned away: there are command lines enough"),
                },
                Err(error) => {
                    error!(%error, "expected a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

async fn accept(listener: TcpListener, config: Config, connections: mpsc::Sender<Result<Secured, Infallible>>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let crowd = Crowd::new(limits::connections(), CONNECTIONS_OF_AN_ADDRESS);
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.closed() => return,
        };
        let (stream, address) = match accepted {
            // A listener of both families tells IPv4 addresses as IPv6 ones.
            Ok((stream, address)) => (stream, SocketAddr::new(address.ip().to_canonical(), address.port())),
            Err(error) => {
                error!(%error, "expected a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(config) = config.borrow().clone() else {
            warn!(%address, "turned away: there is no certificate of our own yet");
            continue;
        };
        let Some(place) = crowd.enter(address.ip()) else {
            debug!(%address, "turned away: it has connections enough, or all have");
            continue;
        };
        let connections = connections.clone();
        tokio::spawn(async move {
            match shake(stream, address, (config, place)).await {
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

async fn shake(
    stream: TcpStream,
    address: SocketAddr,
    (config, place): (Arc<ServerConfig>, Place<IpAddr>),
) -> io::Result<Secured> {
    stream.set_nodelay(true)?;
    let shaken = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
    let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let certificates = stream.get_ref().1.peer_certificates();
    let identity = certificates.map(peer_identity).transpose().map_err(io::Error::other)?;
    let life = match certificates.and_then(|chain| chain.first()) {
        Some(leaf) => {
            let not_after = Certificate::parse(leaf).map_err(io::Error::other)?.not_after;
            not_after.duration_since(SystemTime::now()).unwrap_or_default()
        }
        None => UNPROVED_LIFE,
    };
    let client = Client { address: Some(address), identity };
    Ok(Secured { stream, client, end: Box::pin(sleep(life)), _place: place })
}

impl Connected for Secured {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client.clone()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(cx).is_ready() {
            let what = "the client's certificate has ended, or it never had one and stays too long";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)));
        }
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
