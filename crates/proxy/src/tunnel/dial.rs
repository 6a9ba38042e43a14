//! New connections: TCP, and the mutual TLS of the mesh over it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use weft_identity::Reason;
use weft_wire::head;

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

/// Connects to another proxy, and verifies that it is who it should be.
///
/// # Errors
/// [`Cause::Connect`], [`Cause::Tls`], [`Cause::Identity`], or [`Cause::Protocol`] when the other
/// side doesn't speak `weft/1`.
pub(super) async fn mesh(to: SocketAddr, config: Arc<ClientConfig>) -> Result<Box<TlsStream>, Failure> {
    let socket = tcp(to, TUNNEL_CONNECT).await?;
    let tunnel = match tokio::time::timeout(TUNNEL_CONNECT, TlsStream::connect(socket, config)).await {
        Ok(Ok(tunnel)) => tunnel,
        Ok(Err(HandshakeError::Io(error))) => return Err(broken(to, &error)),
        Ok(Err(HandshakeError::Tls(error))) => return Err(tls_failure(to, &error)),
        Err(_) => {
            let detail = format!("no TLS handshake with {to} within {} s", TUNNEL_CONNECT.as_secs());
            return Err(Failure::outbound(Cause::Tls, detail));
        }
    };
    match tunnel.alpn() {
        Some(head::ALPN) => Ok(Box::new(tunnel)),
        other => {
            let found = other.map_or("none".into(), String::from_utf8_lossy);
            Err(Failure::outbound(Cause::Protocol, format!("{to}: expected protocol weft/1, found {found}")))
        }
    }
}

/// What it means that a connection to another proxy broke before its exchange began. In TLS 1.3 a
/// server's refusal of our certificate arrives only now.
pub(crate) fn broken(at: SocketAddr, error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => tls_failure(at, error),
        None => Failure::outbound(Cause::Connect, format!("{at}: {error}")),
    }
}

fn tls_failure(at: SocketAddr, error: &rustls::Error) -> Failure {
    let reason = Reason::from(error);
    let cause = match reason {
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
    };
    Failure::outbound(cause, format!("{at}: {reason}: {error}"))
}
