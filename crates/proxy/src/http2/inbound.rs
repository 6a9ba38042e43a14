//! Callers' HTTP/2 connections: each stream is judged for itself, and goes to the program on a
//! connection that has the caller's address. A stream that policy no longer admits is reset.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use http::Request;
use weft_http::bridge::validate_h2_request;
use weft_mesh::record::AppProtocol;

use super::answer::{Dialect, conclude, fail};
use super::connection::{Accepted, Caller, Lease, Opened, Shared};
use super::exchange::{Ending, Exchange};
use super::head;
use crate::access::Judged;
use crate::data::Data;
use crate::limits::H2_TRIES;
use crate::live::Facts;
use crate::metrics::count;
use crate::stream::Stream;
use crate::why::{Cause, Failure, Hop};

/// Where a program's shared connection belongs: its caller's address, and its port.
pub(crate) type ProgramPort = (IpAddr, u16);

/// Serves a caller's connection, of which `prefix` was read already, until it ends.
pub(crate) async fn serve(data: &Rc<Data>, stream: Stream, prefix: Bytes, facts: Facts) {
    let caller = if facts.peer.is_some() { Caller::Proxy } else { Caller::Program };
    let mut accepted = match Accepted::new(stream, prefix, caller).await {
        Ok(accepted) => accepted,
        Err(error) => return tracing::debug!(caller = %facts.source_ip, %error, "no HTTP/2 after its preface"),
    };
    let facts = Rc::new(facts);
    let mut is_draining = false;
    loop {
        let opened = tokio::select! {
            opened = accepted.next() => opened,
            () = data.drain.begun(), if !is_draining => {
                is_draining = true;
                accepted.go_away();
                continue;
            }
        };
        match opened {
            Some(Ok(opened)) => {
                let (data, facts) = (data.clone(), facts.clone());
                tokio::task::spawn_local(async move { called(&data, &facts, opened).await });
            }
            Some(Err(error)) => return tracing::debug!(caller = %facts.source_ip, %error, "a connection broke"),
            None => return,
        }
    }
}

/// One stream.
async fn called(data: &Rc<Data>, facts: &Facts, opened: Opened) {
    let (mut head, mut exchange) = Exchange::new(opened);
    let dialect = dialect(data, facts, &head);
    let failure = match admit(data, facts, &mut head).await {
        Ok(seen) => admitted(data, (facts, seen), (&head, dialect), &mut exchange).await,
        Err(failure) => {
            fail(&mut exchange, dialect, &failure);
            Some(failure)
        }
    };
    if let Some(failure) = failure {
        tracing::debug!(caller = %facts.source_ip, destination = %facts.destination, %failure, "a call failed");
    }
}

fn dialect(data: &Data, facts: &Facts, head: &Request<()>) -> Dialect {
    let declared = data.records.inbound_now().map(|inbound| inbound.protocol(facts.destination.port()));
    match declared {
        Some(AppProtocol::Grpc) => Dialect::Grpc,
        _ => Dialect::of(head.headers()),
    }
}

/// Makes the request what the program may see of it, and judges that. Returns as of which change
/// of policy it was judged.
async fn admit(data: &Data, facts: &Facts, head: &mut Request<()>) -> Result<u64, Failure> {
    let malformed = |error: String| Failure::inbound(Cause::Malformed, error);
    validate_h2_request(head).map_err(|e| malformed(e.to_string()))?;
    head::complete(head);
    head::normalize_path(head).map_err(malformed)?;
    head::strip(head);
    let inbound = data.records.inbound().await?;
    let destination = facts.destination;
    if !data.addresses.contains(&destination.ip()) {
        let detail = format!("{} is no address of {}", destination.ip(), data.workload);
        return Err(Failure::inbound(Cause::UnknownAddress, detail));
    }
    let seen = data.live.changes();
    match head::denied(&inbound, facts, head) {
        None => Ok(seen),
        Some(judged) => {
            count(&data.metrics.process.denied);
            Err(denial(Cause::Policy, &judged))
        }
    }
}

/// Passes an admitted request on for as long as policy admits it. Returns what went wrong.
async fn admitted(
    data: &Rc<Data>,
    (facts, seen): (&Facts, u64),
    (head, dialect): (&Request<()>, Dialect),
    exchange: &mut Exchange,
) -> Option<Failure> {
    let ended = tokio::select! {
        ended = forward(data, facts, head, exchange) => ended,
        judged = no_longer(data, facts, (head, seen)) => {
            count(&data.metrics.process.denied);
            Err(denial(Cause::PolicyChanged, &judged))
        }
    };
    match ended {
        Ok(ending) => conclude(exchange, ending, dialect, Hop::CalleeProxy),
        Err(failure) => {
            fail(exchange, dialect, &failure);
            Some(failure)
        }
    }
}

/// Waits until policy no longer admits the request.
async fn no_longer(data: &Data, facts: &Facts, (head, seen): (&Request<()>, u64)) -> Judged {
    let seen = Cell::new(seen);
    loop {
        seen.set(data.live.changed_since(seen.get()).await);
        if let Some(inbound) = data.records.inbound_now()
            && let Some(judged) = head::denied(&inbound, facts, head)
        {
            return judged;
        }
    }
}

/// Asks the program, again if it provably did nothing.
async fn forward(
    data: &Rc<Data>,
    facts: &Facts,
    head: &Request<()>,
    exchange: &mut Exchange,
) -> Result<Ending, Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let lease = tokio::select! {
            lease = lease(data, facts) => lease?,
            reason = exchange.given_up() => return Ok(Ending::CallerReset(reason)),
        };
        let ending = exchange.attempt(head, &lease, || ()).await;
        let is_again = matches!(ending, Ending::Unprocessed(_)) && tries < H2_TRIES && exchange.rewind();
        if !is_again {
            return Ok(ending);
        }
    }
}

async fn lease(data: &Rc<Data>, facts: &Facts) -> Result<Lease, Failure> {
    let key = (facts.source_ip, facts.destination.port());
    data.programs.lease(&key, async || dial(data, facts.source_ip, facts.destination).await).await
}

async fn dial(data: &Data, caller: IpAddr, destination: SocketAddr) -> Result<Rc<Shared>, Failure> {
    let port = destination.port();
    let at = |cause, error: std::io::Error| Failure::inbound(cause, format!("{} at port {port}: {error}", data.workload));
    let connecting = data.sockets.connect(&data.addresses, port, caller);
    let program = connecting.await.map_err(|error| at(Cause::Connect, error))?;
    data.sweep.notify_one();
    Shared::new(Stream::Plain(program), &[]).await.map_err(|error| {
        let cause = match error.kind() {
            std::io::ErrorKind::InvalidData => Cause::Protocol,
            _ => Cause::Connect,
        };
        at(cause, error)
    })
}

fn denial(cause: Cause, judged: &Judged) -> Failure {
    Failure::inbound(cause, judged.reason.clone().unwrap_or_default())
}
