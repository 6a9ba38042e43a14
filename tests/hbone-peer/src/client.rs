//! The client's end: one TLS connection to port 15008, on it a CONNECT stream for each user's connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::event::Events;
use crate::judge;
use crate::limits::{
    CLIENT_HEADER_LIST, CLIENT_SEND_BUFFER, CLIENT_STREAMS, CONNECT_TIMEOUT, CONNECTION_WINDOW, FRAME_SIZE,
    STREAM_WINDOW,
};
use crate::ping::keep_alive;
use crate::pipe::Halves;
use crate::tls::Session;

/// A connection to a peer, for many streams.
#[derive(Clone)]
pub struct Tunnel {
    requests: SendRequest<Bytes>,
    streams: Arc<Semaphore>,
}

/// What one CONNECT says of itself.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// `ip:port` or `host:port`.
    pub authority: String,
    /// Other fields: `baggage`, `forwarded`, `traceparent`.
    pub fields: Vec<(String, String)>,
}

/// A peer's answer to CONNECT.
#[derive(Debug)]
pub struct Opened {
    /// 200, or why not.
    pub status: StatusCode,
    /// What is wrong with the answer's head.
    pub violations: Vec<String>,
    /// The tunnel, if the status is 200.
    pub halves: Option<Halves>,
    _permit: OwnedSemaphorePermit,
}

/// Connects, and reports the handshake; fails if the peer isn't who `config` expects.
///
/// # Errors
/// A text that names the step: TCP, TLS, ALPN or HTTP/2.
pub async fn connect(target: SocketAddr, config: Arc<ClientConfig>, events: Events) -> Result<Tunnel, String> {
    let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(target))
        .await
        .map_err(|_| format!("{target}: no connection within {} s", CONNECT_TIMEOUT.as_secs()))?
        .map_err(|e| format!("{target}: {e}"))?;
    tcp.set_nodelay(true).map_err(|e| format!("{target}: {e}"))?;
    let name = ServerName::IpAddress(target.ip().into());
    let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|e| format!("tls: {e}"))?;
    let session = Session::of(tls.get_ref().1, None);
    events(json!({
        "event": "connection", "peer": target.to_string(), "spiffe": session.ids.first(), "tls": session.facts,
        "violations": session.violations,
    }));
    if !session.violations.is_empty() {
        return Err(format!("tls: {}", session.violations.join(", ")));
    }
    handshake(tls, events).await
}

/// HTTP/2 on a stream that is encrypted already.
///
/// # Errors
/// A text from `h2`.
pub async fn handshake<T>(io: T, events: Events) -> Result<Tunnel, String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (requests, mut connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(CLIENT_HEADER_LIST)
        .max_send_buffer_size(CLIENT_SEND_BUFFER)
        .enable_push(false)
        .handshake::<T, Bytes>(io)
        .await
        .map_err(|e| format!("http/2: {e}"))?;
    let pings = connection.ping_pong();
    tokio::spawn(async move {
        let why = tokio::select! {
            ended = connection => ended.err().map(|e| e.to_string()),
            dead = keep_alive(pings) => Some(dead),
        };
        events(json!({"event": "connection-closed", "why": why}));
    });
    Ok(Tunnel { requests, streams: Arc::new(Semaphore::new(CLIENT_STREAMS)) })
}

impl Tunnel {
    /// Opens a stream and waits for its answer. Beyond 100 streams, or the peer's own limit, it waits for room.
    ///
    /// # Errors
    /// A text: the head can't be built, the stream was reset before its answer, or the connection is gone.
    pub async fn open(&self, head: &Head) -> Result<Opened, String> {
        let permit = self.streams.clone().acquire_owned().await.map_err(|e| e.to_string())?;
        let mut requests = self.requests.clone().ready().await.map_err(|e| format!("connection: {e}"))?;
        let (answer, send) = requests.send_request(request(head)?, false).map_err(|e| format!("connect: {e}"))?;
        let (parts, recv) = answer.await.map_err(|e| format!("connect: {e}"))?.into_parts();
        let violations = judge::response(&parts).violations();
        let halves = (parts.status == StatusCode::OK).then_some(Halves { send, recv });
        Ok(Opened { status: parts.status, violations, halves, _permit: permit })
    }
}

fn request(head: &Head) -> Result<Request<()>, String> {
    let uri = Uri::builder()
        .authority(head.authority.as_str())
        .build()
        .map_err(|e| format!("expected a destination host:port, found {}: {e}", head.authority))?;
    let mut builder = Request::builder().method(Method::CONNECT).uri(uri);
    for (name, value) in &head.fields {
        builder = builder.header(name, value);
    }
    builder.body(()).map_err(|e| format!("header field: {e}"))
}
