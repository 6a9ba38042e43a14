//! Others call the workload: who they are is proved by TLS, whether they may is decided here, and
//! only then does the program see a connection. Plaintext callers come in at published ports, and in a
//! pod where they were redirected from.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep};
use weft_identity::{peer_bearer, peer_identity};
use weft_mesh::decide::hangs_on_sni;
use weft_mesh::record::{Inbound, MtlsMode};
use weft_wire::head::{self, Answer, Head, Kind, Refusal};

use crate::accept::Carrying;
use crate::config::OriginalDestination;
use crate::connection::{Account, broken};
use crate::copy::copy;
use crate::crowd::Place;
use crate::data::Data;
use crate::detect::{Declared, Settled, Spoken, hello, settle, which_http};
use crate::hbone;
use crate::http1::inbound::After;
use crate::lane::{self, LaneStream};
use crate::limits::{INBOUND_IDLE, TLS_ACCEPT};
use crate::live::{Admitted, Facts, Hello, unenforced};
use crate::metrics::{Gauged, Labels, Party, Reporter, ServiceName, count};
use crate::side::Side;
use crate::stream::Stream;
use crate::tls_stream::TlsStream;
use crate::why::{Cause, Failure};
use crate::{accept, http1, http2, original};

/// Serves the mesh's port until the proxy drains.
pub(crate) async fn listen(data: Rc<Data>, listener: TcpListener) {
    let permits = data.inbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, from, permit| {
        let (data, Some(place)) = (data.clone(), place(&data, from)) else { return };
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

/// Serves a published port, whose callers prove nothing, until the proxy drains.
pub(crate) async fn listen_published(data: Rc<Data>, listener: TcpListener, port: u16) {
    let permits = data.inbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, from, permit| {
        let (data, Some(place)) = (data.clone(), place(&data, from)) else { return };
        tokio::task::spawn_local(async move {
            let open = data.drain.open();
            data.report.touch();
            let of_family = data.addresses.iter().find(|ip| ip.is_ipv4() == from.is_ipv4());
            if let Some(ip) = of_family.or(data.addresses.first()) {
                serve_plain(&data, socket, (from, SocketAddr::new(*ip, port))).await;
            }
            drop((open, permit, place));
        });
    })
    .await;
}

/// Serves callers of a pod who prove nothing and meant any of its ports, until the proxy drains.
pub(crate) async fn listen_captured(data: Rc<Data>, listener: TcpListener) {
    let permits = data.inbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, from, permit| {
        let (data, Some(place)) = (data.clone(), place(&data, from)) else { return };
        tokio::task::spawn_local(async move {
            let open = data.drain.open();
            data.report.touch();
            match original::destination(&socket, OriginalDestination::Tracked) {
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

/// A place for one more of a caller's address, unless that has half of all.
fn place(data: &Data, from: SocketAddr) -> Option<Place> {
    let place = data.inbound_crowd.enter(from.ip());
    if place.is_none() {
        count(&data.metrics.process.crowded);
        tracing::debug!(%from, "an address that has half of all connections gets no more");
    }
    place
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
        Some(head::ALPN) => serve_weft(data, Side::new(Stream::Tls(tunnel)), from, caller).await,
        Some(hbone::ALPN) => hbone::serve(data, tunnel, from, caller).await,
        other => tracing::info!(%from, peer = caller.peer(), ?other, "expected protocol weft/1 or h2"),
    }
}

/// A connection of `weft/1`: a lane, or one head after another.
async fn serve_weft(data: &Rc<Data>, mut tunnel: Side, from: SocketAddr, caller: Rc<Party>) {
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

async fn serve_tcp(data: &Rc<Data>, mut caller: Side, head: Head, party: Rc<Party>) {
    let peer = party.principal.clone();
    let mut account = account(data, head.source, head.destination, &party);
    let facts = Facts { peer, source_ip: head.source.ip(), destination: head.destination };
    let opened = match data.records.inbound().await {
        Ok(inbound) if asks_for_name(data, &inbound, &facts) => {
            return Box::pin(serve_named(data, caller, head.source, (account, facts))).await;
        }
        Ok(_) => Box::pin(open(data, &mut account, facts, head.source)).await,
        Err(failure) => Err(failure),
    };
    match opened {
        Ok((program, admitted)) => match say(&mut caller, &Answer::Connected).await {
            Ok(()) => relay(account, caller, program, admitted).await,
            Err(error) => {
                program.stream.reset();
                account.refused(Failure::inbound(Cause::Reset, format!("the caller has gone: {error}")));
            }
        },
        Err(failure) => {
            let answer = Answer::Refused(refusal(failure.cause), told(&failure));
            // The caller may be gone already.
            let _gone = refuse(&mut caller, &answer).await;
            refused(data, account, failure);
        }
    }
}

/// A call whose verdict hangs on the server name of the caller's own TLS, which a caller says only
/// when it believes itself connected. A refusal is a reset, then.
async fn serve_named(data: &Rc<Data>, mut caller: Side, from: SocketAddr, (mut account, facts): (Account, Facts)) {
    if let Err(error) = say(&mut caller, &Answer::Connected).await {
        return account.refused(Failure::inbound(Cause::Reset, format!("the caller has gone: {error}")));
    }
    let hello = hello(&mut caller).await;
    match open_named(data, &mut account, (facts, hello), from).await {
        Ok((program, admitted)) => relay(account, caller, program, admitted).await,
        Err(failure) => {
            caller.stream.reset();
            refused(data, account, failure);
        }
    }
}

/// Whether the verdict on a call to this workload hangs on the server name of the caller's own TLS.
fn asks_for_name(data: &Data, inbound: &Inbound, facts: &Facts) -> bool {
    data.addresses.contains(&facts.destination.ip()) && hangs_on_sni(inbound, &facts.connection(&Hello::Unseen))
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

/// Labels of what a caller asks.
pub(crate) fn labels(data: &Data, inbound: &Inbound, caller: &Party, protocol: &'static str) -> Labels {
    Labels { service: own_service(inbound), protocol, ..unjudged_labels(data, caller) }
}

/// Labels of what a caller asks, when the inbound record hasn't come.
pub(crate) fn unjudged_labels(data: &Data, caller: &Party) -> Labels {
    let own = data.own_party();
    let service = ServiceName { host: own.app.clone(), name: own.app.clone(), namespace: own.namespace.clone() };
    let (reporter, source) = (Reporter::Destination, caller.clone());
    let security = if caller.principal.is_some() { "mutual_tls" } else { "none" };
    Labels { reporter, source, destination: own, service, protocol: "http", security }
}

/// Tells of a call that wasn't admitted, or that nobody took.
pub(crate) fn refused(data: &Data, account: Account, failure: Failure) {
    if failure.cause == Cause::Policy {
        count(&data.metrics.process.denied);
    }
    account.refused(failure);
}

/// Judges a call and connects to the program. The program sees nothing of a call that is refused.
pub(crate) async fn open(
    data: &Data,
    account: &mut Account,
    facts: Facts,
    caller: SocketAddr,
) -> Result<(Side, Admitted), Failure> {
    open_named(data, account, (facts, Hello::Unseen), caller).await
}

/// As [`open`], where the first bytes of the caller were looked at.
async fn open_named(
    data: &Data,
    account: &mut Account,
    (facts, hello): (Facts, Hello),
    caller: SocketAddr,
) -> Result<(Side, Admitted), Failure> {
    let inbound = data.records.inbound().await?;
    account.labels.service = own_service(&inbound);
    let destination = facts.destination;
    if !data.addresses.contains(&destination.ip()) {
        let detail = format!("{} is no address of {}", destination.ip(), data.workload);
        return Err(Failure::inbound(Cause::UnknownAddress, detail));
    }
    account.unenforced = unenforced(&inbound, &facts.connection(&hello), &data.metrics.process);
    let (judged, admitted) = data.live.admit(&inbound, facts, hello);
    let reason = judged.reason.clone().unwrap_or_default();
    account.verdict = Some(judged);
    let Some(admitted) = admitted else {
        return Err(Failure::inbound(Cause::Policy, reason));
    };
    let connecting = data.sockets.connect(&data.addresses, destination, caller.ip());
    let program = connecting.await.map_err(|e| {
        Failure::inbound(Cause::Connect, format!("{} at port {}: {e}", data.workload, destination.port()))
    })?;
    Ok((Side::plain(program), admitted))
}

/// Bytes both ways, for as long as policy admits them.
pub(crate) async fn relay(mut account: Account, mut caller: Side, mut program: Side, admitted: Admitted) {
    let meter = account.open();
    let failure = tokio::select! {
        copied = copy(&mut caller, &mut program, &meter) => copied.err().map(broken),
        judged = admitted.denied() => {
            let reason = judged.reason.clone().unwrap_or_default();
            account.verdict = Some(judged);
            Some(Failure::inbound(Cause::PolicyChanged, reason))
        }
    };
    if failure.is_some() {
        caller.stream.reset();
        program.stream.reset();
    }
    account.ended(&meter, failure);
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

/// The time that a connection may wait for its next head. One timer that is set again only when it
/// fires, and not for each exchange.
struct Idle {
    timer: Pin<Box<Sleep>>,
    since: Instant,
}

impl Idle {
    fn new() -> Self {
        Self { timer: Box::pin(sleep(INBOUND_IDLE)), since: Instant::now() }
    }

    /// It begins to wait.
    fn touch(&mut self) {
        self.since = Instant::now();
    }

    /// Waits until it has waited for too long.
    async fn passed(&mut self) {
        loop {
            self.timer.as_mut().await;
            let end = self.since + INBOUND_IDLE;
            if end <= Instant::now() {
                return;
            }
            self.timer.as_mut().reset(end);
        }
    }
}

async fn say(stream: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16);
    answer.encode(&mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn refuse(tunnel: &mut Side, answer: &Answer) -> io::Result<()> {
    say(tunnel, answer).await?;
    tunnel.shutdown().await
}

/// What the caller's proxy learns. Of policy no more than the word.
fn told(failure: &Failure) -> String {
    match failure.cause {
        Cause::Policy => "policy".to_owned(),
        _ => failure.detail.clone(),
    }
}

fn refusal(cause: Cause) -> Refusal {
    match cause {
        Cause::Policy | Cause::PolicyChanged | Cause::Unjudged => Refusal::Policy,
        Cause::UnknownAddress | Cause::UnknownPort => Refusal::Destination,
        Cause::Limit => Refusal::Limit,
        Cause::Draining => Refusal::Draining,
        _ => Refusal::Connect,
    }
}

/// The account of one call of `source`.
pub(crate) fn account(data: &Rc<Data>, caller: SocketAddr, destination: SocketAddr, source: &Party) -> Account {
    let labels = Labels { protocol: "tcp", ..unjudged_labels(data, source) };
    Account::new(data, caller, destination, labels)
}

fn own_service(inbound: &Inbound) -> ServiceName {
    let (name, namespace) = (&inbound.service, inbound.workload.namespace());
    ServiceName {
        host: format!("{name}.{namespace}.svc.{}", inbound.identity.trust_domain()).into(),
        name: name.as_str().into(),
        namespace: namespace.into(),
    }
}
