//! New connections: TCP, and the mutual TLS of the mesh over it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream};
use weft_identity::Reason;

use crate::limits::TUNNEL_CONNECT;
use crate::tls_stream::{HandshakeError, TlsStream};
use crate::why::{Cause, Failure};

/// Connects to `to` on the host.
///
/// # Errors
/// [`Cause::Connect`] with the system's words.
pub(crate) async fn tcp(to: SocketAddr, limit: Duration) -> Result<TcpStream, Failure> {
    connected(TcpStream::connect(to), to, limit).await
}

async fn connected(
    connecting: impl Future<Output = io::Result<TcpStream>>,
    to: SocketAddr,
    limit: Duration,
) -> Result<TcpStream, Failure> {
    let connected = match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected.and_then(|socket| socket.set_nodelay(true).map(|()| socket)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()))),
    };
    connected.map_err(|e| Failure::outbound(Cause::Connect, format!("connecting to {to}: {e}")))
}

/// Connects to another proxy at `to`, on the host's loopback from the caller's own address there: on one machine it is
/// what the other counts its callers by.
///
/// # Errors
/// [`Cause::Connect`] with the system's words.
async fn proxy(from: Option<IpAddr>, to: SocketAddr) -> Result<TcpStream, Failure> {
    let of_family = |from: &IpAddr| to.ip().is_loopback() && from.is_ipv4() == to.is_ipv4();
    match from.filter(of_family) {
        Some(from) => connected(connect_from(from, to), to, TUNNEL_CONNECT).await,
        None => tcp(to, TUNNEL_CONNECT).await,
    }
}

async fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The port is chosen when it connects; where that can't be had, it is one less for all destinations.
    let _chosen_now = setsockopt(&socket, IpBindAddressNoPort, &true);
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// Connects to another proxy, and verifies that it is who it should be. The protocol is still to be
/// looked at: `config` says which were offered.
///
/// # Errors
/// [`Cause::Connect`], [`Cause::Tls`], [`Cause::Identity`].
pub(crate) async fn mesh(
    (from, to): (Option<IpAddr>, SocketAddr),
    config: Arc<ClientConfig>,
) -> Result<Box<TlsStream>, Failure> {
    let socket = proxy(from, to).await?;
    // In a box, so that nobody who might dial holds the room for a handshake.
    match tokio::time::timeout(TUNNEL_CONNECT, Box::pin(TlsStream::connect(socket, config))).await {
        Ok(Ok(tunnel)) => Ok(Box::new(tunnel)),
        Ok(Err(HandshakeError::Io(error))) => Err(broken(to, &error)),
        Ok(Err(HandshakeError::Tls(error))) => Err(tls_failure(to, &error)),
        Err(_) => {
            let detail = format!("no TLS handshake with {to} within {} s", TUNNEL_CONNECT.as_secs());
            Err(Failure::outbound(Cause::Tls, detail))
        }
    }
}

/// The other side has agreed to none of the protocols that were offered.
pub(crate) fn unexpected(at: SocketAddr, expected: &str, found: Option<&[u8]>) -> Failure {
    let found = found.map_or("none".into(), String::from_utf8_lossy);
    Failure::outbound(Cause::Protocol, format!("{at}: expected protocol {expected}, found {found}"))
}

/// What it means that a connection to another proxy broke before its exchange began. In TLS 1.3 a
/// server's refusal of our certificate arrives only now.
pub(crate) fn broken(at: SocketAddr, error: &io::Error) -> Failure {
    match tls_part(error) {
        Some(error) => tls_failure(at, error),
        None => Failure::outbound(Cause::Connect, format!("{at}: {error}")),
    }
}

/// Whether the other proxy has refused our certificate: then it has read nothing of what was sent.
pub(crate) fn refusal(error: &io::Error) -> Option<Failure> {
    let error = tls_part(error)?;
    let reason = Reason::from(error);
    let is_refusal = cause_of(reason) == Cause::Identity;
    is_refusal.then(|| Failure::outbound(Cause::Identity, format!("{reason}: {error}")))
}

/// What TLS's own words mean.
pub(crate) fn tls_failure(at: SocketAddr, error: &rustls::Error) -> Failure {
    let reason = Reason::from(error);
    Failure::outbound(cause_of(reason), format!("{at}: {reason}: {error}"))
}

fn tls_part(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn cause_of(reason: Reason) -> Cause {
    match reason {
        Reason::WrongIdentity
        | Reason::OtherTrustDomain
        | Reason::NoIdentity
        | Reason::NoCertificate
        | Reason::UnknownIssuer
        | Reason::Expired
        | Reason::NotYetValid
        | Reason::PeerExpired
        | Reason::PeerUnknownIssuer
        | Reason::PeerRefusedIdentity
        | Reason::PeerWantsCertificate => Cause::Identity,
        _ => Cause::Tls,
    }
}
