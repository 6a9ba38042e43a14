//! A connection of `weft/1` between two proxies: a lane, or one head after another.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use weft_wire::head::{Head, Kind};

use super::admit::place;
use super::idle::Idle;
use super::tcp::serve_tcp;
use crate::data::Data;
use crate::http1::inbound::After;
use crate::lane::{self, LaneStream};
use crate::metrics::Party;
use crate::side::Side;
use crate::stream::Stream;
use crate::{http1, http2};

/// A connection of `weft/1`: a lane, or one head after another.
pub(super) async fn serve_weft(data: &Rc<Data>, mut tunnel: Side, from: SocketAddr, caller: Rc<Party>) {
    let mut idle = Idle::new();
    match next_head(data, &mut tunnel, &mut idle).await {
        Ok(Some(Head { kind: Kind::Lane, .. })) => serve_lane(data, (tunnel, idle), from, caller).await,
        first => serve_heads(data, (tunnel, idle, first), from, caller).await,
    }
}

/// Each stream of a lane is served like a connection.
async fn serve_lane(data: &Rc<Data>, (tunnel, mut idle): (Side, Idle), from: SocketAddr, caller: Rc<Party>) {
    // What streams have said is to go before the proxy ends.
    let open = data.drain.open();
    let mut driver = lane::Driver::accepting(tunnel);
    while let Some(mut stream) = next_stream(data, &mut driver, &mut idle).await {
        let (Ok(permit), Some(place)) = (data.inbound_permits.clone().try_acquire_owned(), place(data, from)) else {
            // An end without a byte: nothing was read of it.
            let _ended = stream.shutdown().await;
            continue;
        };
        let (data, caller) = (data.clone(), caller.clone());
        tokio::task::spawn_local(async move {
            let (mut stream, mut idle) = (Side::new(Stream::Lane(stream)), Idle::new());
            let first = next_head(&data, &mut stream, &mut idle).await;
            serve_heads(&data, (stream, idle, first), from, caller).await;
            drop((permit, place));
        });
    }
    drop(open);
    http1::linger(driver.into_side()).await;
}

/// The next stream; `None` when the lane has ended. It ends when the proxy drains, and when it lies
/// idle.
async fn next_stream(data: &Data, driver: &mut lane::Driver, idle: &mut Idle) -> Option<LaneStream> {
    loop {
        let may_end = !driver.is_retired();
        tokio::select! {
            biased;
            stream = driver.next() => return stream,
            () = data.drain.begun(), if may_end => driver.retire(),
            () = idle.passed(), if may_end => match driver.is_unused() {
                true => driver.retire(),
                false => idle.touch(),
            }
        }
    }
}

/// One head after another, of which the first was read. Only HTTP/1 exchanges leave the connection
/// for another one.
async fn serve_heads(
    data: &Rc<Data>,
    (mut tunnel, mut idle, mut next): (Side, Idle, io::Result<Option<Head>>),
    from: SocketAddr,
    caller: Rc<Party>,
) {
    let mut requests = None;
    loop {
        let head = match next {
            Ok(Some(head)) => head,
            // It waited and wasn't needed. A clean end says that nothing was read of an exchange.
            Ok(None) => {
                let _gone = tunnel.shutdown().await;
                return;
            }
            Err(error) => {
                tracing::info!(%from, peer = caller.peer(), %error, "a caller's connection broke before its head");
                return;
            }
        };
        let _open = data.drain.open();
        match head.kind {
            Kind::Tcp => return serve_tcp(data, tunnel, head, caller).await,
            Kind::Http1 => {
                let own = || data.own_party().principal.map(|own| own.to_string()).unwrap_or_default();
                let requests = requests.get_or_insert_with(|| http1::inbound::Caller::new(caller.clone(), &own()));
                match requests.serve(data, &mut tunnel, (head.source, head.destination)).await {
                    After::Message => {}
                    After::Close => return http1::linger(tunnel).await,
                    After::Reset => return tunnel.stream.reset(),
                }
            }
            Kind::Http2 => {
                return http2::inbound::serve(data, tunnel, caller, (head.source, head.destination)).await;
            }
            Kind::Lane => {
                return tracing::info!(%from, peer = caller.peer(), "expected an exchange, found a lane within a lane");
            }
        }
        next = next_head(data, &mut tunnel, &mut idle).await;
    }
}

/// The next head; `None` when there is none and the connection is to end.
async fn next_head(data: &Data, tunnel: &mut Side, idle: &mut Idle) -> io::Result<Option<Head>> {
    idle.touch();
    tokio::select! {
        biased;
        head = read_head(tunnel) => head,
        () = data.drain.begun() => Ok(None),
        () = idle.passed() => Ok(None),
    }
}

/// The next head, or `None` when the caller has ended the connection.
async fn read_head(tunnel: &mut Side) -> io::Result<Option<Head>> {
    loop {
        match Head::decode(tunnel.bytes()) {
            Ok(Some((head, length))) => {
                tunnel.consume(length);
                return Ok(Some(head));
            }
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        let at_rest = tunnel.bytes().is_empty();
        match tunnel.fill().await {
            Ok(0) if at_rest => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            // Warm connections, and streams of lanes, are dropped without a word.
            Err(error) if at_rest && is_drop(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

fn is_drop(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}
