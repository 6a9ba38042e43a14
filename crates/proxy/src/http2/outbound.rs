//! The program's HTTP/2 connections: each stream goes to an endpoint chosen for it alone, on a
//! connection that it shares with all other streams to that place.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use http::Request;
use tokio::time::Instant;
use weft_http::bridge::validate_h2_request;
use weft_mesh::SpiffeId;
use weft_mesh::record::{ServicePort, Tunnel};
use weft_wire::head::{Head, Kind};

use super::answer::{Dialect, conclude, fail};
use super::connection::{Accepted, Caller, Lease, Opened, Shared};
use super::exchange::{Ending, Exchange};
use super::head;
use crate::data::Data;
use crate::limits::{H2_TRIES, TUNNEL_CONNECT};
use crate::outbound::{FAILED_COST, is_endpoints_own};
use crate::service::{Service, Target};
use crate::stream::Stream;
use crate::tunnel;
use crate::why::{Cause, Failure, Hop};

/// Where streams of one connection are to go.
pub(crate) struct Called {
    /// The service that was called.
    pub service: Rc<Service>,
    /// Its port.
    pub port: ServicePort,
    /// The address that was called.
    pub destination: SocketAddr,
    /// The program's own address.
    pub caller: SocketAddr,
}

/// One place that streams share connections to. Connections made as an older identity are not
/// used for new streams.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    tunnel: Tunnel,
    to: SocketAddr,
    caller: IpAddr,
    identity: SpiffeId,
    generation: u64,
}

/// Serves the program's connection, of which `prefix` was read already, until it ends.
pub(crate) async fn serve(data: &Rc<Data>, stream: Stream, prefix: Bytes, called: Called) {
    let mut accepted = match Accepted::new(stream, prefix, Caller::Program).await {
        Ok(accepted) => accepted,
        Err(error) => return tracing::debug!(caller = %called.caller, %error, "no HTTP/2 after its preface"),
    };
    let called = Rc::new(called);
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
                let (data, called) = (data.clone(), called.clone());
                tokio::task::spawn_local(async move { call(&data, &called, opened).await });
            }
            Some(Err(error)) => return tracing::debug!(caller = %called.caller, %error, "a connection broke"),
            None => return,
        }
    }
}

/// One stream.
async fn call(data: &Rc<Data>, called: &Called, opened: Opened) {
    let (mut head, mut exchange) = Exchange::new(opened);
    let dialect = Dialect::of(head.headers());
    let failure = match validate_h2_request(&head) {
        Ok(()) => {
            head::complete(&mut head);
            forward(data, called, (&head, dialect), &mut exchange).await
        }
        Err(error) => {
            let failure = Failure::outbound(Cause::Malformed, error.to_string());
            fail(&mut exchange, dialect, &failure);
            Some(failure)
        }
    };
    if let Some(failure) = failure {
        tracing::debug!(caller = %called.caller, destination = %called.destination, %failure, "a call failed");
    }
}

/// Tries endpoints until one has processed the request. Returns what went wrong at the last.
async fn forward(
    data: &Rc<Data>,
    called: &Called,
    (head, dialect): (&Request<()>, Dialect),
    exchange: &mut Exchange,
) -> Option<Failure> {
    let mut tried = Vec::new();
    let mut ending = Err(no_endpoint(called));
    while tried.len() < H2_TRIES {
        let Some(target) = choose(called, &tried) else { break };
        ending = attempt(data, called, &target, (head, &mut *exchange)).await;
        let is_elsewhere = match &ending {
            Ok(Ending::Unprocessed(_)) => exchange.rewind(),
            Ok(_) => false,
            Err(failure) => is_endpoints_own(failure.cause),
        };
        if !is_elsewhere {
            break;
        }
        target.observe(FAILED_COST, Instant::now());
        tried.push(target);
    }
    match ending {
        Ok(ending) => conclude(exchange, ending, dialect, Hop::CallerProxy),
        Err(failure) => {
            fail(exchange, dialect, &failure);
            Some(failure)
        }
    }
}

/// An endpoint that wasn't tried; if there is none, one that was.
fn choose(called: &Called, tried: &[Rc<Target>]) -> Option<Rc<Target>> {
    let (ip, now) = (called.destination.ip(), Instant::now());
    called.service.choose(ip, tried, now).or_else(|| called.service.choose(ip, &[], now))
}

/// One attempt at one endpoint.
async fn attempt(
    data: &Rc<Data>,
    called: &Called,
    target: &Rc<Target>,
    (head, exchange): (&Request<()>, &mut Exchange),
) -> Result<Ending, Failure> {
    let (_underway, began) = (target.begin(), Instant::now());
    let lease = tokio::select! {
        lease = lease(data, called, target) => lease?,
        reason = exchange.given_up() => return Ok(Ending::CallerReset(reason)),
    };
    let answered = || {
        let now = Instant::now();
        target.observe(now - began, now);
    };
    Ok(exchange.attempt(head, &lease, answered).await)
}

async fn lease(data: &Rc<Data>, called: &Called, target: &Target) -> Result<Lease, Failure> {
    let endpoint = &target.endpoint;
    let route = Route {
        tunnel: endpoint.tunnel,
        to: SocketAddr::new(endpoint.address, called.port.target),
        caller: called.caller.ip(),
        identity: endpoint.identity.clone(),
        generation: data.records.identity().await?.generation,
    };
    data.calls.lease(&route, async || dial(data, called, target, route.to).await).await
}

async fn dial(data: &Rc<Data>, called: &Called, target: &Target, to: SocketAddr) -> Result<Rc<Shared>, Failure> {
    let mut first = Vec::new();
    let (stream, at) = match target.endpoint.tunnel {
        Tunnel::Mesh(at) => {
            Head { kind: Kind::Http2, destination: to, source: called.caller, trace: None }.encode(&mut first);
            (Stream::Tls(tunnel::connect(data, &target.endpoint, at).await?), at)
        }
        Tunnel::Plain => (Stream::Plain(tunnel::dial::tcp(to, TUNNEL_CONNECT).await?), to),
        Tunnel::Hbone(at) => {
            let detail = format!("{at} speaks HBONE only, which this proxy doesn't speak");
            return Err(Failure::outbound(Cause::Protocol, detail));
        }
    };
    data.sweep.notify_one();
    Shared::new(stream, &first).await.map_err(|error| tunnel::dial::broken(at, &error))
}

fn no_endpoint(called: &Called) -> Failure {
    let host = &called.service.record().host;
    Failure::outbound(Cause::NoEndpoint, format!("{host} has no endpoint at {}", called.destination.ip()))
}
