//! The caller's side: the program's requests, each to an endpoint of its own choice.

use std::io;
use std::rc::Rc;

use tokio::time::Instant;
use weft_http::head::{AskedMethod, Persistence, RequestHead};
use weft_http::rewrite::Edits;
use weft_mesh::record::Tunnel;
use weft_wire::head::Kind;

use super::answer::{Asker, Reader, fail, linger, refuse};
use super::exchange::{Callee, Done, Exchange, Fault, Next, Progress, Reached};
use super::message::{Parsers, Taken, build};
use crate::accept::Carrying;
use crate::connection::broken;
use crate::copy::copy;
use crate::data::Data;
use crate::flow::Flow;
use crate::limits::{ENDPOINT_TRIES, LANE_REQUEST_BYTES, ROUTES_AT_HAND};
use crate::metrics::{Meter, Party};
use crate::outbound::{Called, FAILED_COST, is_endpoints_own, labels};
use crate::random::{self, RequestId};
use crate::request::{Line, REQUEST_ID, Request};
use crate::service::Target;
use crate::side::Side;
use crate::stream::Stream;
use crate::tunnel::{self, Used, Warm, Way, warm};
use crate::why::{Cause, Failure};

/// Serves one connection of the program, request after request, until one of both ends it.
pub(crate) fn serve(data: &Rc<Data>, client: Side, called: Called) -> Carrying<'_> {
    let mut session = Session::new(data, client, called);
    Box::pin(async move {
        loop {
            let after = match session.rest().await {
                Ok(0) => After::Close,
                // In a box, so that a connection at rest doesn't hold the room for a request.
                Ok(_) => Box::pin(session.next()).await,
                Err(_) => After::Reset,
            };
            match after {
                After::Request => {}
                After::Bytes | After::Last => return,
                After::Close => return Box::pin(linger(session.client)).await,
                After::Reset => return session.client.stream.reset(),
            }
        }
    })
}

/// One connection of the program.
struct Session<'d> {
    data: &'d Rc<Data>,
    client: Side,
    called: Called,
    /// Labels of requests that have found no endpoint.
    unrouted: Rc<Flow>,
    /// Of the records that `called` was looked up in.
    version: u64,
    routes: Vec<Rc<Route>>,
    /// Room for the weft head, then the request as it is passed on, as far as it was at hand.
    message: Vec<u8>,
    parsers: Parsers,
}

/// An endpoint that requests of this connection went to.
struct Route {
    target: Rc<Target>,
    /// Its proxy's warm connections; `None` where there is no proxy, or one of HBONE.
    warm: Option<Rc<Warm>>,
    flow: Rc<Flow>,
}

/// What becomes of the connection.
enum After {
    Request,
    Bytes,
    /// The client has said that this was its last request: there is no other to wait for.
    Last,
    Close,
    Reset,
}

/// How an exchange is carried.
#[derive(Debug, Clone, Copy)]
enum Carrier {
    Lane,
    Own(Used),
}

/// A connection for one exchange.
struct Upstream {
    side: Side,
    callee: Callee,
}

impl<'d> Session<'d> {
    fn new(data: &'d Rc<Data>, client: Side, called: Called) -> Self {
        let unrouted = data.flows.of(labels(data, called.service.name(), Party::unknown(), "http"));
        let (version, routes, parsers) = (data.records.version(), Vec::new(), Parsers::default());
        Self { data, client, called, unrouted, version, routes, message: Vec::new(), parsers }
    }

    /// Waits for the next request, and keeps nothing of the last one meanwhile. Returns how much of
    /// it is there: 0 at the end, and when the proxy ends.
    async fn rest(&mut self) -> io::Result<usize> {
        if !self.client.bytes().is_empty() {
            return Ok(self.client.bytes().len());
        }
        (self.message, self.parsers) = Default::default();
        tokio::select! {
            biased;
            filled = self.client.fill() => filled,
            () = self.data.drain.begun() => Ok(0),
        }
    }

    async fn next(&mut self) -> After {
        let (request, taken) = match self.take_head().await {
            Ok(Some(taken)) => taken,
            Ok(None) => return After::Close,
            Err(Refused::Head) => return After::Close,
            Err(Refused::Client) => return After::Reset,
        };
        if self.version != self.data.records.version()
            && let Err(failure) = self.look_again().await
        {
            return self.give_up(request, &taken, failure).await;
        }
        self.pass(request, taken).await
    }

    /// Reads the next head and builds the message; `None` when its end never comes.
    async fn take_head(&mut self) -> Result<Option<(Request, Taken)>, Refused> {
        loop {
            let taken = match self.parsers.request.request(self.client.bytes()) {
                Ok(Some(head)) => {
                    let named = head.fields.values(REQUEST_ID).find_map(|value| str::from_utf8(value).ok());
                    let made = named.is_none().then(random::request_id);
                    let made = made.as_ref().map(RequestId::as_str);
                    let id = named.or(made).unwrap_or_default();
                    let request = begin(self.data, &self.unrouted, &self.called, (&head, id));
                    let field = made.map(|id| (REQUEST_ID, id.as_bytes()));
                    let edits = Edits { append: field.as_slice(), ..Edits::default() };
                    self.message.clear();
                    self.message.reserve(HEAD_ROOM + self.client.bytes().len() + EDIT_ROOM);
                    self.message.resize(HEAD_ROOM, 0);
                    let built = build(&head, &edits, self.client.bytes(), &mut self.message);
                    Some((request, built))
                }
                Ok(None) => None,
                Err(error) => {
                    let ends = (self.called.caller, self.called.destination);
                    let request = Request::begin(self.data, &self.unrouted, ends, Line::default());
                    let failure = refuse(&mut self.client, error, &request).await;
                    request.end(Some(failure));
                    return Err(Refused::Head);
                }
            };
            match taken {
                Some((request, Ok(taken))) => {
                    request.add_received(self.message.len() - HEAD_ROOM);
                    self.client.consume(taken.used);
                    return Ok(Some((request, taken)));
                }
                Some((request, Err(detail))) => {
                    let failure = Failure::outbound(Cause::BadRequest, detail);
                    self.answer(&request, AskedMethod::Other, &failure).await;
                    request.end(Some(failure));
                    return Err(Refused::Head);
                }
                None => match self.client.fill().await {
                    Ok(0) => return Ok(None),
                    Ok(_) => {}
                    Err(_) => return Err(Refused::Client),
                },
            }
        }
    }

    /// Finds the service again after records have changed.
    async fn look_again(&mut self) -> Result<(), Failure> {
        let ip = self.called.destination.ip();
        let Some(service) = self.data.records.by_address(ip).await? else {
            let detail = format!("no workload or service has the address {ip} any more");
            return Err(Failure::outbound(Cause::UnknownAddress, detail));
        };
        self.version = self.data.records.version();
        self.called.service = service;
        Ok(())
    }

    /// Passes the request on, to another endpoint where one has provably not processed it.
    async fn pass(&mut self, mut request: Request, taken: Taken) -> After {
        let mut tried: Vec<Rc<Target>> = Vec::new();
        let mut last = None;
        let mut first = Used::Again;
        while tried.len() < ENDPOINT_TRIES {
            let Some(target) = self.called.choose(&tried, Instant::now()) else { break };
            let underway = target.begin();
            let failure = match self.reach(&mut request, &target, self.carrier(&taken, &target, first)).await {
                Ok((route, mut upstream)) => match self.exchange(&request, &taken, (&target, &mut upstream)).await {
                    Ok(done) => {
                        let after = self.finish(request, &taken, (&route, upstream), done).await;
                        drop(underway);
                        return after;
                    }
                    Err(Fault { failure, reached }) => {
                        upstream.side.stream.reset();
                        match (reached, upstream.callee) {
                            (Reached::Nothing, Callee::Proxy(Used::Again)) if failure.cause == Cause::IdleRace => {
                                first = Used::First;
                                last = Some(failure);
                                continue;
                            }
                            (Reached::Nothing, _) => failure,
                            (Reached::NoAnswer, _) => return self.give_up(request, &taken, failure).await,
                            (Reached::Answer, _) => {
                                request.end(Some(failure));
                                return After::Reset;
                            }
                        }
                    }
                },
                Err(failure) if is_endpoints_own(failure.cause) => failure,
                Err(failure) => return self.give_up(request, &taken, failure).await,
            };
            target.observe(FAILED_COST, Instant::now());
            last = Some(failure);
            tried.push(target);
        }
        let failure = last.unwrap_or_else(|| self.called.no_endpoint());
        self.give_up(request, &taken, failure).await
    }

    /// How an exchange is carried. Small ones share a lane; after an idle race a new connection it is.
    fn carrier(&self, taken: &Taken, target: &Target, used: Used) -> Carrier {
        let is_small = taken.body.is_over()
            && self.message.len() - HEAD_ROOM <= LANE_REQUEST_BYTES
            && taken.asked.is_plain()
            && !target.answers_long();
        if is_small && used == Used::Again { Carrier::Lane } else { Carrier::Own(used) }
    }

    /// A connection to an endpoint.
    async fn reach(
        &mut self,
        request: &mut Request,
        target: &Rc<Target>,
        carrier: Carrier,
    ) -> Result<(Rc<Route>, Upstream), Failure> {
        let route = self.route(target).await?;
        request.flow = route.flow.clone();
        let (endpoint, record) = (&target.endpoint, self.called.service.record());
        let asked = self.called.asked(&record, target, Kind::Tcp);
        let way = match (&route.warm, carrier) {
            (None, _) => Way::Bytes(tunnel::open(self.data, endpoint, asked).await?),
            (Some(warm), Carrier::Lane) => tunnel::share(self.data, warm, asked).await?,
            (Some(warm), Carrier::Own(used)) => tunnel::own(self.data, warm, (asked, used)).await?,
        };
        let (stream, callee) = match way {
            Way::Weft(stream, used) => (stream, Callee::Proxy(used)),
            Way::Bytes(stream) => (stream, Callee::Program(Used::First)),
        };
        Ok((route, Upstream { side: Side::new(stream), callee }))
    }

    async fn route(&mut self, target: &Rc<Target>) -> Result<Rc<Route>, Failure> {
        let generation = self.data.records.generation();
        let is_current = |route: &Route| route.warm.as_ref().is_none_or(|warm| warm.generation() == generation);
        if let Some(route) = self.routes.iter().find(|r| Rc::ptr_eq(&r.target, target) && is_current(r)) {
            return Ok(route.clone());
        }
        let warm = match &target.endpoint.tunnel {
            Tunnel::Mesh(peer) => Some(warm(self.data, peer).await?),
            Tunnel::Plain | Tunnel::Hbone(_) => None,
        };
        let flow = self.data.flows.of(labels(self.data, self.called.service.name(), target.party.clone(), "http"));
        let route = Rc::new(Route { target: target.clone(), warm, flow });
        self.routes.retain(|r| !Rc::ptr_eq(&r.target, target));
        if self.routes.len() == ROUTES_AT_HAND {
            self.routes.remove(0);
        }
        self.routes.push(route.clone());
        Ok(route)
    }

    async fn exchange(
        &mut self,
        request: &Request,
        taken: &Taken,
        (target, upstream): (&Rc<Target>, &mut Upstream),
    ) -> Result<Done, Fault> {
        let start = match upstream.callee {
            Callee::Proxy(_) => self.put_head(target),
            Callee::Program(_) => HEAD_ROOM,
        };
        let sent = Instant::now();
        let mut exchange = Exchange {
            client: &mut self.client,
            server: &mut upstream.side,
            request,
            message: &self.message[start..],
            body: taken.body,
            asked: taken.asked,
            callee: upstream.callee,
            drain: Some(&self.data.drain),
            parser: &mut self.parsers.answer,
            progress: Progress::default(),
        };
        let result = exchange.run().await;
        if let Some(answered) = exchange.progress.answered {
            target.observe(answered.saturating_duration_since(sent), answered);
        }
        self.parsers.answer.reset();
        result
    }

    /// Puts the head of `weft/1` right before the request. Returns where it begins.
    fn put_head(&mut self, target: &Target) -> usize {
        let mut head = Vec::with_capacity(HEAD_ROOM);
        self.called.head(target, Kind::Http1).encode(&mut head);
        let start = HEAD_ROOM - head.len();
        self.message[start..HEAD_ROOM].copy_from_slice(&head);
        start
    }

    async fn finish(
        &mut self,
        request: Request,
        taken: &Taken,
        (route, upstream): (&Route, Upstream),
        done: Done,
    ) -> After {
        if done.server == Next::Bytes {
            return Box::pin(self.switch(request, upstream.side)).await;
        }
        let is_reusable = done.server == Next::Message && upstream.side.bytes().is_empty();
        match (&route.warm, upstream.side) {
            // Dropping it would reset the program's connection.
            (_, side @ Side { stream: Stream::Hbone(_), .. }) => drop(tokio::task::spawn_local(linger(side))),
            (Some(warm), side) if is_reusable => {
                route.target.answered(request.sent.get());
                warm.give_back(side.stream, self.data);
            }
            // An exchange that ended before its request did leaves nothing to wait for.
            _ => {}
        }
        request.end(None);
        // What follows a CONNECT that failed is no request that its sender meant as one.
        let closes = [taken.persistence, done.persistence].contains(&Persistence::Close)
            || taken.asked.method == AskedMethod::Connect
            || self.data.drain.is_draining();
        match done.client {
            Next::Message if !closes => After::Request,
            Next::Message if taken.persistence == Persistence::Close && self.client.bytes().is_empty() => After::Last,
            _ => After::Close,
        }
    }

    async fn switch(&mut self, request: Request, mut server: Side) -> After {
        let meter = Meter::detached();
        let copied = copy(&mut self.client, &mut server, &meter).await;
        count_bytes(&request, &meter);
        match copied {
            Ok(()) => {
                request.end(None);
                After::Bytes
            }
            Err(error) => {
                server.stream.reset();
                request.end(Some(broken(error)));
                After::Reset
            }
        }
    }

    /// Answers for an endpoint that didn't.
    async fn give_up(&mut self, request: Request, taken: &Taken, failure: Failure) -> After {
        Box::pin(self.answer(&request, taken.asked.method, &failure)).await;
        tracing::info!(id = request.id(), %failure, "a request failed");
        request.end(Some(failure));
        After::Close
    }

    async fn answer(&mut self, request: &Request, method: AskedMethod, failure: &Failure) {
        let asker = Asker { method, persistence: Persistence::Close, reader: Reader::Program };
        // The client may be gone already; the account tells of the failure all the same.
        let _gone = fail(&mut self.client, asker, failure, request).await;
    }
}

/// Adds the bytes of a connection that a request became.
pub(super) fn count_bytes(request: &Request, meter: &Meter) {
    let (received, sent) = meter.bytes();
    request.received.set(request.received.get() + received);
    request.sent.set(request.sent.get() + sent);
}

/// Why there is no request.
enum Refused {
    /// Its head was answered as it deserved.
    Head,
    /// The client broke.
    Client,
}

fn begin(data: &Rc<Data>, flow: &Rc<Flow>, called: &Called, (head, id): (&RequestHead<'_>, &str)) -> Request {
    let line =
        Line { method: head.method, authority: head.authority.unwrap_or_default(), target: head.target_text, id };
    Request::begin(data, flow, (called.caller, called.destination), line)
}

/// Room for a head of `weft/1`: at most 67 bytes.
const HEAD_ROOM: usize = 96;
/// Room for what is put into the head of a request: its id.
const EDIT_ROOM: usize = 64;
