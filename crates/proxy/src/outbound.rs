//! The program calls: where to, what it speaks, who serves that, and the bytes both ways. A call to
//! the mesh goes through the tunnel of an endpoint; a call to the outside passes plainly; an address
//! of the mesh that nobody has never leaves.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use weft_mesh::record::{Destination, ServicePort};
use weft_wire::head::{Head, Kind};

use crate::accept::Carrying;
use crate::config::OriginalDestination;
use crate::connection::{Account, broken};
use crate::copy::copy;
use crate::data::Data;
use crate::detect::{Declared, Settled, Spoken, settle, which_http};
use crate::limits::{ENDPOINT_TRIES, OUTSIDE_CONNECT};
use crate::metrics::{Gauged, Labels, Party, Reporter, ServiceName, count};
use crate::service::{Service, Target, Underway};
use crate::side::Side;
use crate::sockets::SocketSource;
use crate::tunnel::Asked;
use crate::why::{Cause, Failure, Hop};
use crate::{accept, dns, http1, http2, original, range, tunnel};

/// Serves one listener of the program's connections until the proxy drains.
pub(crate) async fn listen(data: Rc<Data>, listener: TcpListener, original: OriginalDestination) {
    let permits = data.outbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, caller, permit| {
        let data = data.clone();
        tokio::task::spawn_local(async move {
            let open = data.drain.open();
            let _gauged = Gauged::new(&data.metrics.process.outbound_open);
            data.report.touch();
            if let Some(carrying) = Box::pin(begin(&data, socket, caller, original)).await {
                carrying.await;
            }
            drop((open, permit));
        });
    })
    .await;
}

/// A call into the mesh.
#[derive(Clone)]
pub(crate) struct Called {
    /// The calling program's address.
    pub caller: SocketAddr,
    /// The address that it called.
    pub destination: SocketAddr,
    /// The service that has it.
    pub service: Rc<Service>,
    /// How the service treats its port.
    pub port: ServicePort,
}

/// What an attempt to reach somebody came to. The call weighs on its endpoint for as long as the
/// second part lives.
type Opened = Result<(Side, Option<Underway>), Failure>;

/// What a client of the mesh was found to speak.
enum Told {
    Tcp(Opened),
    Http1,
    Http2,
}

/// One connection of the program: finds whom it calls, and tells what it speaks. `None` when that
/// failed.
async fn begin(
    data: &Rc<Data>,
    socket: TcpStream,
    caller: SocketAddr,
    original: OriginalDestination,
) -> Option<Carrying<'_>> {
    let destination = match original::destination(&socket, original) {
        Ok(destination) => destination,
        Err(error) => {
            tracing::warn!(%caller, %error, "a connection without its original destination");
            return None;
        }
    };
    if destination.port() == dns::PORT && data.names.is_some() && !is_given(data, destination.ip()).await {
        return Some(Box::pin(dns::serve_stream(data, socket, destination)));
    }
    let labels = labels(data, outside_name(destination.ip()), Party::unknown(), "tcp");
    let mut account = Account::new(data, caller, destination, labels);
    let mut client = Side::plain(socket);
    let opened = match find(data, caller, destination).await {
        Ok(Some(called)) => {
            account.labels.service = called.service.name();
            match tell(data, &mut account, &mut client, &called).await {
                Told::Tcp(opened) => opened,
                Told::Http1 => return Some(http1::outbound::serve(data, client, called)),
                Told::Http2 => return Some(Box::pin(http2::outbound::serve(data, client, called))),
            }
        }
        Ok(None) => open_outside(data, destination).await,
        Err(failure) => Err(failure),
    };
    match opened {
        Ok(opened) => Some(Box::pin(relay(account, client, opened))),
        Err(failure) => {
            client.stream.reset();
            tracing::info!(%caller, %destination, %failure, "a call failed");
            account.refused(failure);
            None
        }
    }
}

/// Whether a workload or service of this machine has an address that only the mesh gives out: no name server has.
async fn is_given(data: &Data, ip: IpAddr) -> bool {
    !matches!(data.sockets, SocketSource::Pod)
        && range::is_mesh(ip)
        && matches!(data.records.by_address(ip).await, Ok(Some(_)))
}

/// Who has the address; `None`: somebody outside of the mesh.
async fn find(data: &Rc<Data>, caller: SocketAddr, destination: SocketAddr) -> Result<Option<Called>, Failure> {
    let ip = destination.ip();
    if !data.may_be_mesh(ip) || data.host_target(destination).is_some() {
        return Ok(None);
    }
    let Some(service) = data.records.by_address(ip).await? else {
        if !range::is_mesh(ip) {
            return Ok(None);
        }
        let detail = format!("no workload or service has the address {ip}");
        return Err(Failure::outbound(Cause::UnknownAddress, detail));
    };
    let Some(port) = service.port(destination.port()) else {
        let detail = format!("{} has no port {}", service.record().host, destination.port());
        return Err(Failure::outbound(Cause::UnknownPort, detail));
    };
    Ok(Some(Called { caller, destination, service, port }))
}

/// Tells what the client speaks, and has somebody dialled for it where that is TCP.
async fn tell(data: &Rc<Data>, account: &mut Account, client: &mut Side, called: &Called) -> Told {
    let told = match Declared::of(called.port.protocol) {
        Declared::Tcp => return Told::Tcp(open_tcp(data, account, called).await),
        Declared::Http => which_http(client).await.ok_or_else(gone),
        Declared::Nothing => {
            let known = (&called.service.known, called.destination.port());
            match settle(client, known, open_tcp(data, account, called)).await {
                Settled::Tcp(opened) => return Told::Tcp(opened),
                Settled::Http(spoken) => Ok(spoken),
                Settled::Gone(error) => Err(Failure { detail: error.to_string(), ..gone() }),
            }
        }
    };
    match told {
        Ok(Spoken::Http1) => Told::Http1,
        Ok(Spoken::Http2) => Told::Http2,
        Ok(Spoken::Tcp) => Told::Tcp(open_tcp(data, account, called).await),
        Err(failure) => Told::Tcp(Err(failure)),
    }
}

async fn open_outside(data: &Data, destination: SocketAddr) -> Opened {
    count(&data.metrics.process.passthrough);
    let socket = match data.host_target(destination) {
        Some(target) => dial_host(target).await?,
        None => tunnel::dial::tcp(destination, OUTSIDE_CONNECT).await?,
    };
    Ok((Side::plain(socket), None))
}

/// Where nobody listens on the host's 127.0.0.1 it may be on its ::1: a server on `localhost` chooses one of them.
async fn dial_host(target: SocketAddr) -> Result<TcpStream, Failure> {
    let dialled = tunnel::dial::tcp(target, OUTSIDE_CONNECT).await;
    if dialled.is_ok() {
        return dialled;
    }
    let other = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), target.port());
    tunnel::dial::tcp(other, OUTSIDE_CONNECT).await.or(dialled)
}

/// Connects to an endpoint. In a box that is made only when it is first asked for: most clients turn
/// out to speak HTTP, and need none.
async fn open_tcp(data: &Rc<Data>, account: &mut Account, called: &Called) -> Opened {
    Box::pin(try_endpoints(data, account, called)).await
}

/// Tries endpoints until one accepts. Nothing was said to those that didn't.
async fn try_endpoints(data: &Rc<Data>, account: &mut Account, called: &Called) -> Opened {
    let record = called.service.record();
    let mut tried: Vec<Rc<Target>> = Vec::new();
    let mut last = None;
    while tried.len() < ENDPOINT_TRIES {
        let Some(target) = called.choose(&tried, Instant::now()) else { break };
        account.labels.destination = target.party.clone();
        let (underway, began) = (target.begin(), Instant::now());
        match tunnel::open(data, &target.endpoint, called.asked(&record, &target, Kind::Tcp)).await {
            Ok(stream) => {
                target.observe(began.elapsed(), Instant::now());
                return Ok((Side::new(stream), Some(underway)));
            }
            Err(failure) if is_endpoints_own(failure.cause) => {
                target.observe(FAILED_COST, Instant::now());
                last = Some(failure);
            }
            Err(failure) => return Err(failure),
        }
        tried.push(target);
    }
    Err(last.unwrap_or_else(|| called.no_endpoint()))
}

impl Called {
    /// An endpoint for it, other than those `tried`.
    pub(crate) fn choose(&self, tried: &[Rc<Target>], now: Instant) -> Option<Rc<Target>> {
        self.service.choose((self.destination.ip(), self.port), tried, now)
    }

    /// The endpoint's own address and port for it.
    pub(crate) fn to(&self, target: &Target) -> SocketAddr {
        let port = target.endpoint.target(self.port).unwrap_or(self.port.target);
        SocketAddr::new(target.endpoint.address, port)
    }

    /// What is said to an endpoint's proxy before an exchange.
    pub(crate) fn head(&self, target: &Target, kind: Kind) -> Head {
        Head { kind, destination: self.to(target), source: self.caller, trace: None }
    }

    /// The same, and which service was meant, by its `record`. A workload's own address means none.
    pub(crate) fn asked<'a>(&self, record: &'a Destination, target: &Target, kind: Kind) -> Asked<'a> {
        let is_service = target.endpoint.address != self.destination.ip();
        Asked { head: self.head(target, kind), service: is_service.then_some(record.host.as_str()) }
    }

    /// Nobody serves it.
    pub(crate) fn no_endpoint(&self) -> Failure {
        let host = &self.service.record().host;
        Failure::outbound(Cause::NoEndpoint, format!("{host} has no endpoint at {}", self.destination.ip()))
    }
}

async fn relay(account: Account, mut client: Side, (mut server, underway): (Side, Option<Underway>)) {
    let meter = account.open();
    let copied = copy(&mut client, &mut server, &meter).await;
    drop(underway);
    if copied.is_err() {
        client.stream.reset();
        server.stream.reset();
    }
    account.ended(&meter, copied.err().map(broken));
}

/// Labels of what the program calls.
pub(crate) fn labels(data: &Data, service: ServiceName, destination: Party, protocol: &'static str) -> Labels {
    Labels { reporter: Reporter::Source, source: data.own_party(), destination, service, protocol, security: "unknown" }
}

/// Whether another endpoint may do better.
pub(crate) fn is_endpoints_own(cause: Cause) -> bool {
    matches!(cause, Cause::Connect | Cause::Tls | Cause::Identity | Cause::Limit | Cause::Draining)
}

fn gone() -> Failure {
    let detail = "the program ended its connection before it had said anything".to_owned();
    Failure { hop: Hop::Caller, cause: Cause::Reset, detail }
}

/// How labels name what isn't of the mesh, as Istio does.
pub(crate) fn outside_name(ip: IpAddr) -> ServiceName {
    let name: Arc<str> = if range::is_mesh(ip) { "unknown".into() } else { "PassthroughCluster".into() };
    ServiceName { host: name.clone(), name, namespace: "unknown".into() }
}

/// What a failed attempt counts as, so that others are preferred for a while.
pub(crate) const FAILED_COST: Duration = Duration::from_secs(5);
