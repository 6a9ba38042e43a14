//! The caller's end: a connection to a peer is shared by the streams of one identity, at most so
//! many as both sides allow; when it is full, another is dialled, once for all who wait.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use h2::client::{Builder, SendRequest};
use http::{Request, StatusCode};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout, timeout_at};
use weft_mesh::record::Peer;

use super::stream::HboneStream;
use super::watched::{Ending, Watched};
use super::{ALPN, ERROR_HEADER, head, keep_alive};
use crate::data::Data;
use crate::dialling::Dialling;
use crate::limits::{
    ANSWER_WAIT, H2_ERROR_RESETS, H2_REMEMBERED_RESETS, H2_RESET_MEMORY, HBONE_CLIENT_HEADER_BYTES,
    HBONE_CLIENT_STREAMS, HBONE_CONNECTION_WINDOW, HBONE_FRAME_BYTES, HBONE_IDLE, HBONE_SEND_BUFFER,
    HBONE_SMALL_FRAMES, HBONE_STREAM_WINDOW, TUNNEL_CONNECT,
};
use crate::metrics::count;
use crate::records::MeshIdentity;
use crate::tls_stream::TlsStream;
use crate::tunnel::{Asked, dial};
use crate::why::{Cause, Failure};

/// Opens a stream whose other end is the program that is asked for.
///
/// # Errors
/// [`Failure`]: nothing that the caller's program said was delivered to anybody.
pub(crate) async fn open(data: &Rc<Data>, way: &Rc<Way>, asked: Asked<'_>) -> Result<HboneStream, Failure> {
    let deadline = Instant::now() + ANSWER_WAIT;
    let at = way.at;
    let request = head::request(&data.own_party(), asked)
        .map_err(|e| Failure::outbound(Cause::Protocol, format!("{at}: no CONNECT can be made: {e}")))?;
    let mut tries = TRIES;
    loop {
        let slot = way.slot(data).await?;
        tries -= 1;
        match timeout_at(deadline, connect(slot, request.clone(), at)).await {
            // Nothing but the head was said, so that it may be said again.
            Ok(Err(Refused::Unserved(failure))) if tries > 0 => tracing::debug!(%failure, "a stream wasn't served"),
            Ok(Err(Refused::Unserved(failure) | Refused::Answered(failure))) => return Err(failure),
            Ok(Ok(stream)) => return Ok(stream),
            Err(_) => {
                let detail = format!("{at}: no answer to CONNECT within {} s", ANSWER_WAIT.as_secs());
                return Err(Failure::outbound(Cause::Connect, detail));
            }
        }
    }
}

/// The connections of one data thread, by where they go and who must answer there.
#[derive(Default)]
pub(crate) struct Pool {
    ways: RefCell<HashMap<Peer, Rc<Way>>>,
}

impl Pool {
    /// The connections to a proxy. Those that were made with an older certificate or trust get no
    /// new streams.
    pub(crate) fn way(&self, peer: &Peer, identity: &MeshIdentity) -> Rc<Way> {
        let mut ways = self.ways.borrow_mut();
        match ways.get(peer) {
            Some(way) if way.generation == identity.generation => way.clone(),
            _ => {
                let config = identity.tls.client_config(std::slice::from_ref(&peer.identity), &[ALPN]);
                let way = Rc::new(Way::new(peer.address, config, identity.generation));
                ways.insert(peer.clone(), way.clone());
                way
            }
        }
    }

    /// As [`Pool::way`], if there is a connection that takes streams.
    pub(crate) fn living(&self, peer: &Peer, identity: &MeshIdentity) -> Option<Rc<Way>> {
        let ways = self.ways.borrow();
        let way = ways.get(peer)?;
        let lives = way.generation == identity.generation && way.connections.borrow().iter().any(|c| c.takes_streams());
        lives.then(|| way.clone())
    }

    /// Closes what has no streams for long. Returns whether any are left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut ways = self.ways.borrow_mut();
        ways.retain(|_, way| {
            way.connections.borrow_mut().retain(|connection| connection.is_of_use(now));
            !way.connections.borrow().is_empty() || Rc::strong_count(way) > 1
        });
        !ways.is_empty()
    }

    /// Gives up all: the proxy ends. What is open goes on.
    pub(crate) fn clear(&self) {
        self.ways.borrow_mut().clear();
    }
}

/// The connections to one peer, all made as one identity.
pub(crate) struct Way {
    at: SocketAddr,
    config: Arc<ClientConfig>,
    generation: u64,
    connections: RefCell<Vec<Rc<Connection>>>,
    dialling: Dialling,
}

impl Way {
    fn new(at: SocketAddr, config: Arc<ClientConfig>, generation: u64) -> Self {
        Self { at, config, generation, connections: RefCell::default(), dialling: Dialling::default() }
    }

    /// Takes a connection that was made while it wasn't known that the peer speaks HBONE only.
    ///
    /// # Errors
    /// As for dialling.
    pub(crate) async fn adopt(&self, data: &Rc<Data>, tunnel: Box<TlsStream>) -> Result<(), Failure> {
        let connection = self.begin(data, tunnel).await?;
        self.connections.borrow_mut().push(Rc::new(connection));
        Ok(())
    }

    /// A place for one stream. All who wait for the same dialling share what becomes of it.
    async fn slot(&self, data: &Rc<Data>) -> Result<Slot, Failure> {
        if let Some(slot) = self.free() {
            count(&data.metrics.process.tunnels_warm);
            return Ok(slot);
        }
        let dial = async || {
            let connection = Rc::new(self.dial(data).await?);
            self.connections.borrow_mut().push(connection.clone());
            data.sweep.notify_one();
            Ok(Slot::take(connection))
        };
        self.dialling.once(|| self.free(), dial).await
    }

    fn free(&self) -> Option<Slot> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| connection.takes_streams() || connection.streams.get() > 0);
        let free = connections.iter().find(|connection| connection.takes_streams() && connection.has_room());
        free.map(|connection| Slot::take(connection.clone()))
    }

    async fn dial(&self, data: &Rc<Data>) -> Result<Connection, Failure> {
        let dialled = dial::mesh((data.loopback, self.at), self.config.clone()).await;
        let counted = match &dialled {
            Ok(_) => &data.metrics.process.handshakes_client,
            Err(_) => &data.metrics.process.handshakes_failed,
        };
        count(counted);
        let tunnel = dialled?;
        match tunnel.alpn() {
            Some(ALPN) => self.begin(data, tunnel).await,
            other => Err(dial::unexpected(self.at, "h2", other)),
        }
    }

    /// HTTP/2 on a connection that is encrypted; its task ends with it.
    async fn begin(&self, data: &Rc<Data>, tunnel: Box<TlsStream>) -> Result<Connection, Failure> {
        let (watched, tls, heard) = Watched::new(tunnel);
        let handshake = builder().handshake::<_, Bytes>(watched);
        let (requests, mut connection) = match timeout(TUNNEL_CONNECT, handshake).await {
            Ok(begun) => begun.map_err(|error| broken(self.at, &tls, &error))?,
            Err(_) => return Err(Failure::outbound(Cause::Connect, format!("{}: no HTTP/2", self.at))),
        };
        let gone = Rc::new(Cell::new(false));
        let (told, open, at) = (gone.clone(), data.drain.open(), self.at);
        tokio::task::spawn_local(async move {
            let dead = keep_alive(connection.ping_pong(), heard);
            let why = tokio::select! {
                ended = connection => ended.err().map(|error| error.to_string()),
                why = dead => Some(why),
            };
            told.set(true);
            tracing::debug!(%at, why, "a connection of HBONE ended");
            drop(open);
        });
        Ok(Connection { requests, tls, gone, streams: Cell::new(0), used: Cell::new(Instant::now()) })
    }
}

/// One connection to a peer. Dropping the last of it lets it end when its streams have.
struct Connection {
    requests: SendRequest<Bytes>,
    /// Why TLS ended.
    tls: Ending,
    /// It has ended, or takes no more streams.
    gone: Rc<Cell<bool>>,
    streams: Cell<usize>,
    /// When a stream last ended.
    used: Cell<Instant>,
}

impl Connection {
    fn takes_streams(&self) -> bool {
        !self.gone.get()
    }

    fn has_room(&self) -> bool {
        self.streams.get() < self.requests.current_max_send_streams().min(HBONE_CLIENT_STREAMS)
    }

    fn is_of_use(&self, now: Instant) -> bool {
        let idle = self.streams.get() == 0 && now.saturating_duration_since(self.used.get()) > HBONE_IDLE;
        self.takes_streams() && !idle
    }

    /// What it means that a stream ended without an answer. A stream that the peer has refused, or
    /// never saw, wasn't served; others are better served by another connection then.
    fn refused(&self, at: SocketAddr, error: &h2::Error) -> Refused {
        let failure = broken(at, &self.tls, error);
        if error.is_reset() && error.reason() != Some(Reason::REFUSED_STREAM) {
            return Refused::Answered(failure);
        }
        self.gone.set(true);
        // TLS says the same each time.
        if self.tls.borrow().is_some() { Refused::Answered(failure) } else { Refused::Unserved(failure) }
    }
}

/// One stream's place on a connection, until dropped.
pub(super) struct Slot(Rc<Connection>);

impl Slot {
    fn take(connection: Rc<Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self(connection)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.used.set(Instant::now());
    }
}

/// Why there is no stream.
enum Refused {
    /// The peer's answer, or what it said instead.
    Answered(Failure),
    /// The connection had ended, or took no more streams.
    Unserved(Failure),
}

async fn connect(slot: Slot, request: Request<()>, at: SocketAddr) -> Result<HboneStream, Refused> {
    let failed = |error| slot.0.refused(at, &error);
    let mut requests = slot.0.requests.clone().ready().await.map_err(failed)?;
    let (response, send) = requests.send_request(request, false).map_err(failed)?;
    let (parts, receive) = response.await.map_err(failed)?.into_parts();
    let cause = match parts.status {
        StatusCode::OK => return Ok(HboneStream::new(send, receive, Some(slot))),
        StatusCode::BAD_REQUEST => Cause::UnknownAddress,
        StatusCode::UNAUTHORIZED => Cause::Policy,
        StatusCode::SERVICE_UNAVAILABLE => Cause::Connect,
        _ => Cause::Protocol,
    };
    let word = parts.headers.get(ERROR_HEADER).and_then(|word| word.to_str().ok()).unwrap_or_default();
    Err(Refused::Answered(Failure::inbound(cause, format!("{at} refused with {} {word}", parts.status.as_u16()))))
}

fn broken(at: SocketAddr, tls: &Ending, error: &h2::Error) -> Failure {
    match &*tls.borrow() {
        Some(error) => dial::tls_failure(at, error),
        None => Failure::outbound(Cause::Connect, format!("{at}: {error}")),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(HBONE_STREAM_WINDOW)
        .initial_connection_window_size(HBONE_CONNECTION_WINDOW)
        .max_frame_size(HBONE_FRAME_BYTES)
        .max_header_list_size(HBONE_CLIENT_HEADER_BYTES)
        .max_send_buffer_size(HBONE_SEND_BUFFER)
        .max_concurrent_reset_streams(H2_REMEMBERED_RESETS)
        .max_local_error_reset_streams(Some(H2_ERROR_RESETS))
        .reset_stream_duration(H2_RESET_MEMORY)
        .data_frame_budget(HBONE_SMALL_FRAMES);
    builder
}

/// How often a CONNECT is said at most: a connection that was there may have ended unseen.
const TRIES: u32 = 3;
