//! Towards an endpoint: one `open` for every way of reaching it. What comes back is a stream whose
//! other end is the program, or a failure that says who refused and why. Knows no policy.

mod answer;
pub(crate) mod dial;
mod pool;

use std::net::SocketAddr;
use std::rc::Rc;

use weft_mesh::record::{Endpoint, Tunnel};
use weft_wire::head::{Answer, Head, Refusal};

use pool::Dialled;
pub(crate) use pool::{Pool, Warm};

use crate::data::Data;
use crate::hbone::{self, Way};
use crate::limits::TUNNEL_CONNECT;
use crate::metrics::count;
use crate::stream::Stream;
use crate::tls_stream::TlsStream;
use crate::why::{Cause, Failure};

/// Opens a TCP exchange with `endpoint`, whose program has accepted when this returns.
///
/// # Errors
/// [`Failure`]: nothing that the caller's program said was delivered to anybody.
pub(crate) async fn open(data: &Rc<Data>, endpoint: &Endpoint, head: Head) -> Result<Stream, Failure> {
    match endpoint.tunnel {
        Tunnel::Mesh(at) => exchange(data, endpoint, at, head).await,
        Tunnel::Hbone(at) => {
            let identity = data.records.identity().await?;
            let way = data.pool.hbone.way(at, &endpoint.identity, &identity);
            connect(data, &way, head).await
        }
        Tunnel::Plain => {
            let socket = dial::tcp(head.destination, TUNNEL_CONNECT).await?;
            Ok(Stream::Plain(socket))
        }
    }
}

/// The warm connections to the proxy `at`, which must prove the endpoint's identity.
///
/// # Errors
/// [`Cause::Unjudged`], when there is no certificate yet.
pub(crate) async fn warm(data: &Data, endpoint: &Endpoint, at: SocketAddr) -> Result<Rc<Warm>, Failure> {
    let identity = data.records.identity().await?;
    Ok(data.pool.entry(at, &endpoint.identity, &identity))
}

/// A connection on which nothing was said yet.
pub(crate) enum Fresh {
    /// To a proxy that speaks `weft/1`: a head comes first.
    Weft(Box<TlsStream>),
    /// To the program itself, which has accepted: what is sent are its bytes.
    Bytes(Stream),
}

/// Makes a connection through the proxy behind `warm`; which protocol that speaks shows only then.
///
/// # Errors
/// As [`open`].
pub(crate) async fn fresh(data: &Rc<Data>, endpoint: &Endpoint, warm: &Warm, head: Head) -> Result<Fresh, Failure> {
    let (at, identity) = (warm.at(), data.records.identity().await?);
    if let Some(way) = data.pool.hbone.living(at, &endpoint.identity, &identity) {
        return connect(data, &way, head).await.map(Fresh::Bytes);
    }
    match warm.dial(data).await? {
        Dialled::Weft(tunnel) => Ok(Fresh::Weft(tunnel)),
        Dialled::Hbone(tunnel) => {
            let way = data.pool.hbone.way(at, &endpoint.identity, &identity);
            way.adopt(data, tunnel).await?;
            connect(data, &way, head).await.map(Fresh::Bytes)
        }
    }
}

/// Says the head on a warm connection, or on a new one. A warm one may have died unseen; since the
/// head was all that was said on it, the exchange is tried again on a new one.
async fn exchange(data: &Rc<Data>, endpoint: &Endpoint, at: SocketAddr, head: Head) -> Result<Stream, Failure> {
    let warm = warm(data, endpoint, at).await?;
    if let Some(mut tunnel) = warm.take() {
        match answer::ask(&mut tunnel, head).await {
            Ok(answer) => {
                count(&data.metrics.process.tunnels_warm);
                warm.refill(data);
                return accepted(tunnel, answer, at);
            }
            Err(error) => tracing::debug!(%at, %error, "a warm connection had died"),
        }
    }
    let mut tunnel = match fresh(data, endpoint, &warm, head).await? {
        Fresh::Weft(tunnel) => tunnel,
        Fresh::Bytes(stream) => return Ok(stream),
    };
    warm.refill(data);
    match answer::ask(&mut tunnel, head).await {
        Ok(answer) => accepted(tunnel, answer, at),
        Err(error) => Err(dial::broken(at, &error)),
    }
}

/// A stream of HBONE to the head's destination.
async fn connect(data: &Rc<Data>, way: &Rc<Way>, head: Head) -> Result<Stream, Failure> {
    // In a box: most tunnels are of `weft/1`, and need no room for this.
    let stream = Box::pin(hbone::open(data, way, head)).await?;
    Ok(Stream::Hbone(Box::new(stream)))
}

fn accepted(tunnel: Box<TlsStream>, answer: Answer, at: SocketAddr) -> Result<Stream, Failure> {
    let (refusal, reason) = match answer {
        Answer::Connected => return Ok(Stream::Tls(tunnel)),
        Answer::Refused(refusal, reason) => (refusal, reason),
    };
    let cause = match refusal {
        Refusal::Policy => Cause::Policy,
        Refusal::Connect => Cause::Connect,
        Refusal::Destination => Cause::UnknownAddress,
        Refusal::Limit => Cause::Limit,
        Refusal::Draining => Cause::Draining,
    };
    Err(Failure::inbound(cause, format!("{at} refused: {reason}")))
}
