//! The program's HTTP/2 connections: each stream goes to an endpoint chosen for it alone, on a
//! connection that it shares with all other streams to that place.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use http::Request;
use tokio::time::Instant;
use weft_http::bridge::validate_h2_request;
use weft_mesh::record::Tunnel;
use weft_wire::head::Kind;

use super::answer::{Audience, Dialect, conclude, fail};
use super::connection::{Accepted, Lease, Opened, Peer, Served, Shared};
use super::exchange::{Attempt, Ending, Exchange};
use super::head;
use super::place::Route;
use crate::data::Data;
use crate::flow::Flow;
use crate::limits::{H2_FLOWS, H2_TRIES};
use crate::metrics::Party;
use crate::outbound::{Called, FAILED_COST, is_endpoints_own, labels};
use crate::request;
use crate::service::Target;
use crate::side::Side;
use crate::tunnel::{self, Used, Way};
use crate::why::{Cause, Failure, Hop};

/// What the streams of one connection have in common.
struct Connection {
    called: RefCell<Rc<Called>>,
    /// Of the records that `called` was looked up in.
    version: Cell<u64>,
    flows: RefCell<Vec<Known>>,
}

/// Labels of requests to one endpoint, or to none that was chosen yet.
type Known = (Option<Rc<Target>>, Dialect, Rc<Flow>);

/// Serves the program's connection until it ends.
pub(crate) async fn serve(data: &Rc<Data>, client: Side, called: Called) {
    let caller = called.caller;
    let mut accepted = match Accepted::new(client, Peer::Program).await {
        Ok(accepted) => accepted,
        Err(error) => return tracing::debug!(%caller, %error, "no HTTP/2 after its preface"),
    };
    let called = RefCell::new(Rc::new(called));
    let version = Cell::new(data.records.version());
    let connection = Rc::new(Connection { called, version, flows: RefCell::default() });
    let ended = accepted
        .each(&data.drain, |opened| {
            let (data, connection) = (data.clone(), connection.clone());
            async move { call(&data, &connection, opened).await }
        })
        .await;
    if let Err(error) = ended {
        tracing::debug!(%caller, %error, "a program's connection broke");
    }
}

/// One stream.
async fn call(data: &Rc<Data>, connection: &Connection, opened: Opened) -> Served {
    let (mut head, content, respond) = Exchange::split(opened);
    let dialect = Dialect::of(head.headers());
    head::identify(&mut head);
    let flow = connection.flow(data, None, dialect);
    let account = request::Request::begin(data, &flow, connection.ends(), head::line(&head));
    let mut exchange = Exchange::new(account, content, respond);
    let failure = match validate_h2_request(&head) {
        Ok(()) => {
            head::complete(&mut head);
            forward(data, connection, (&head, dialect), &mut exchange).await
        }
        Err(error) => {
            let failure = Failure::outbound(Cause::BadRequest, error.to_string());
            fail(&mut exchange, dialect, Audience::Program, &failure);
            Some(failure)
        }
    };
    let served = Served::of(failure.as_ref());
    exchange.account.end(failure);
    served
}

/// Tries endpoints until one has processed the request. Returns what went wrong at the last.
async fn forward(
    data: &Rc<Data>,
    connection: &Connection,
    (head, dialect): (&Request<()>, Dialect),
    exchange: &mut Exchange,
) -> Option<Failure> {
    let called = match connection.look_again(data).await {
        Ok(called) => called,
        Err(failure) => {
            fail(exchange, dialect, Audience::Program, &failure);
            return Some(failure);
        }
    };
    let mut tried = Vec::new();
    let mut last = None;
    while tried.len() < H2_TRIES {
        let Some(target) = choose(&called, &tried) else { break };
        exchange.account.flow = connection.flow(data, Some(&target), dialect);
        let tries_left = H2_TRIES - tried.len() - 1;
        let ending = attempt(data, &called, &target, (head, &mut *exchange, tries_left)).await;
        let is_elsewhere = match &ending {
            Ok(Ending::Unprocessed(_)) => exchange.rewind(),
            Ok(_) => false,
            Err(failure) => is_endpoints_own(failure.cause),
        };
        last = Some(ending);
        if !is_elsewhere {
            break;
        }
        target.observe(FAILED_COST, Instant::now());
        tried.push(target);
    }
    match last.unwrap_or_else(|| Err(called.no_endpoint())) {
        Ok(ending) => conclude(exchange, ending, dialect, Hop::CallerProxy),
        Err(failure) => {
            fail(exchange, dialect, Audience::Program, &failure);
            Some(failure)
        }
    }
}

/// One attempt at one endpoint.
async fn attempt(
    data: &Rc<Data>,
    called: &Called,
    target: &Rc<Target>,
    (head, exchange, tries_left): (&Request<()>, &mut Exchange, usize),
) -> Result<Ending, Failure> {
    let (_underway, began) = (target.begin(), Instant::now());
    let lease = tokio::select! {
        biased;
        lease = lease(data, called, target) => lease?,
        reason = exchange.given_up() => return Ok(Ending::CallerReset(reason)),
    };
    let answered = || {
        let now = Instant::now();
        target.observe(now - began, now);
    };
    Ok(exchange.attempt(Attempt { head, lease: &lease, tries_left }, answered).await)
}

async fn lease(data: &Rc<Data>, called: &Called, target: &Target) -> Result<Lease, Failure> {
    let endpoint = &target.endpoint;
    let route = Route {
        tunnel: endpoint.tunnel.clone(),
        to: called.to(target),
        caller: called.caller.ip(),
        generation: identity(data).await?,
    };
    data.h2_calls.lease(&route, async || dial(data, called, target).await).await
}

/// Which identity this proxy has now.
async fn identity(data: &Data) -> Result<u64, Failure> {
    match data.records.generation() {
        0 => data.records.identity().await.map(|identity| identity.generation),
        generation => Ok(generation),
    }
}

async fn dial(data: &Rc<Data>, called: &Called, target: &Target) -> Result<Rc<Shared>, Failure> {
    let (record, endpoint) = (called.service.record(), &target.endpoint);
    let asked = called.asked(&record, target, Kind::Http2);
    let (way, at) = match &endpoint.tunnel {
        Tunnel::Mesh(peer) => {
            let warm = tunnel::warm(data, peer).await?;
            (tunnel::own(data, &warm, (asked, Used::First)).await?, peer.address)
        }
        Tunnel::Hbone(peer) => (Way::Bytes(tunnel::open(data, endpoint, asked).await?), peer.address),
        Tunnel::Plain => (Way::Bytes(tunnel::open(data, endpoint, asked).await?), asked.head.destination),
    };
    let mut first = Vec::new();
    let (stream, peer) = match way {
        Way::Weft(stream, _) => {
            asked.head.encode(&mut first);
            (stream, Peer::Proxy)
        }
        Way::Bytes(stream) => (stream, Peer::Program),
    };
    data.sweep.notify_one();
    Shared::new(stream, first, peer).await.map_err(|error| tunnel::dial::broken(at, &error))
}

/// An endpoint that wasn't tried; if there is none, one that was.
fn choose(called: &Called, tried: &[Rc<Target>]) -> Option<Rc<Target>> {
    let now = Instant::now();
    called.choose(tried, now).or_else(|| called.choose(&[], now))
}

impl Connection {
    /// Where streams are to go, by the records as they are now.
    async fn look_again(&self, data: &Data) -> Result<Rc<Called>, Failure> {
        let called = self.called.borrow().clone();
        let version = data.records.version();
        if self.version.get() == version {
            return Ok(called);
        }
        let ip = called.destination.ip();
        let Some(service) = data.records.by_address(ip).await? else {
            let detail = format!("no workload or service has the address {ip} any more");
            return Err(Failure::outbound(Cause::UnknownAddress, detail));
        };
        let called = Rc::new(Called { service, ..Called::clone(&called) });
        self.version.set(version);
        *self.called.borrow_mut() = called.clone();
        Ok(called)
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let called = self.called.borrow();
        (called.caller, called.destination)
    }

    /// What requests to one endpoint have in common; `None`: to one that isn't chosen.
    fn flow(&self, data: &Data, target: Option<&Rc<Target>>, dialect: Dialect) -> Rc<Flow> {
        let mut flows = self.flows.borrow_mut();
        let is_it = |known: &Option<Rc<Target>>| known.as_ref().map(Rc::as_ptr) == target.map(Rc::as_ptr);
        if let Some((.., flow)) = flows.iter().find(|(known, speaks, _)| *speaks == dialect && is_it(known)) {
            return flow.clone();
        }
        let service = &self.called.borrow().service;
        let party = target.map_or_else(Party::unknown, |target| target.party.clone());
        let flow = data.flows.of(labels(data, service.name(), party, dialect.as_str()));
        if flows.len() >= H2_FLOWS {
            flows.clear();
        }
        flows.push((target.cloned(), dialect, flow.clone()));
        flow
    }
}
