//! Others call the workload: who they are is proved by TLS, and what was agreed says how to go on.
//! Whether they may is decided in [`admit`]; only then does the program see a connection.

pub(crate) mod admit;
mod heads;
mod idle;
pub(crate) mod labels;
pub(crate) mod plain;
mod tcp;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream};
use weft_identity::{peer_bearer, peer_identity};
use weft_wire::head;

use crate::accept;
use crate::data::Data;
use crate::hbone;
use crate::limits::TLS_ACCEPT;
use crate::metrics::{Gauged, Party, count};
use crate::side::Side;
use crate::stream::Stream;
use crate::tls_stream::TlsStream;
use crate::why::{Cause, Failure};

/// Serves the mesh's port until the proxy drains.
pub(crate) async fn listen(data: Rc<Data>, listener: TcpListener) {
    let permits = data.inbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, from, permit| {
        let (data, Some(place)) = (data.clone(), admit::place(&data, from)) else { return };
        tokio::task::spawn_local(async move {
            let _gauged = Gauged::new(&data.metrics.process.inbound_open);
            data.report.touch();
            // In a box, so that a connection doesn't hold the room for its handshake while it lasts.
            match Box::pin(handshake(&data, socket, from.ip())).await {
                Ok((tunnel, peer)) => serve(&data, tunnel, from, peer).await,
                Err(failure) => {
                    count(&data.metrics.process.handshakes_failed);
                    tracing::info!(%from, %failure, "a caller's handshake failed");
                }
            }
            drop((permit, place));
        });
    })
    .await;
}

async fn handshake(data: &Data, socket: TcpStream, from: IpAddr) -> Result<(Box<TlsStream>, Rc<Party>), Failure> {
    let identity = data.records.identity().await?;
    let accepting = async {
        // Who says nothing costs nobody a turn.
        socket.readable().await?;
        let _turn = data.handshakes.take(from).await;
        TlsStream::accept(socket, identity.server.clone()).await
    };
    let mut tunnel = match tokio::time::timeout(TLS_ACCEPT, accepting).await {
        Ok(Ok(tunnel)) => Box::new(tunnel),
        Ok(Err(error)) => return Err(Failure::inbound(Cause::Tls, error.to_string())),
        Err(_) => return Err(Failure::inbound(Cause::Tls, format!("nothing within {} s", TLS_ACCEPT.as_secs()))),
    };
    count(&data.metrics.process.handshakes_server);
    let chain = tunnel.take_client_certificates();
    let peer = peer_identity(&chain).map_err(|e| Failure::inbound(Cause::Identity, e.to_string()))?;
    Ok((tunnel, Rc::new(Party::of_caller(&peer, peer_bearer(&chain)))))
}

/// What the agreed protocol says how to go on. Anything else can't have been agreed.
async fn serve(data: &Rc<Data>, tunnel: Box<TlsStream>, from: SocketAddr, caller: Rc<Party>) {
    match tunnel.alpn() {
        Some(head::ALPN) => heads::serve_weft(data, Side::new(Stream::Tls(tunnel)), from, caller).await,
        Some(hbone::ALPN) => hbone::serve(data, tunnel, from, caller).await,
        other => tracing::info!(%from, peer = caller.peer(), ?other, "expected protocol weft/1 or h2"),
    }
}
