//! Callers who prove nothing: they come in at published ports, and in a pod where they were redirected from.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream};
use weft_mesh::record::MtlsMode;

use super::admit::{asks_for_name, open_named, place, refused, relay};
use super::labels::account;
use crate::accept::Carrying;
use crate::config::OriginalDestination;
use crate::data::Data;
use crate::detect::{Declared, Settled, Spoken, hello, settle, which_http};
use crate::live::{Facts, Hello};
use crate::metrics::Party;
use crate::side::Side;
use crate::{accept, http1, http2, original};

/// Serves a published port, whose callers prove nothing, until the proxy drains.
pub(crate) async fn listen_published(data: Rc<Data>, listener: TcpListener, port: u16) {
    let own = data.addresses.clone();
    let meant = move |_: &TcpStream, from: SocketAddr| {
        let of_family = own.iter().find(|ip| ip.is_ipv4() == from.is_ipv4());
        let ip = of_family.or(own.first()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(SocketAddr::new(*ip, port))
    };
    listen(data, listener, meant).await;
}

/// Serves callers of a pod who prove nothing and meant any of its ports, until the proxy drains.
pub(crate) async fn listen_captured(data: Rc<Data>, listener: TcpListener) {
    let meant = |socket: &TcpStream, _| original::destination(socket, OriginalDestination::Tracked);
    listen(data, listener, meant).await;
}

/// Serves each caller as one who meant what `meant` says.
async fn listen(
    data: Rc<Data>,
    listener: TcpListener,
    meant: impl Fn(&TcpStream, SocketAddr) -> io::Result<SocketAddr>,
) {
    let permits = data.inbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, from, permit| {
        let (data, Some(place)) = (data.clone(), place(&data, from)) else { return };
        let destination = meant(&socket, from);
        tokio::task::spawn_local(async move {
            let open = data.drain.open();
            data.report.touch();
            match destination {
                Ok(destination) => serve_plain(&data, socket, (from, destination)).await,
                Err(error) => tracing::info!(%from, %error, "a caller without its original destination"),
            }
            drop((open, permit, place));
        });
    })
    .await;
}

async fn serve_plain(data: &Rc<Data>, socket: TcpStream, ends: (SocketAddr, SocketAddr)) {
    if let Some(carrying) = Box::pin(begin_plain(data, socket, ends)).await {
        carrying.await;
    }
}

/// A caller who proves nothing: what it speaks is told as for the program's own calls. `None` when it
/// was refused, or has gone.
async fn begin_plain(
    data: &Rc<Data>,
    socket: TcpStream,
    (from, destination): (SocketAddr, SocketAddr),
) -> Option<Carrying<'_>> {
    let port = destination.port();
    let mut account = account(data, from, destination, &Party::unknown());
    let facts = Facts { peer: None, source_ip: from.ip(), destination };
    let mut caller = Side::plain(socket);
    let inbound = data.records.inbound().await;
    let hello = match &inbound {
        Ok(inbound) if asks_for_name(data, inbound, &facts) => hello(&mut caller).await,
        _ => Hello::Unseen,
    };
    let facts = (facts, hello);
    // Under STRICT a plaintext caller is closed before anything is read (istio-semantics, A8).
    let declared = inbound.map(|inbound| match inbound.peer_authentication.at(port).mode {
        MtlsMode::Strict => Declared::Tcp,
        MtlsMode::Permissive | MtlsMode::Disable => Declared::of(inbound.protocol(port)),
    });
    let opened = match declared {
        Ok(Declared::Tcp) => open_named(data, &mut account, facts, from).await,
        Ok(Declared::Http) => match which_http(&mut caller).await? {
            Spoken::Tcp => open_named(data, &mut account, facts, from).await,
            http => return Some(carry_http(data, http, caller, (from, destination))),
        },
        Ok(Declared::Nothing) => {
            let dial = open_named(data, &mut account, facts.clone(), from);
            match settle(&mut caller, (&data.known, port), dial).await {
                Settled::Tcp(opened) => opened,
                Settled::Http(Spoken::Tcp) => open_named(data, &mut account, facts, from).await,
                Settled::Http(http) => return Some(carry_http(data, http, caller, (from, destination))),
                Settled::Gone(_) => return None,
            }
        }
        Err(failure) => Err(failure),
    };
    match opened {
        Ok((program, admitted)) => Some(Box::pin(relay(account, caller, program, admitted))),
        Err(failure) => {
            caller.stream.reset();
            refused(data, account, failure);
            None
        }
    }
}

fn carry_http(data: &Rc<Data>, spoken: Spoken, caller: Side, ends: (SocketAddr, SocketAddr)) -> Carrying<'_> {
    match spoken {
        Spoken::Http2 => Box::pin(http2::inbound::serve(data, caller, Rc::new(Party::unknown()), ends)),
        _ => Box::pin(http1::inbound::serve_connection(data, caller, ends, Rc::new(Party::unknown()))),
    }
}
