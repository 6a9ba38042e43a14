//! Others call the workload: who they are is proved by TLS, whether they may is decided here, and
//! only then does the program see a connection. Plaintext callers come in at published ports only.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weft_identity::peer_identity;
use weft_mesh::SpiffeId;
use weft_mesh::record::Inbound;
use weft_wire::head::{self, Answer, Head, HeadError, Kind, MAX_HEAD_BYTES, Refusal};

use crate::accept;
use crate::connection::{Account, broken};
use crate::copy::copy;
use crate::data::Data;
use crate::hbone;
use crate::limits::{INBOUND_IDLE, TLS_ACCEPT};
use crate::live::{Admitted, Facts};
use crate::metrics::{Gauged, Labels, Party, Reporter, ServiceName, count};
use crate::stream::Stream;
use crate::tls_stream::TlsStream;
use crate::why::{Cause, Failure};

/// Serves the mesh's port until the proxy drains.
pub(crate) async fn listen(data: Rc<Data>, listener: TcpListener) {
    let permits = data.inbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, from, permit| {
        let data = data.clone();
        tokio::task::spawn_local(async move {
            let _gauged = Gauged::new(&data.metrics.process.inbound_open);
            data.report.touch();
            // In a box, so that a connection doesn't hold the room for its handshake while it lasts.
            match Box::pin(handshake(&data, socket)).await {
                Ok((tunnel, peer)) => serve(&data, tunnel, from, peer).await,
                Err(failure) => {
                    count(&data.metrics.process.handshakes_failed);
                    tracing::info!(%from, %failure, "a caller's handshake failed");
                }
            }
            drop(permit);
        });
    })
    .await;
}

/// Serves a published port, whose callers prove nothing, until the proxy drains.
pub(crate) async fn listen_published(data: Rc<Data>, listener: TcpListener, port: u16) {
    let permits = data.inbound_permits.clone();
    accept::each(&data.drain.clone(), listener, permits, |socket, from, permit| {
        let data = data.clone();
        tokio::task::spawn_local(async move {
            let open = data.drain.open();
            data.report.touch();
            serve_plain(&data, socket, from, port).await;
            drop((open, permit));
        });
    })
    .await;
}

async fn handshake(data: &Data, socket: TcpStream) -> Result<(Box<TlsStream>, SpiffeId), Failure> {
    let identity = data.records.identity().await?;
    // It is never closed; those that wait have a place in the listener's bound.
    let _turn = data.handshakes.acquire().await;
    let accepting = TlsStream::accept(socket, identity.server.clone());
    let tunnel = match tokio::time::timeout(TLS_ACCEPT, accepting).await {
        Ok(Ok(tunnel)) => Box::new(tunnel),
        Ok(Err(error)) => return Err(Failure::inbound(Cause::Tls, error.to_string())),
        Err(_) => return Err(Failure::inbound(Cause::Tls, format!("nothing within {} s", TLS_ACCEPT.as_secs()))),
    };
    count(&data.metrics.process.handshakes_server);
    let peer = peer_identity(tunnel.peer_certificates());
    let peer = peer.map_err(|e| Failure::inbound(Cause::Identity, e.to_string()))?;
    Ok((tunnel, peer))
}

/// What the agreed protocol says how to go on. Anything else can't have been agreed.
async fn serve(data: &Rc<Data>, tunnel: Box<TlsStream>, from: SocketAddr, peer: SpiffeId) {
    match tunnel.alpn() {
        Some(head::ALPN) => serve_heads(data, tunnel, from, peer).await,
        Some(hbone::ALPN) => hbone::serve(data, tunnel, from, peer).await,
        other => tracing::info!(%from, %peer, ?other, "expected protocol weft/1 or h2"),
    }
}

/// One head after another. A TCP exchange is the last on its connection.
async fn serve_heads(data: &Rc<Data>, mut tunnel: Box<TlsStream>, from: SocketAddr, peer: SpiffeId) {
    let head = tokio::select! {
        head = tokio::time::timeout(INBOUND_IDLE, read_head(&mut tunnel)) => head,
        () = data.drain.begun() => return,
    };
    let head = match head {
        Ok(Ok(Some(head))) => head,
        // It waited warm and wasn't needed.
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            tracing::info!(%from, %peer, %error, "a caller's connection broke before its head");
            return;
        }
    };
    let _open = data.drain.open();
    match head.kind {
        Kind::Tcp => serve_tcp(data, tunnel, head, peer).await,
        Kind::Http1 | Kind::Http2 => tracing::info!(%from, %peer, kind = ?head.kind, "expected a TCP exchange"),
    }
}

async fn serve_tcp(data: &Rc<Data>, mut tunnel: Box<TlsStream>, head: Head, peer: SpiffeId) {
    let party = Party::of_identity(&peer);
    let mut account = account(data, head.source, head.destination, (party, "mutual_tls"));
    let facts = Facts { peer: Some(peer), source_ip: head.source.ip(), destination: head.destination };
    match Box::pin(open(data, &mut account, facts, head.source)).await {
        Ok((program, admitted)) => {
            let mut caller = Stream::Tls(tunnel);
            let answered = say(&mut caller, &Answer::Connected).await;
            match answered {
                Ok(()) => relay(account, caller, program, admitted).await,
                Err(error) => {
                    program.reset();
                    account.refused(Failure::inbound(Cause::Reset, format!("the caller has gone: {error}")));
                }
            }
        }
        Err(failure) => {
            let answer = Answer::Refused(refusal(failure.cause), told(&failure));
            // The caller may be gone already.
            let _gone = refuse(&mut tunnel, &answer).await;
            account.refused(failure);
        }
    }
}

async fn serve_plain(data: &Rc<Data>, socket: TcpStream, from: SocketAddr, port: u16) {
    let Some(ip) = data.addresses.iter().find(|ip| ip.is_ipv4() == from.is_ipv4()).or(data.addresses.first()) else {
        return;
    };
    let destination = SocketAddr::new(*ip, port);
    let mut account = account(data, from, destination, (Party::unknown(), "none"));
    let facts = Facts { peer: None, source_ip: from.ip(), destination };
    let caller = Stream::Plain(socket);
    match open(data, &mut account, facts, from).await {
        Ok((program, admitted)) => relay(account, caller, program, admitted).await,
        Err(failure) => {
            caller.reset();
            account.refused(failure);
        }
    }
}

/// Judges a call and connects to the program. The program sees nothing of a call that is refused.
pub(crate) async fn open(
    data: &Data,
    account: &mut Account,
    facts: Facts,
    caller: SocketAddr,
) -> Result<(Stream, Admitted), Failure> {
    let inbound = data.records.inbound().await?;
    account.labels.service = own_service(&inbound);
    let destination = facts.destination;
    if !data.addresses.contains(&destination.ip()) {
        let detail = format!("{} is no address of {}", destination.ip(), data.workload);
        return Err(Failure::inbound(Cause::UnknownAddress, detail));
    }
    let (judged, admitted) = data.live.admit(&inbound, facts);
    let reason = judged.reason.clone().unwrap_or_default();
    account.verdict = Some(judged);
    let Some(admitted) = admitted else {
        count(&data.metrics.process.denied);
        return Err(Failure::inbound(Cause::Policy, reason));
    };
    let connecting = data.sockets.connect(&data.addresses, destination.port(), caller.ip());
    let program = connecting.await.map_err(|e| {
        Failure::inbound(Cause::Connect, format!("{} at port {}: {e}", data.workload, destination.port()))
    })?;
    Ok((Stream::Plain(program), admitted))
}

/// Bytes both ways, for as long as policy admits them.
pub(crate) async fn relay(mut account: Account, mut caller: Stream, mut program: Stream, admitted: Admitted) {
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
        caller.reset();
        program.reset();
    }
    account.ended(&meter, failure);
}

/// The next head, or `None` when the caller has ended the connection.
async fn read_head(tunnel: &mut TlsStream) -> io::Result<Option<Head>> {
    let mut length = [0; 2];
    let first = tunnel.read(&mut length[..1]).await;
    match first {
        Ok(0) => return Ok(None),
        // Warm connections are dropped without a word.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    tunnel.read_exact(&mut length[1..]).await?;
    let rest = usize::from(u16::from_be_bytes(length));
    if 2 + rest > MAX_HEAD_BYTES {
        return Err(no_head(HeadError::TooLong(rest)));
    }
    let mut bytes = length.to_vec();
    bytes.resize(2 + rest, 0);
    tunnel.read_exact(&mut bytes[2..]).await?;
    match Head::decode(&bytes) {
        Ok(Some((head, _))) => Ok(Some(head)),
        Ok(None) => Err(no_head(HeadError::Short)),
        Err(error) => Err(no_head(error)),
    }
}

async fn say(stream: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16);
    answer.encode(&mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn refuse(tunnel: &mut TlsStream, answer: &Answer) -> io::Result<()> {
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
pub(crate) fn account(
    data: &Rc<Data>,
    caller: SocketAddr,
    destination: SocketAddr,
    (source, security): (Party, &'static str),
) -> Account {
    let own = data.own_party();
    let service = ServiceName { host: own.app.clone(), name: own.app.clone(), namespace: own.namespace.clone() };
    let reporter = Reporter::Destination;
    let labels = Labels { reporter, source, destination: own, service, protocol: "tcp", security };
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

fn no_head(error: HeadError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
