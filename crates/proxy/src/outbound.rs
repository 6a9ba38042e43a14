//! The program calls: where to, who serves that, and the bytes both ways. A call to the mesh goes
//! through the tunnel of an endpoint; a call to the outside passes plainly; an address of the mesh
//! that nobody has never leaves.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;

use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use weft_mesh::record::{AppProtocol, ServicePort};
use weft_wire::head::{Head, Kind};

use crate::config::OriginalDestination;
use crate::connection::{Account, broken};
use crate::copy::copy;
use crate::data::Data;
use crate::detect::Spoken;
use crate::http2::{self, outbound::Called};
use crate::limits::{ENDPOINT_TRIES, OUTSIDE_CONNECT};
use crate::metrics::{Labels, Party, Reporter, ServiceName, count};
use crate::service::{Service, Target, Underway};
use crate::stream::Stream;
use crate::tunnel;
use crate::why::{Cause, Failure};
use crate::{accept, dns, range};

/// Serves one listener of the program's connections until the proxy drains.
pub(crate) async fn listen(data: Rc<Data>, listener: TcpListener, original: OriginalDestination) {
    let permits = data.outbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, caller, permit| {
        let data = data.clone();
        tokio::task::spawn_local(async move {
            let open = data.drain.open();
            let gauge = &data.metrics.process.outbound_open;
            gauge.set(gauge.get() + 1);
            match original_destination(&socket, original) {
                Ok(destination) => serve(&data, socket, caller, destination).await,
                Err(error) => tracing::warn!(%caller, %error, "a connection without its original destination"),
            }
            gauge.set(gauge.get() - 1);
            drop((open, permit));
        });
    })
    .await;
}

/// One connection of the program: find, choose, open, copy.
async fn serve(data: &Rc<Data>, socket: TcpStream, caller: SocketAddr, destination: SocketAddr) {
    if destination.port() == dns::PORT && data.names.is_some() {
        return dns::serve_stream(data, socket, destination).await;
    }
    if let Some(called) = http2_called(data, caller, destination).await {
        return http2::outbound::serve(data, Stream::Plain(socket), bytes::Bytes::new(), called).await;
    }
    let labels = Labels {
        reporter: Reporter::Source,
        source: data.own_party(),
        destination: Party::unknown(),
        service: outside_name(destination.ip()),
        protocol: "tcp",
        security: "unknown",
    };
    let mut account = Account::new(data, caller, destination, labels);
    let mut client = Stream::Plain(socket);
    match open(data, &mut account, caller, destination).await {
        Ok((mut server, underway)) => {
            let meter = account.open();
            let copied = copy(&mut client, &mut server, &meter).await;
            drop(underway);
            if copied.is_err() {
                client.reset();
                server.reset();
            }
            account.ended(&meter, copied.err().map(broken));
        }
        Err(failure) => {
            client.reset();
            tracing::info!(%caller, %destination, %failure, "a call failed");
            account.refused(failure);
        }
    }
}

/// Whom a connection calls whose port is declared to carry HTTP/2.
async fn http2_called(data: &Data, caller: SocketAddr, destination: SocketAddr) -> Option<Called> {
    if !range::is_mesh(destination.ip()) {
        return None;
    }
    let service = data.records.by_address(destination.ip()).await.ok()??;
    let port = service.port(destination.ip(), destination.port())?;
    let is_http2 = matches!(port.protocol, AppProtocol::Http2 | AppProtocol::Grpc);
    is_http2.then_some(Called { service, port, destination, caller })
}

/// Where the bytes go. The call weighs on its endpoint for as long as the second part lives.
async fn open(
    data: &Rc<Data>,
    account: &mut Account,
    caller: SocketAddr,
    destination: SocketAddr,
) -> Result<(Stream, Option<Underway>), Failure> {
    let ip = destination.ip();
    if !range::is_mesh(ip) {
        count(&data.metrics.process.passthrough);
        let socket = tunnel::dial::tcp(destination, OUTSIDE_CONNECT).await?;
        return Ok((Stream::Plain(socket), None));
    }
    let Some(service) = data.records.by_address(ip).await? else {
        let detail = format!("no workload or service has the address {ip}");
        return Err(Failure::outbound(Cause::UnknownAddress, detail));
    };
    account.labels.service = service.name();
    let Some(port) = service.port(ip, destination.port()) else {
        let detail = format!("{} has no port {}", service.record().host, destination.port());
        return Err(Failure::outbound(Cause::UnknownPort, detail));
    };
    match Spoken::declared(port.protocol) {
        Spoken::Tcp => open_tcp(data, account, &service, (destination, port, caller)).await,
    }
}

/// Tries endpoints until one accepts. Nothing was said to those that didn't.
async fn open_tcp(
    data: &Rc<Data>,
    account: &mut Account,
    service: &Service,
    (destination, port, caller): (SocketAddr, ServicePort, SocketAddr),
) -> Result<(Stream, Option<Underway>), Failure> {
    let mut tried: Vec<Rc<Target>> = Vec::new();
    let mut last = None;
    while tried.len() < ENDPOINT_TRIES {
        let Some(target) = service.choose(destination.ip(), &tried, Instant::now()) else { break };
        let endpoint = &target.endpoint;
        account.labels.destination = target.party.clone();
        let head = Head {
            kind: Kind::Tcp,
            destination: SocketAddr::new(endpoint.address, port.target),
            source: caller,
            trace: None,
        };
        let (underway, began) = (target.begin(), Instant::now());
        match tunnel::open(data, endpoint, head).await {
            Ok(stream) => {
                target.observe(began.elapsed(), Instant::now());
                return Ok((stream, Some(underway)));
            }
            Err(failure) if is_endpoints_own(failure.cause) => {
                target.observe(FAILED_COST, Instant::now());
                last = Some(failure);
            }
            Err(failure) => return Err(failure),
        }
        tried.push(target);
    }
    Err(last.unwrap_or_else(|| {
        let host = &service.record().host;
        Failure::outbound(Cause::NoEndpoint, format!("{host} has no endpoint at {}", destination.ip()))
    }))
}

/// Whether another endpoint may do better.
pub(crate) fn is_endpoints_own(cause: Cause) -> bool {
    matches!(cause, Cause::Connect | Cause::Tls | Cause::Identity | Cause::Limit | Cause::Draining)
}

fn original_destination(socket: &TcpStream, original: OriginalDestination) -> std::io::Result<SocketAddr> {
    match original {
        OriginalDestination::Fixed(destination) => Ok(destination),
        OriginalDestination::LocalAddress => socket.local_addr().map(canonical),
        OriginalDestination::Tracked => {
            let fd = socket.as_fd();
            if let Ok(found) = getsockopt(&fd, sockopt::OriginalDst) {
                let ip = u32::from_be(found.sin_addr.s_addr).into();
                return Ok(SocketAddr::new(IpAddr::V4(ip), u16::from_be(found.sin_port)));
            }
            let found = getsockopt(&fd, sockopt::Ip6tOriginalDst)?;
            let ip = found.sin6_addr.s6_addr.into();
            Ok(canonical(SocketAddr::new(IpAddr::V6(ip), u16::from_be(found.sin6_port))))
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// How labels name what isn't of the mesh, as Istio does.
fn outside_name(ip: IpAddr) -> ServiceName {
    let name: std::sync::Arc<str> = if range::is_mesh(ip) { "unknown".into() } else { "PassthroughCluster".into() };
    ServiceName { host: name.clone(), name, namespace: "unknown".into() }
}

/// What a failed attempt counts as, so that others are preferred for a while.
pub(crate) const FAILED_COST: std::time::Duration = std::time::Duration::from_secs(5);
