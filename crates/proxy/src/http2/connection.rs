//! HTTP/2 connections of this proxy, driven so that each turn ends with one write. Both sides: one
//! that accepts streams, one that opens them.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Ping, Reason, RecvStream, SendStream, client, server};
use http::Request;
use tokio::time::Instant;
use weft_http::bridge::Content;

use super::batched::{Batched, Outlet, batched};
use super::cancels::Cancels;
use super::settings;
pub(super) use super::settings::Peer;
use crate::drain::Drain;
use crate::limits::{H2_CANCELS_PER_CONNECTION, H2_PREFACE_WAIT, H2_STALL, H2_STREAMS, H2_STREAMS_PER_CONNECTION};
use crate::side::Side;
use crate::stream::Stream;
use crate::why::{Failure, Hop};

/// A connection on which a peer opens streams.
pub(super) struct Accepted {
    connection: server::Connection<Batched, Bytes>,
    outlet: Outlet,
    cancels: Rc<Cancels>,
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// It ended otherwise than by its peer's wish.
    Ended,
    /// Its peer cancelled it.
    Cancelled,
}

/// A stream that a peer opened.
pub(super) type Opened = (Request<RecvStream>, SendResponse<Bytes>);

impl Served {
    /// What a stream's failure says of it.
    pub(super) fn of(failure: Option<&Failure>) -> Self {
        match failure {
            Some(Failure { hop: Hop::Caller, .. }) => Self::Cancelled,
            _ => Self::Ended,
        }
    }
}

impl Accepted {
    /// Greets the peer at the other end of `side`.
    ///
    /// # Errors
    /// When the peer doesn't begin as HTTP/2 does, or not in time.
    pub(super) async fn new(side: Side, peer: Peer) -> io::Result<Self> {
        let (io, outlet) = batched(side, Vec::new());
        let greeting = settings::server(peer).handshake(io);
        match tokio::time::timeout(H2_PREFACE_WAIT, greeting).await {
            Ok(Ok(connection)) => Ok(Self { connection, outlet, cancels: Rc::new(Cancels::new(Instant::now())) }),
            Ok(Err(error)) => Err(outlet.take_broken().unwrap_or_else(|| io::Error::other(error))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Has each stream served by a task of its own until the connection ends. When the proxy drains,
    /// the peer is told to open no more streams; those that are open go on.
    ///
    /// # Errors
    /// How the connection broke.
    pub(super) async fn each<F: Future<Output = Served> + 'static>(
        &mut self,
        drain: &Drain,
        serve: impl Fn(Opened) -> F,
    ) -> Result<(), h2::Error> {
        let mut is_draining = false;
        let mut begun = pin!(drain.begun());
        loop {
            let opened = tokio::select! {
                biased;
                opened = self.next() => opened,
                () = &mut begun, if !is_draining => {
                    is_draining = true;
                    self.connection.graceful_shutdown();
                    continue;
                }
            };
            match opened {
                Some(Ok(opened)) => self.spawn(serve(opened)),
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    }

    fn spawn(&self, serving: impl Future<Output = Served> + 'static) {
        let cancels = self.cancels.clone();
        tokio::task::spawn_local(async move {
            if serving.await == Served::Cancelled {
                cancels.count(Instant::now());
            }
        });
    }

    /// The next stream, or `None` when the connection has ended. This moves everything that goes
    /// over the connection.
    async fn next(&mut self) -> Option<Result<Opened, h2::Error>> {
        poll_fn(|cx| {
            if self.cancels.is_flood() {
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            }
            let opened = self.connection.poll_accept(cx);
            if opened.is_pending() {
                let _full = self.outlet.poll_send(cx);
            }
            opened
        })
        .await
    }
}

/// A connection on which this proxy opens streams for many callers.
pub(super) struct Shared {
    requests: SendRequest<Bytes>,
    /// Streams that are open.
    streams: Cell<usize>,
    /// How many of them can't send, just now.
    stalled: Cell<usize>,
    /// Since when there is one of those.
    stalled_since: Cell<Instant>,
    peer: Peer,
    opened: Cell<u32>,
    cancelled: Cell<u32>,
    /// It gets no new streams.
    closing: Cell<bool>,
    used: Cell<Instant>,
}

/// The right to one stream on a shared connection.
pub(super) struct Lease {
    shared: Rc<Shared>,
    stalled: Cell<bool>,
}

/// A stream that was opened: where its response comes, and where its content goes.
pub(super) type Sent = (ResponseFuture, SendStream<Bytes>);

/// Why a stream wasn't opened.
pub(super) enum NotSent {
    /// The connection takes no more streams.
    Closed,
    /// `h2` doesn't take the head.
    Head(String),
}

impl Shared {
    /// Greets the peer at the other end of `stream`, after `first`, and waits until it has answered
    /// a ping: only then is it certain that both sides accept each other and speak HTTP/2, while
    /// nothing was asked yet.
    ///
    /// # Errors
    /// How the stream broke, or `InvalidData` when the peer speaks something else.
    pub(super) async fn new(stream: Stream, first: Vec<u8>, peer: Peer) -> io::Result<Rc<Self>> {
        let (io, outlet) = batched(Side::new(stream), first);
        let connecting = async {
            let (requests, mut connection) = settings::client().handshake(io).await?;
            let mut pings = connection.ping_pong().ok_or(Reason::INTERNAL_ERROR)?;
            pings.send_ping(Ping::opaque())?;
            poll_fn(|cx| match drive(&mut connection, &outlet, cx) {
                Poll::Ready(ended) => Poll::Ready(ended.and(Err(Reason::CONNECT_ERROR.into()))),
                Poll::Pending => pings.poll_pong(cx).map_ok(|_| ()),
            })
            .await?;
            Ok::<_, h2::Error>((requests, connection))
        };
        let connected = tokio::time::timeout(H2_PREFACE_WAIT, connecting).await;
        let (requests, mut connection) = match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) if error.is_library() => return Err(not_http2(&error)),
            Ok(Err(error)) => return Err(outlet.take_broken().unwrap_or_else(|| unanswered(&error))),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let shared = Rc::new(Self {
            requests,
            streams: Cell::new(0),
            stalled: Cell::new(0),
            stalled_since: Cell::new(Instant::now()),
            peer,
            opened: Cell::new(0),
            cancelled: Cell::new(0),
            closing: Cell::new(false),
            used: Cell::new(Instant::now()),
        });
        let weak = Rc::downgrade(&shared);
        tokio::task::spawn_local(async move {
            let ended = poll_fn(|cx| drive(&mut connection, &outlet, cx)).await;
            if let Some(shared) = weak.upgrade() {
                shared.closing.set(true);
            }
            if let Err(error) = ended {
                tracing::debug!(%error, "a shared connection ended");
            }
        });
        Ok(shared)
    }

    /// The right to a stream; `None` when it has as many as it should.
    pub(super) fn lease(self: &Rc<Self>) -> Option<Lease> {
        let most = self.requests.current_max_send_streams().min(H2_STREAMS as usize);
        (!self.closing.get() && self.streams.get() < most).then(|| self.first_lease())
    }

    /// The right to a stream, whatever the peer bears: `h2` keeps the stream back until it does.
    pub(super) fn first_lease(self: &Rc<Self>) -> Lease {
        self.streams.set(self.streams.get() + 1);
        Lease { shared: self.clone(), stalled: Cell::new(false) }
    }

    /// Whether a stream that stalls may hold up the others: a program may bear no more of all
    /// streams than of one (RFC 9113, 6.9.2, has it so by default).
    pub(super) fn is_stalled(&self) -> bool {
        self.peer == Peer::Program && self.stalled.get() > 0 && self.stalled_since.get().elapsed() >= H2_STALL
    }

    /// Whether it gets no new streams.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether it has been of no use since `before`, and never will be if it is closing.
    pub(super) fn is_idle(&self, before: Instant) -> bool {
        self.closing.get() || (self.streams.get() == 0 && self.used.get() <= before)
    }

    fn retire_when_worn(&self) {
        if self.opened.get() >= H2_STREAMS_PER_CONNECTION || self.cancelled.get() >= H2_CANCELS_PER_CONNECTION {
            self.closing.set(true);
        }
    }
}

impl Lease {
    /// Opens the stream.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) fn send(&self, head: Request<()>, content: Content) -> Result<Sent, NotSent> {
        let shared = &self.shared;
        shared.opened.set(shared.opened.get() + 1);
        shared.retire_when_worn();
        shared.requests.clone().send_request(head, content == Content::None).map_err(|error| {
            if error.is_io() || error.reason().is_some() {
                shared.closing.set(true);
                NotSent::Closed
            } else {
                NotSent::Head(error.to_string())
            }
        })
    }

    /// Says that the stream has something to send and can't.
    pub(super) fn stall(&self) {
        if !self.stalled.replace(true) {
            let others = self.shared.stalled.get();
            if others == 0 {
                self.shared.stalled_since.set(Instant::now());
            }
            self.shared.stalled.set(others + 1);
        }
    }

    /// Says that the stream has sent what it had to.
    pub(super) fn flow(&self) {
        if self.stalled.replace(false) {
            self.shared.stalled.set(self.shared.stalled.get() - 1);
        }
    }

    /// Says that the stream was cancelled.
    pub(super) fn count_cancelled(&self) {
        self.shared.cancelled.set(self.shared.cancelled.get() + 1);
        self.shared.retire_when_worn();
    }

    /// Says that the peer takes no more streams.
    pub(super) fn retire(&self) {
        self.shared.closing.set(true);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.flow();
        let shared = &self.shared;
        shared.streams.set(shared.streams.get() - 1);
        if shared.streams.get() == 0 {
            shared.used.set(Instant::now());
        }
    }
}

/// One turn of a connection, and one write of what it made.
fn drive(
    connection: &mut client::Connection<Batched, Bytes>,
    outlet: &Outlet,
    cx: &mut Context<'_>,
) -> Poll<Result<(), h2::Error>> {
    let ended = Pin::new(connection).poll(cx);
    if ended.is_pending() {
        let _full = outlet.poll_send(cx);
    }
    ended
}

fn not_http2(error: &h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("expected HTTP/2, found otherwise: {error}"))
}

/// What it means that a peer ended the connection before it answered.
fn unanswered(error: &h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the peer ended the connection before it answered: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::task::{LocalSet, spawn_local};

    use super::*;
    use crate::limits::PLAIN_BYTES;
    use crate::linger::tests::{MESSAGE, read_while_speaking};

    #[tokio::test]
    async fn a_connection_of_very_many_streams_gets_no_more() {
        let asking = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let socket = listener.accept().await.unwrap().0;
            spawn_local(async move {
                let mut connection = server::handshake(socket).await.unwrap();
                while let Some(Ok(_stream)) = connection.accept().await {}
            });
            let shared = Shared::new(Stream::Plain(program.into()), Vec::new(), Peer::Program).await.unwrap();
            shared.opened.set(H2_STREAMS_PER_CONNECTION - 2);
            for is_left in [true, false] {
                let lease = shared.lease().unwrap();
                assert!(lease.send(Request::new(()), Content::None).is_ok());
                drop(lease);
                assert_eq!(shared.lease().is_some(), is_left);
            }
        };
        LocalSet::new().run_until(asking).await;
    }

    #[tokio::test]
    async fn what_a_peer_said_before_it_went_is_heard() {
        let asking = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let mut program = listener.accept().await.unwrap().0;
            program.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            program.set_zero_linger().unwrap();
            drop(program);
            // So much is written before anything is read.
            let first = vec![0; PLAIN_BYTES];
            let error = Shared::new(Stream::Plain(proxy.into()), first, Peer::Program).await.err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        };
        LocalSet::new().run_until(asking).await;
    }

    /// The last response of a connection, to a client that reads slowly and speaks meanwhile, after the drain has begun.
    #[tokio::test]
    async fn the_last_response_of_a_drain_arrives_whole() {
        let serving_and_reading = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let reader = TcpSocket::new_v4().unwrap();
            reader.set_recv_buffer_size(16 << 10).unwrap();
            let reader = reader.connect(listener.local_addr().unwrap()).await.unwrap().into_std().unwrap();
            let raw = TcpStream::from_std(reader.try_clone().unwrap()).unwrap();
            let side = Side::plain(listener.accept().await.unwrap().0);
            let (drain, go) = (Rc::new(Drain::default()), Rc::new(tokio::sync::Notify::new()));
            let (draining, gone) = (drain.clone(), go.clone());
            spawn_local(async move {
                let serve = |(_request, mut respond): Opened| {
                    let go = gone.clone();
                    async move {
                        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
                        go.notified().await;
                        send.send_data(vec![0; MESSAGE].into(), true).unwrap();
                        Served::Ended
                    }
                };
                Accepted::new(side, Peer::Proxy).await.unwrap().each(&draining, serve).await.unwrap();
            });
            let mut builder = client::Builder::new();
            builder.initial_window_size(2 * MESSAGE as u32).initial_connection_window_size(2 * MESSAGE as u32);
            let handshake = builder.handshake::<_, Bytes>(TcpStream::from_std(reader).unwrap());
            let (mut requests, mut connection) = handshake.await.unwrap();
            let response = requests.send_request(Request::new(()), true).unwrap().0;
            let _open = tokio::select! {
                _ended = &mut connection => panic!("the connection has ended"),
                response = response => response.unwrap(),
            };
            drain.begin();
            poll_fn(|cx| {
                assert!(Pin::new(&mut connection).poll(cx).is_pending());
                let is_told = matches!(requests.poll_ready(cx), Poll::Ready(Err(_)));
                if is_told { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            go.notify_one();
            // RFC 9113, 6.7: a PING, and what it says.
            let got = read_while_speaking(raw, b"\0\0\x08\x06\0\0\0\0\0whatever").await;
            assert!(got > MESSAGE, "{got}");
        };
        LocalSet::new().run_until(serving_and_reading).await;
    }
}
