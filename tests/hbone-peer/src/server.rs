//! The server's end: accepts callers of its trust domain, judges each CONNECT strictly, dials its authority, and answers
//! 200 only when that stands.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::event::Events;
use crate::judge::{self, Judgement};
use crate::limits::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW, FRAME_SIZE, SERVER_HEADER_LIST, SERVER_SEND_BUFFER, SERVER_STREAMS,
    STREAM_WINDOW,
};
use crate::ping::keep_alive;
use crate::pipe::{Broken, Ended, Halves, pipe};
use crate::tap::{Scanner, Tap};
use crate::tls::Session;

/// Whom and what a server lets through.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// SPIFFE IDs of callers; empty means all of the trust domain.
    pub allow: Vec<String>,
    /// Addresses that an authority may name; empty means the one that the connection came to.
    pub destinations: Vec<IpAddr>,
    /// Where to dial instead of the authority's address (its port stays), for addresses that don't exist here.
    pub dial: Option<IpAddr>,
    /// Streams of a connection after which GOAWAY is said, as ztunnel does when it ends; those that are open go on.
    pub go_away_after: Option<u64>,
    /// How each CONNECT is reset instead of being answered.
    pub reset: Option<Reason>,
    /// All that each stream is told, at once; then it is reset with NO_ERROR, for nothing more is wanted of it.
    pub last_words: Option<Bytes>,
}

/// Accepts for ever.
///
/// # Errors
/// The listener's.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, rules: Rules, events: Events) -> io::Result<()> {
    let rules = Arc::new(rules);
    loop {
        let (tcp, peer) = listener.accept().await?;
        let (tls, rules, events) = (tls.clone(), rules.clone(), events.clone());
        tokio::spawn(async move {
            if let Err(why) = secure(tcp, peer, tls, &rules, &events).await {
                events(json!({"event": "refused", "peer": peer.to_string(), "why": why}));
            }
        });
    }
}

async fn secure(
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Arc<ServerConfig>,
    rules: &Arc<Rules>,
    events: &Events,
) -> Result<(), String> {
    tcp.set_nodelay(true).map_err(|e| e.to_string())?;
    let local = tcp.local_addr().map_err(|e| e.to_string())?;
    let tls = TlsAcceptor::from(tls).accept(tcp).await.map_err(|e| format!("tls: {e}"))?;
    let state = tls.get_ref().1;
    let session = Session::of(state, state.server_name());
    events(json!({
        "event": "connection", "peer": peer.to_string(), "spiffe": session.ids.first(), "tls": session.facts,
        "violations": session.violations,
    }));
    if state.alpn_protocol().is_none() {
        return Err("expected ALPN h2, found none".into());
    }
    let caller = Caller { peer, local: local.ip(), ids: session.ids, rules: rules.clone(), events: events.clone() };
    connection(tls, Arc::new(caller)).await
}

/// Who is on the other end of a connection, and what holds for it.
#[derive(Clone)]
pub struct Caller {
    /// Its TCP address.
    pub peer: SocketAddr,
    /// The address that it dialled.
    pub local: IpAddr,
    /// Its SPIFFE IDs.
    pub ids: Vec<String>,
    /// What it may do.
    pub rules: Arc<Rules>,
    /// Where to report.
    pub events: Events,
}

/// HTTP/2 on a stream that is encrypted already, until the connection ends.
///
/// # Errors
/// A text from `h2`, when its handshake fails.
pub async fn connection<T>(io: T, caller: Arc<Caller>) -> Result<(), String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (io, scanner) = Tap::new(io, Scanner::after_preface());
    let mut h2 = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(SERVER_HEADER_LIST)
        .max_send_buffer_size(SERVER_SEND_BUFFER)
        .max_concurrent_streams(SERVER_STREAMS)
        .handshake::<Tap<T>, Bytes>(io)
        .await
        .map_err(|e| format!("http/2: {e}"))?;
    let (accepted, why) = streams(&mut h2, &caller).await;
    (caller.events)(closed(&caller, accepted, why, &scanner));
    Ok(())
}

async fn streams<T>(h2: &mut Connection<T, Bytes>, caller: &Arc<Caller>) -> (u64, Option<String>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut dead = std::pin::pin!(keep_alive(h2.ping_pong()));
    let mut accepted = 0;
    loop {
        tokio::select! {
            next = h2.accept() => match next {
                Some(Ok((request, respond))) => {
                    accepted += 1;
                    tokio::spawn(stream(request, respond, caller.clone()));
                    if caller.rules.go_away_after == Some(accepted) {
                        h2.graceful_shutdown();
                    }
                }
                Some(Err(e)) => return (accepted, Some(e.to_string())),
                None => return (accepted, None),
            },
            why = &mut dead => return (accepted, Some(why)),
        }
    }
}

fn closed(caller: &Caller, accepted: u64, why: Option<String>, scanner: &Mutex<Scanner>) -> Value {
    let seen = scanner.lock().unwrap_or_else(PoisonError::into_inner).seen();
    let mut violations = Vec::new();
    if seen.streams > accepted {
        let refused = seen.streams - accepted;
        violations.push(format!("{refused} heads were malformed, or beyond {SERVER_STREAMS} streams"));
    }
    let settings: serde_json::Map<String, Value> =
        seen.settings.iter().map(|(id, value)| (setting(*id), json!(value))).collect();
    json!({
        "event": "connection-closed", "peer": caller.peer.to_string(), "why": why, "streams": seen.streams,
        "accepted": accepted, "pings": seen.pings, "resets": seen.resets, "goaways": seen.goaways,
        "settings": settings, "violations": violations,
    })
}

fn setting(id: u16) -> String {
    let names = [
        "header_table_size",
        "enable_push",
        "max_concurrent_streams",
        "initial_window_size",
        "max_frame_size",
        "max_header_list_size",
    ];
    let name = usize::from(id).checked_sub(1).and_then(|index| names.get(index));
    name.map_or_else(|| id.to_string(), |name| (*name).to_owned())
}

async fn stream(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, caller: Arc<Caller>) {
    if let Some(reason) = caller.rules.reset {
        return respond.send_reset(reason);
    }
    if let Some(words) = &caller.rules.last_words {
        // A caller that has gone isn't told.
        let _told = answer(StatusCode::OK)
            .map(|head| respond.send_response(head, false).map(|mut send| send.send_data(words.clone(), true)));
        return;
    }
    let (head, recv) = request.into_parts();
    let judged = judge::request(&head);
    let (status, ended) = match admit(&head, &judged, &caller).await {
        Ok(upstream) => (StatusCode::OK, tunnel(upstream, recv, respond).await),
        Err((status, why)) => {
            let answer = answer(status).and_then(|head| respond.send_response(head, true).map_err(|e| e.to_string()));
            (status, Err(answer.err().unwrap_or(why)))
        }
    };
    let (sent, received) = ended.as_ref().map_or((0, 0), |ended| (ended.sent, ended.received));
    let why = match ended {
        Ok(Ended { how, .. }) => how.err().map(|broken| broken.to_string()),
        Err(why) => Some(why),
    };
    (caller.events)(json!({
        "event": "stream", "peer": caller.peer.to_string(), "spiffe": caller.ids.first(),
        "authority": head.uri.authority().map(http::uri::Authority::as_str), "status": status.as_u16(),
        "baggage": field(&head.headers, "baggage"), "forwarded": field(&head.headers, "forwarded"),
        "traceparent": field(&head.headers, "traceparent"), "bytes_from_peer": received, "bytes_to_peer": sent,
        "why": why, "violations": judged.violations(),
    }));
}

fn field(headers: &HeaderMap, name: &str) -> Value {
    headers.get(name).map_or(Value::Null, |value| json!(String::from_utf8_lossy(value.as_bytes())))
}

/// The order is ztunnel's: the head, the destination, who it is, then the dial.
async fn admit(head: &Parts, judged: &Judgement, caller: &Caller) -> Result<TcpStream, (StatusCode, String)> {
    if !judged.malformed.is_empty() {
        return Err((StatusCode::BAD_REQUEST, judged.malformed.join(", ")));
    }
    let authority = head.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let Ok(destination) = authority.parse::<SocketAddr>() else {
        return Err((StatusCode::BAD_REQUEST, format!("expected an authority ip:port, found {authority}")));
    };
    let own = [caller.local];
    let known = if caller.rules.destinations.is_empty() { &own[..] } else { &caller.rules.destinations };
    if !known.contains(&destination.ip()) {
        return Err((StatusCode::BAD_REQUEST, format!("expected a destination at {known:?}, found {destination}")));
    }
    let allow = &caller.rules.allow;
    if !allow.is_empty() && !caller.ids.iter().any(|id| allow.contains(id)) {
        return Err((StatusCode::UNAUTHORIZED, format!("expected one of {allow:?}, found {:?}", caller.ids)));
    }
    let dialled = SocketAddr::new(caller.rules.dial.unwrap_or(destination.ip()), destination.port());
    dial(dialled).await.map_err(|why| (StatusCode::SERVICE_UNAVAILABLE, format!("{dialled}: {why}")))
}

async fn dial(address: SocketAddr) -> Result<TcpStream, String> {
    let dialling = timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
    let stream = dialling.await.map_err(|_| "no connection in time".to_owned())?.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(stream)
}

async fn tunnel(upstream: TcpStream, recv: RecvStream, mut respond: SendResponse<Bytes>) -> Result<Ended, String> {
    let send = respond.send_response(answer(StatusCode::OK)?, false).map_err(|e| e.to_string())?;
    Ok(pipe_tcp(upstream, Halves { send, recv }).await)
}

/// Pipes a TCP connection; a stream that was reset resets it too.
pub async fn pipe_tcp(mut tcp: TcpStream, halves: Halves) -> Ended {
    let (reader, writer) = tcp.split();
    let ended = pipe(reader, writer, halves).await;
    if matches!(ended.how, Err(Broken::Reset(reason)) if reason != Reason::NO_ERROR) {
        // Best effort: without it the program sees a FIN.
        let _lingers = tcp.set_zero_linger();
    }
    ended
}

fn answer(status: StatusCode) -> Result<Response<()>, String> {
    Response::builder().status(status).body(()).map_err(|e| e.to_string())
}
