//! Towards an endpoint: one `open` for every way of reaching it. What comes back is a stream whose
//! other end is the program, or a failure that says who refused and why. Knows no policy.

mod answer;
pub(crate) mod dial;
mod lanes;
mod pool;

use std::net::SocketAddr;
use std::rc::Rc;

use weft_mesh::record::{Endpoint, Peer, Tunnel};
use weft_wire::head::{Answer, Head, Kind, Refusal};

use pool::Dialled;
pub(crate) use pool::{Pool, Warm};

use crate::data::Data;
use crate::hbone;
use crate::limits::TUNNEL_CONNECT;
use crate::metrics::count;
use crate::stream::Stream;
use crate::tls_stream::TlsStream;
use crate::why::{Cause, Failure};

/// What an endpoint is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// From where to where.
    pub head: Head,
    /// The host of the service that the program called; `None`: it called the workload itself.
    pub service: Option<&'a str>,
}

/// Opens a TCP exchange with `endpoint`, whose program has accepted when this returns.
///
/// # Errors
/// [`Failure`]: nothing that the caller's program said was delivered to anybody.
pub(crate) async fn open(data: &Rc<Data>, endpoint: &Endpoint, asked: Asked<'_>) -> Result<Stream, Failure> {
    match &endpoint.tunnel {
        Tunnel::Mesh(peer) => exchange(data, peer, asked).await,
        Tunnel::Hbone(peer) => {
            let identity = data.records.identity().await?;
            let way = data.pool.hbone.way(peer, &identity);
            connect(data, &way, asked).await
        }
        Tunnel::Plain => {
            let socket = dial::tcp(asked.head.destination, TUNNEL_CONNECT).await?;
            Ok(Stream::Plain(socket.into()))
        }
    }
}

/// The warm connections to a proxy.
///
/// # Errors
/// [`Cause::Unjudged`], when there is no certificate yet.
pub(crate) async fn warm(data: &Data, peer: &Peer) -> Result<Rc<Warm>, Failure> {
    let identity = data.records.identity().await?;
    Ok(data.pool.entry(peer, &identity))
}

/// What an exchange of HTTP goes through.
pub(crate) enum Way {
    /// To a proxy that speaks `weft/1`: a head comes first.
    Weft(Stream, Used),
    /// To the program itself, which has accepted: what is sent are its bytes.
    Bytes(Stream),
}

/// Whether a connection carried an exchange before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    First,
    Again,
}

/// A connection of its own through the proxy behind `warm`: one that waits, if `used` allows it, or
/// a new one. Which protocol that speaks shows only then.
///
/// # Errors
/// As [`open`].
pub(crate) async fn own(data: &Rc<Data>, warm: &Warm, (asked, used): (Asked<'_>, Used)) -> Result<Way, Failure> {
    let waiting = if used == Used::Again { warm.reuse() } else { None };
    match waiting {
        Some(tunnel) => Ok(Way::Weft(Stream::Tls(tunnel), Used::Again)),
        None => Ok(match fresh(data, warm, asked).await? {
            Fresh::Weft(tunnel) => Way::Weft(Stream::Tls(tunnel), Used::First),
            Fresh::Bytes(stream) => Way::Bytes(stream),
        }),
    }
}

/// A stream of the lane through the proxy behind `warm`, which is made if need be; where there can
/// be none, as [`own`].
///
/// # Errors
/// As [`open`].
pub(crate) async fn share(data: &Rc<Data>, warm: &Warm, asked: Asked<'_>) -> Result<Way, Failure> {
    let lanes = &warm.lanes;
    if let Some(stream) = lanes.stream() {
        return Ok(Way::Weft(Stream::Lane(stream), Used::Again));
    }
    let identity = data.records.identity().await?;
    if lanes.is_living() || data.pool.hbone.living(warm.peer(), &identity).is_some() {
        return own(data, warm, (asked, Used::Again)).await;
    }
    let find = || lanes.stream().map(|stream| Way::Weft(Stream::Lane(stream), Used::Again));
    let dial = async || match fresh(data, warm, asked).await? {
        Fresh::Weft(tunnel) => {
            data.sweep.notify_one();
            let mut bytes = Vec::new();
            Head { kind: Kind::Lane, ..asked.head }.encode(&mut bytes);
            Ok(Way::Weft(Stream::Lane(lanes.begin(tunnel, bytes)), Used::First))
        }
        Fresh::Bytes(stream) => Ok(Way::Bytes(stream)),
    };
    lanes.dialling.once(find, dial).await
}

/// A new connection.
enum Fresh {
    /// To a proxy that speaks `weft/1`.
    Weft(Box<TlsStream>),
    /// To the program itself.
    Bytes(Stream),
}

async fn fresh(data: &Rc<Data>, warm: &Warm, asked: Asked<'_>) -> Result<Fresh, Failure> {
    let (peer, identity) = (warm.peer(), data.records.identity().await?);
    if let Some(way) = data.pool.hbone.living(peer, &identity) {
        return connect(data, &way, asked).await.map(Fresh::Bytes);
    }
    match warm.dial(data).await? {
        Dialled::Weft(tunnel) => Ok(Fresh::Weft(tunnel)),
        Dialled::Hbone(tunnel) => {
            let way = data.pool.hbone.way(peer, &identity);
            way.adopt(data, tunnel).await?;
            connect(data, &way, asked).await.map(Fresh::Bytes)
        }
    }
}

/// Says the head on a warm connection, or on a new one. A warm one may have died unseen; since the
/// head was all that was said on it, the exchange is tried again on a new one.
async fn exchange(data: &Rc<Data>, peer: &Peer, asked: Asked<'_>) -> Result<Stream, Failure> {
    let (at, warm) = (peer.address, warm(data, peer).await?);
    if let Some(mut tunnel) = warm.take() {
        match answer::ask(&mut tunnel, asked.head).await {
            Ok(answer) => {
                count(&data.metrics.process.tunnels_warm);
                warm.refill(data);
                return accepted(tunnel, answer, at);
            }
            Err(error) => tracing::debug!(%at, %error, "a warm connection had died"),
        }
    }
    let mut tunnel = match fresh(data, &warm, asked).await? {
        Fresh::Weft(tunnel) => tunnel,
        Fresh::Bytes(stream) => return Ok(stream),
    };
    warm.refill(data);
    match answer::ask(&mut tunnel, asked.head).await {
        Ok(answer) => accepted(tunnel, answer, at),
        Err(error) => Err(dial::broken(at, &error)),
    }
}

/// A stream of HBONE to the head's destination.
async fn connect(data: &Rc<Data>, way: &Rc<hbone::Way>, asked: Asked<'_>) -> Result<Stream, Failure> {
    // In a box: most tunnels are of `weft/1`, and need no room for this.
    let stream = Box::pin(hbone::open(data, way, asked)).await?;
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
