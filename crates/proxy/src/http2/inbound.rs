//! Callers' HTTP/2 connections: each stream is judged for itself, and goes to the program on a
//! connection that has the caller's address. A stream that policy no longer admits is reset.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use http::{HeaderValue, Request};
use tokio::sync::futures::Notified;
use weft_http::bridge::validate_h2_request;
use weft_mesh::SpiffeId;
use weft_mesh::record::{AppProtocol, Inbound};

use super::answer::{Audience, Dialect, conclude, fail};
use super::connection::{Accepted, Lease, Opened, Peer, Served, Shared};
use super::exchange::{Attempt, Ending, Exchange};
use super::head;
use crate::access::Judged;
use crate::data::Data;
use crate::flow::Flow;
use crate::inbound::labels::{labels, unjudged_labels};
use crate::limits::H2_TRIES;
use crate::live::Facts;
use crate::metrics::{Party, count};
use crate::request::{self, IDENTITY, judge};
use crate::side::Side;
use crate::stream::Stream;
use crate::why::{Cause, Failure, Hop};

/// What the streams of one connection have in common.
struct Connection {
    caller: Rc<Party>,
    facts: Facts,
    source: SocketAddr,
    /// What the program is told of who calls.
    identity: Option<HeaderValue>,
    flows: RefCell<Vec<(Dialect, Rc<Flow>)>>,
}

/// Serves a caller's connection until it ends. `caller` is who it is, as far as mTLS proved it; `ends` are the
/// calling program's address and the workload's.
pub(crate) async fn serve(
    data: &Rc<Data>,
    client: Side,
    caller: Rc<Party>,
    (source, destination): (SocketAddr, SocketAddr),
) {
    let facts = Facts { peer: caller.principal.clone(), source_ip: source.ip(), destination };
    let peer = if facts.peer.is_some() { Peer::Proxy } else { Peer::Program };
    let mut accepted = match Accepted::new(client, peer).await {
        Ok(accepted) => accepted,
        Err(error) => return tracing::debug!(%source, %error, "no HTTP/2 after its preface"),
    };
    let identity = identity(data, facts.peer.as_ref());
    let connection = Rc::new(Connection { caller, facts, source, identity, flows: RefCell::default() });
    let ended = accepted
        .each(&data.drain, |opened| {
            let (data, connection) = (data.clone(), connection.clone());
            async move { called(&data, &connection, opened).await }
        })
        .await;
    if let Err(error) = ended {
        tracing::debug!(%source, %error, "a caller's connection broke");
    }
}

/// One stream.
async fn called(data: &Rc<Data>, connection: &Connection, opened: Opened) -> Served {
    let (mut head, content, respond) = Exchange::split(opened);
    let inbound = data.records.inbound().await;
    let dialect = connection.dialect(inbound.as_deref().ok(), &head);
    head::identify(&mut head);
    let flow = connection.flow(data, inbound.as_deref().ok(), dialect);
    let account =
        request::Request::begin(data, &flow, (connection.source, connection.facts.destination), head::line(&head));
    let mut exchange = Exchange::new(account, content, respond);
    // From here on no change of policy is missed.
    let changed = data.live.changed();
    let admitted = match inbound {
        Ok(inbound) => connection.admit(data, &inbound, (&mut head, &mut exchange.account)),
        Err(failure) => Err(failure),
    };
    let failure = match admitted {
        Ok(()) => connection.serve(data, changed, (&head, dialect), &mut exchange).await,
        Err(failure) => {
            fail(&mut exchange, dialect, Audience::Program, &failure);
            Some(failure)
        }
    };
    if let Some(Failure { cause: Cause::Policy | Cause::PolicyChanged, .. }) = failure {
        count(&data.metrics.process.denied);
    }
    let served = Served::of(failure.as_ref());
    exchange.account.end(failure);
    served
}

impl Connection {
    fn dialect(&self, inbound: Option<&Inbound>, head: &Request<()>) -> Dialect {
        match inbound.map(|inbound| inbound.protocol(self.facts.destination.port())) {
            Some(AppProtocol::Grpc) => Dialect::Grpc,
            _ => Dialect::of(head.headers()),
        }
    }

    /// Makes the request what the program may see of it, and judges that.
    fn admit(
        &self,
        data: &Data,
        inbound: &Inbound,
        (head, account): (&mut Request<()>, &mut request::Request),
    ) -> Result<(), Failure> {
        let malformed = |error: String| Failure::inbound(Cause::BadRequest, error);
        validate_h2_request(head).map_err(|e| malformed(e.to_string()))?;
        head::complete(head);
        head::normalize_path(head).map_err(malformed)?;
        head::strip(head.headers_mut());
        if let Some(identity) = &self.identity {
            head.headers_mut().insert(IDENTITY, identity.clone());
        }
        let ip = self.facts.destination.ip();
        if !data.addresses.contains(&ip) {
            let detail = format!("{ip} is no address of {}", data.workload);
            return Err(Failure::inbound(Cause::UnknownAddress, detail));
        }
        let fields = head::fields(head);
        let judged = account.judge(inbound, &self.facts, head::call(head, &fields));
        if judged.is_denied() { Err(denial(Cause::Policy, judged)) } else { Ok(()) }
    }

    /// Has the program answer, for as long as policy admits it. Returns what went wrong.
    async fn serve(
        &self,
        data: &Rc<Data>,
        changed: Notified<'_>,
        (head, dialect): (&Request<()>, Dialect),
        exchange: &mut Exchange,
    ) -> Option<Failure> {
        let ended = tokio::select! {
            biased;
            ended = self.forward(data, head, exchange) => ended,
            judged = self.no_longer(data, changed, head) => {
                let failure = denial(Cause::PolicyChanged, &judged);
                exchange.account.verdict = Some(judged);
                Err(failure)
            }
        };
        match ended {
            Ok(ending) => conclude(exchange, ending, dialect, Hop::CalleeProxy),
            Err(failure) => {
                let audience = if self.facts.peer.is_some() { Audience::Proxy } else { Audience::Program };
                fail(exchange, dialect, audience, &failure);
                Some(failure)
            }
        }
    }

    /// Waits until policy no longer admits the request.
    async fn no_longer(&self, data: &Data, changed: Notified<'_>, head: &Request<()>) -> Judged {
        let fields = head::fields(head);
        changed.await;
        loop {
            let again = data.live.changed();
            if let Some(inbound) = data.records.inbound_now() {
                let judged = judge(&inbound, &self.facts, head::call(head, &fields));
                if judged.is_denied() {
                    return judged;
                }
            }
            again.await;
        }
    }

    /// Asks the program, again if it provably did nothing.
    async fn forward(&self, data: &Rc<Data>, head: &Request<()>, exchange: &mut Exchange) -> Result<Ending, Failure> {
        let mut tries_left = H2_TRIES;
        loop {
            tries_left -= 1;
            let lease = tokio::select! {
                biased;
                lease = self.lease(data) => lease?,
                reason = exchange.given_up() => return Ok(Ending::CallerReset(reason)),
            };
            // No program says that it did nothing but by HTTP/2's own means.
            let ending = exchange.attempt(Attempt { head, lease: &lease, tries_left: 0 }, || ()).await;
            if tries_left == 0 || !matches!(ending, Ending::Unprocessed(_)) || !exchange.rewind() {
                return Ok(ending);
            }
        }
    }

    async fn lease(&self, data: &Rc<Data>) -> Result<Lease, Failure> {
        let key = (self.facts.source_ip, self.facts.destination.port());
        data.h2_programs.lease(&key, async || self.dial(data).await).await
    }

    async fn dial(&self, data: &Data) -> Result<Rc<Shared>, Failure> {
        let port = self.facts.destination.port();
        let at = |cause, error| Failure::inbound(cause, format!("{} at port {port}: {error}", data.workload));
        let connecting = data.sockets.connect(&data.addresses, self.facts.destination, self.facts.source_ip);
        let program = connecting.await.map_err(|error| at(Cause::Connect, error))?;
        data.sweep.notify_one();
        Shared::new(Stream::Plain(program.into()), Vec::new(), Peer::Program).await.map_err(|error| {
            let cause = match error.kind() {
                std::io::ErrorKind::InvalidData => Cause::Protocol,
                _ => Cause::Connect,
            };
            at(cause, error)
        })
    }

    fn flow(&self, data: &Data, inbound: Option<&Inbound>, dialect: Dialect) -> Rc<Flow> {
        let mut flows = self.flows.borrow_mut();
        if let Some((_, flow)) = flows.iter().find(|(known, _)| *known == dialect) {
            return flow.clone();
        }
        let Some(inbound) = inbound else {
            return data.flows.of(unjudged_labels(data, &self.caller));
        };
        let flow = data.flows.of(labels(data, inbound, &self.caller, dialect.as_str()));
        flows.push((dialect, flow.clone()));
        flow
    }
}

/// Who calls, in the words of Envoy's and Istio's field.
fn identity(data: &Data, peer: Option<&SpiffeId>) -> Option<HeaderValue> {
    let own = data.own_party().principal.map(|own| own.to_string()).unwrap_or_default();
    HeaderValue::try_from(format!("By={own};URI={}", peer?)).ok()
}

fn denial(cause: Cause, judged: &Judged) -> Failure {
    Failure::inbound(cause, judged.reason.clone().unwrap_or_default())
}
