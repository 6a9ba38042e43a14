//! What a connection speaks, told by declaration or by its first bytes. A protocol whose server
//! speaks first never waits here: the other side is dialled meanwhile, and whichever speaks first
//! settles it (DESIGN, "Detection").

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Sleep, sleep, timeout};
use weft_http::detect::{Detected, detect};
use weft_http::tls_hello::{ServerName, server_name};
use weft_mesh::record::AppProtocol;

use crate::limits::{DETECTION_GRACE, DETECTION_HELD, KNOWN_PORTS};
use crate::live::Hello;
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

/// What was spoken last on ports of undeclared protocol, of as many ports as [`KNOWN_PORTS`].
#[derive(Default)]
pub(crate) struct Known(RefCell<Vec<(u16, Spoken)>>);

impl Known {
    /// How long a silent client is listened to before somebody is dialled for it. Where HTTP was
    /// spoken last that would mostly be in vain; a server that speaks first is then heard late once,
    /// and never again. Where nothing is known, most clients of HTTP speak within the time.
    pub(crate) fn grace(&self, port: u16) -> Duration {
        let known = self.0.borrow().iter().find(|(known, _)| *known == port).map(|(_, spoken)| *spoken);
        match known {
            Some(Spoken::Tcp) => Duration::ZERO,
            Some(Spoken::Http1 | Spoken::Http2) => DETECTION_HELD,
            None => DETECTION_GRACE,
        }
    }

    /// Takes note of what was spoken.
    pub(crate) fn note(&self, port: u16, spoken: Spoken) {
        let mut known = self.0.borrow_mut();
        match known.iter().position(|(known, _)| *known == port) {
            Some(at) => known[at].1 = spoken,
            None if known.len() < KNOWN_PORTS => known.push((port, spoken)),
            None => {}
        }
    }
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

/// Reads the server name that the client's own TLS asks for; its bytes stay in its side. A client
/// that doesn't say enough within [`DETECTION_HELD`] stays unseen.
pub(crate) async fn hello(client: &mut Side) -> Hello {
    let reading = async {
        loop {
            match server_name(client.bytes()) {
                // Servers take a name with a full stop at its end for the one without.
                ServerName::Name(name) => return Hello::Names(name.trim_end_matches('.').to_owned()),
                ServerName::Absent => return Hello::Nameless,
                ServerName::Unreadable => return Hello::Unseen,
                ServerName::NeedMore => {}
            }
            if !matches!(client.fill().await, Ok(1..)) {
                return Hello::Unseen;
            }
        }
    };
    timeout(DETECTION_HELD, reading).await.unwrap_or_default()
}

/// Waits until one of both sides has spoken. `dial` connects to the other one; it isn't begun before
/// the port's [`Known::grace`] has passed, nor when the client's bytes tell enough.
///
/// Silence settles nothing. A prefix that may still become HTTP or TLS is held for
/// [`DETECTION_HELD`], and so is a client that says nothing when dialling has failed: it may be
/// judged otherwise once it speaks HTTP.
pub(crate) async fn settle<T: 'static>(
    client: &mut Side,
    (known, port): (&Known, u16),
    dial: impl Future<Output = Result<(Side, T), Failure>>,
) -> Settled<T> {
    let settled = settle_after(client, known.grace(port), dial).await;
    match &settled {
        Settled::Tcp(_) => known.note(port, Spoken::Tcp),
        Settled::Http(spoken) => known.note(port, *spoken),
        Settled::Gone(_) => {}
    }
    settled
}

async fn settle_after<T: 'static>(
    client: &mut Side,
    grace: Duration,
    dial: impl Future<Output = Result<(Side, T), Failure>>,
) -> Settled<T> {
    let mut dial = pin!(dial);
    let mut grace = (grace > Duration::ZERO).then(|| Box::pin(sleep(grace)));
    let mut dialled = None;
    let mut held: Option<Pin<Box<Sleep>>> = None;
    // A client that speaks first has mostly done so by now; then nobody is dialled in vain.
    let mut read = at_hand(client).await;
    loop {
        let read_so_far = match read {
            Ok(read) => read,
            Err(error) => return Settled::Gone(error),
        };
        if let Some(spoken) = told(client.bytes(), read_so_far) {
            return finish(spoken, dialled, dial).await;
        }
        if held.is_none() && (!client.bytes().is_empty() || matches!(dialled, Some(Err(_)))) {
            held = Some(Box::pin(sleep(DETECTION_HELD)));
        }
        tokio::select! {
            biased;
            filled = client.fill() => read = filled.map(Read::of),
            result = &mut dial, if dialled.is_none() && grace.is_none() => dialled = Some(result),
            () = until(&mut grace) => grace = None,
            () = spoke(&mut dialled) => return finish(Spoken::Tcp, dialled, dial).await,
            () = until(&mut held) => return finish(Spoken::Tcp, dialled, dial).await,
        }
    }
}

/// What reading a client came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Bytes,
    End,
}

impl Read {
    fn of(length: usize) -> Self {
        if length == 0 { Self::End } else { Self::Bytes }
    }
}

/// Reads what has arrived, without waiting.
async fn at_hand(client: &mut Side) -> io::Result<Read> {
    tokio::select! {
        biased;
        filled = client.fill() => filled.map(Read::of),
        () = tokio::task::yield_now() => Ok(Read::Bytes),
    }
}

/// What the client's first bytes tell; `None` while they may still become something.
fn told(bytes: &[u8], read: Read) -> Option<Spoken> {
    match detect(bytes) {
        Detected::NeedMore => (read == Read::End).then_some(Spoken::Tcp),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_ports_what_they_speak_is_known_of_a_few() {
        let known = Known::default();
        let last = KNOWN_PORTS as u16;
        for port in 0..=last {
            known.note(port, Spoken::Tcp);
        }
        assert_eq!((known.grace(0), known.grace(last - 1)), (Duration::ZERO, Duration::ZERO));
        assert_eq!(known.grace(last), DETECTION_GRACE);
        known.note(0, Spoken::Http1);
        assert_eq!(known.grace(0), DETECTION_HELD, "what is known is known anew");
    }
}
