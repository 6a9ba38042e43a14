//! New connections: TCP, and the mutual TLS of the mesh over it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use weft_identity::Reason;

use crate::limits::TUNNEL_CONNECT;
use crate::tls_stream::{HandshakeError, TlsStream};
use crate::why::{Cause, Failure};

/// Connects to `to` on the host.
///
/// # Errors
/// [`Cause::Connect`] with the system's words.
pub(crate) async fn tcp(to: SocketAddr, limit: Duration) -> Result<TcpStream, Failure> {
    let connected = match tokio::time::timeout(limit, TcpStream::connect(to)).await {
        Ok(connected) => connected.and_then(|socket| socket.set_nodelay(true).map(|()| socket)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()))),
    };
    connected.map_err(|e| Failure::outbound(Cause::Connect, format!("connecting to {to}: {e}")))
}

/// Connects to another proxy, and verifies that it is who it should be. The protocol is still to be
/// looked at: `config` says which were offered.
///
/// # Errors
/// [`Cause::Connect`], [`Cause::Tls`], [`Cause::Identity`].
pub(crate) async fn mesh(to: SocketAddr, config: Arc<ClientConfig>) -> Result<Box<TlsStream>, Failure> {
    let socket = tcp(to, TUNNEL_CONNECT).await?;
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
