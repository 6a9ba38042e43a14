//! Bytes from one listener to one address, TLS on one side of it: one TLS connection for each TCP connection.
//! Knows nothing of what the bytes mean.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Where one listener's connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address to dial for each connection.
    pub connect: SocketAddr,
    /// Bytes of each direction's copy buffer.
    pub buffer: usize,
}

/// On which side of the relay TLS is.
#[derive(Clone)]
pub enum Side {
    /// Plain in, TLS out.
    Client(Arc<ClientConfig>),
    /// TLS in, plain out.
    Server(Arc<ServerConfig>),
}

/// Accepts for ever. A connection that fails ends alone, and silently, as nobody reads a benchmark's log.
///
/// # Errors
/// The listener's, when it can't accept any more.
pub async fn accept(listener: TcpListener, route: Route, side: Side) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let side = side.clone();
        tokio::spawn(async move {
            let _ended = relay(stream, route, side).await;
        });
    }
}

async fn relay(near: TcpStream, route: Route, side: Side) -> io::Result<(u64, u64)> {
    near.set_nodelay(true)?;
    match side {
        Side::Client(config) => {
            let far = dial(route).await?;
            let name = ServerName::IpAddress(route.connect.ip().into());
            let far = TlsConnector::from(config).connect(name, far).await?;
            copy(near, far, route.buffer).await
        }
        Side::Server(config) => {
            let near = TlsAcceptor::from(config).accept(near).await?;
            copy(near, dial(route).await?, route.buffer).await
        }
    }
}

async fn dial(route: Route) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(route.connect).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn copy<A, B>(mut near: A, mut far: B, buffer: usize) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    copy_bidirectional_with_sizes(&mut near, &mut far, buffer, buffer).await
}
