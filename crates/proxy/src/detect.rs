//! What a connection speaks, told by declaration or by its first bytes. A protocol whose server
//! speaks first never waits here: the other side is dialled meanwhile, and whichever speaks first
//! settles it (DESIGN, "Detection").

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};

use tokio::io::AsyncWriteExt;
use tokio::time::{Sleep, sleep};
use weft_http::detect::{Detected, detect};
use weft_mesh::record::AppProtocol;

use crate::limits::DETECTION_HELD;
use crate::side::Side;
use crate::why::Failure;

/// What a connection is treated as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Spoken {
    /// Opaque bytes.
    Tcp,
    /// HTTP/1.
    Http1,
    /// HTTP/2 with prior knowledge; its preface is still to be read.
    Http2,
}

/// What a declaration leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Opaque bytes; nothing is looked at.
    Tcp,
    /// HTTP; the preface tells which.
    Http,
    /// Anything.
    Nothing,
}

/// How a connection of undeclared protocol was settled. What was read stays in its side.
pub(crate) enum Settled<T> {
    /// Opaque bytes, for the connection that was dialled, or could not be.
    Tcp(Result<(Side, T), Failure>),
    /// HTTP: what was dialled is closed.
    Http(Spoken),
    /// The client broke before it had said enough.
    Gone(io::Error),
}

impl Declared {
    /// What the port's protocol says.
    pub(crate) fn of(protocol: AppProtocol) -> Self {
        match protocol {
            AppProtocol::Tcp => Self::Tcp,
            AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc => Self::Http,
            AppProtocol::Detect => Self::Nothing,
        }
    }
}

/// Which HTTP a client of a declared port speaks. What isn't HTTP/2's preface is read, strictly, as
/// HTTP/1. `None`: it ended or broke before it said so.
pub(crate) async fn which_http(client: &mut Side) -> Option<Spoken> {
    loop {
        match detect(client.bytes()) {
            Detected::NeedMore => match client.fill().await {
                Ok(0) if !client.bytes().is_empty() => return Some(Spoken::Http1),
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            },
            Detected::Http2Preface => return Some(Spoken::Http2),
            Detected::Http1 | Detected::Tls | Detected::Other => return Some(Spoken::Http1),
        }
    }
}

/// Waits until one of both sides has spoken. `dial` connects to the other one; it isn't begun when
/// the client's bytes at hand tell enough.
///
/// Silence settles nothing. A prefix that may still become HTTP or TLS is held for
/// [`DETECTION_HELD`], and so is a client that says nothing when dialling has failed: it may be
/// judged otherwise once it speaks HTTP.
pub(crate) async fn settle<T: 'static>(
    client: &mut Side,
    dial: impl Future<Output = Result<(Side, T), Failure>>,
) -> Settled<T> {
    let mut dial = pin!(dial);
    let mut dialled = None;
    let mut held: Option<Pin<Box<Sleep>>> = None;
    // A client that speaks first has mostly done so by now; then nobody is dialled in vain.
    let mut ended = at_hand(client).await;
    loop {
        match ended {
            Err(error) => return Settled::Gone(error),
            Ok(ended) => {
                if let Some(spoken) = told(client.bytes(), ended) {
                    return finish(spoken, dialled, dial).await;
                }
            }
        }
        if held.is_none() && (!client.bytes().is_empty() || matches!(dialled, Some(Err(_)))) {
            held = Some(Box::pin(sleep(DETECTION_HELD)));
        }
        tokio::select! {
            biased;
            filled = client.fill() => ended = filled.map(|length| length == 0),
            result = &mut dial, if dialled.is_none() => dialled = Some(result),
            () = spoke(&mut dialled) => return finish(Spoken::Tcp, dialled, dial).await,
            () = until(&mut held) => return finish(Spoken::Tcp, dialled, dial).await,
        }
    }
}

/// Reads what has arrived, without waiting. Returns whether that was the end.
async fn at_hand(client: &mut Side) -> io::Result<bool> {
    tokio::select! {
        biased;
        filled = client.fill() => filled.map(|length| length == 0),
        () = tokio::task::yield_now() => Ok(false),
    }
}

/// What the client's first bytes tell; `None` while they may still become something.
fn told(bytes: &[u8], ended: bool) -> Option<Spoken> {
    match detect(bytes) {
        Detected::NeedMore => ended.then_some(Spoken::Tcp),
        Detected::Http1 => Some(Spoken::Http1),
        Detected::Http2Preface => Some(Spoken::Http2),
        // The program's own TLS is opaque, and wrapped like everything.
        Detected::Tls | Detected::Other => Some(Spoken::Tcp),
    }
}

async fn finish<T: 'static>(
    spoken: Spoken,
    dialled: Option<Result<(Side, T), Failure>>,
    dial: Pin<&mut impl Future<Output = Result<(Side, T), Failure>>>,
) -> Settled<T> {
    match (spoken, dialled) {
        (Spoken::Tcp, Some(dialled)) => Settled::Tcp(dialled),
        (Spoken::Tcp, None) => Settled::Tcp(dial.await),
        (http, dialled) => {
            if let Some(Ok((mut unused, kept))) = dialled {
                tokio::task::spawn_local(async move {
                    // The program sees a connection that ended before anything was said.
                    let _gone = unused.shutdown().await;
                    drop(kept);
                });
            }
            Settled::Http(http)
        }
    }
}

/// Waits until the server has said something, or has ended.
async fn spoke<T>(dialled: &mut Option<Result<(Side, T), Failure>>) {
    match dialled {
        // Whatever it is, copying finds it again.
        Some(Ok((server, _))) => drop(server.fill().await),
        _ => std::future::pending().await,
    }
}

async fn until(held: &mut Option<Pin<Box<Sleep>>>) {
    match held {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}
