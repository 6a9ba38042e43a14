//! The callee's side: requests of callers, each judged before the program sees a byte of it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use weft_http::head::{AskedMethod, Persistence, RequestHead};
use weft_http::rewrite::{Edits, Hop};
use weft_mesh::record::Inbound;

use super::answer::{Asker, Reader, fail, linger, refuse};
use super::asking::Asking;
use super::exchange::{Callee, Done, Exchange, Fault, Next, Progress, Reached};
use super::message::{Parsers, Taken, build};
use super::outbound::count_bytes;
use super::programs::Bond;
use super::target::Normal;
use crate::access::Judged;
use crate::connection::broken;
use crate::copy::copy;
use crate::data::Data;
use crate::flow::Flow;
use crate::inbound::labels;
use crate::live::Facts;
use crate::metrics::{Meter, Party, count};
use crate::random;
use crate::request::{FORGEABLE, IDENTITY, Line, REQUEST_ID, Request};
use crate::side::Side;
use crate::stream::Stream;
use crate::tunnel::Used;
use crate::why::{Cause, Failure, Hop as Where};

/// Who calls on one connection: a proxy of the mesh, or somebody at a published port.
pub(crate) struct Caller {
    /// Who it is, as far as mTLS proved it.
    party: Rc<Party>,
    /// The value of [`IDENTITY`] that tells the program.
    identity: Option<String>,
    flow: Option<(Rc<Inbound>, Rc<Flow>)>,
    parsers: Parsers,
    message: Vec<u8>,
    /// The head that was judged, to be judged again.
    judged: Vec<u8>,
    /// What the program may remember of the connection on which it gets the request.
    bond: Bond,
}

/// What becomes of a caller's connection.
pub(crate) enum After {
    /// It can carry another message.
    Message,
    /// It ends in order.
    Close,
    /// It ends abruptly: the answer wasn't whole.
    Reset,
}

/// Serves a caller's own connection, request after request: at a published port, or in a stream
/// of HBONE.
pub(crate) async fn serve_connection(
    data: &Rc<Data>,
    mut client: Side,
    ends: (SocketAddr, SocketAddr),
    party: Rc<Party>,
) {
    let own = data.own_party().principal.map(|own| own.to_string()).unwrap_or_default();
    let mut caller = Caller::new(party, &own);
    loop {
        if client.bytes().is_empty() {
            let filled = tokio::select! {
                biased;
                filled = client.fill() => filled,
                () = data.drain.begun() => Ok(0),
            };
            match filled {
                Ok(0) => return linger(client).await,
                Ok(_) => {}
                Err(_) => return,
            }
        }
        match caller.serve(data, &mut client, ends).await {
            After::Message => {}
            After::Close => return linger(client).await,
            After::Reset => return client.stream.reset(),
        }
    }
}

impl Caller {
    /// A caller of whom nothing was read yet. `own` is the workload's identity.
    pub(crate) fn new(party: Rc<Party>, own: &str) -> Self {
        let identity = party.principal.as_ref().map(|peer| format!("By={own};URI={peer}"));
        let (parsers, message, judged) = (Parsers::default(), Vec::new(), Vec::new());
        Self { party, identity, flow: None, parsers, message, judged, bond: Bond::None }
    }

    /// Serves one request, whose head follows in `client`. `ends` are the calling program's address
    /// and the workload's.
    ///
    /// In a box, so that a connection at rest doesn't hold the room for a request.
    pub(crate) async fn serve(&mut self, data: &Rc<Data>, client: &mut Side, ends: (SocketAddr, SocketAddr)) -> After {
        Box::pin(self.next(data, client, ends)).await
    }

    async fn next(&mut self, data: &Rc<Data>, client: &mut Side, ends: (SocketAddr, SocketAddr)) -> After {
        let inbound = match data.records.inbound().await {
            Ok(inbound) => inbound,
            Err(failure) => return self.unjudged(data, client, ends, failure).await,
        };
        let flow = self.flow(data, &inbound);
        let source_ip = ends.0.ip();
        let facts = Facts { peer: self.party.principal.clone(), source_ip, destination: ends.1 };
        let asking = Asking { data, facts, flow, inbound, ends };
        loop {
            match self.take_head(&asking, client) {
                Took::Request(request, taken) => return self.pass(&asking, client, (request, taken)).await,
                Took::Denied(request, taken) => return self.deny(&asking, client, (request, taken)).await,
                Took::Bad(request, failure) => {
                    let asker = self.asker(AskedMethod::Other, Persistence::Close);
                    return end(client, asker, failure, request).await;
                }
                Took::Refused(request, error) => {
                    let failure = refuse(client, error, &request).await;
                    request.end(Some(Failure { hop: Where::CalleeProxy, ..failure }));
                    return After::Close;
                }
                Took::More => match client.fill().await {
                    Ok(0) => return After::Close,
                    Ok(_) => {}
                    Err(_) => return After::Reset,
                },
            }
        }
    }

    fn flow(&mut self, data: &Data, inbound: &Rc<Inbound>) -> Rc<Flow> {
        match &self.flow {
            Some((record, flow)) if Rc::ptr_eq(record, inbound) => flow.clone(),
            _ => {
                let flow = data.flows.of(labels::labels(data, inbound, &self.party, "http"));
                self.flow = Some((inbound.clone(), flow.clone()));
                flow
            }
        }
    }

    /// Whether a proxy of the mesh calls, who has proved who it is.
    fn is_proxy(&self) -> bool {
        self.party.principal.is_some()
    }

    fn asker(&self, method: AskedMethod, persistence: Persistence) -> Asker {
        let reader = if self.is_proxy() { Reader::Proxy } else { Reader::Program };
        Asker { method, persistence, reader }
    }

    async fn unjudged(
        &mut self,
        data: &Rc<Data>,
        client: &mut Side,
        ends: (SocketAddr, SocketAddr),
        failure: Failure,
    ) -> After {
        let flow = data.flows.of(labels::unjudged_labels(data, &self.party));
        let request = Request::begin(data, &flow, ends, Line::default());
        end(client, self.asker(AskedMethod::Other, Persistence::Close), failure, request).await
    }

    /// Reads the next head, judges it, and builds the message.
    fn take_head(&mut self, asking: &Asking<'_>, client: &mut Side) -> Took {
        let head = match self.parsers.request.request(client.bytes()) {
            Ok(None) => return Took::More,
            Ok(Some(head)) => head,
            Err(error) => return Took::Refused(asking.begin(Line::default()), error),
        };
        let named = head.fields.values(REQUEST_ID).find_map(|value| str::from_utf8(value).ok());
        let made = named.is_none().then(random::request_id);
        let made = made.as_ref().map(random::RequestId::as_str);
        let id = named.or(made).unwrap_or_default();
        let target = match Normal::of(&head) {
            Ok(target) => target,
            Err(error) => {
                let request = asking.begin(line(&head, head.target_text, id));
                return Took::Bad(request, Failure::inbound(Cause::BadRequest, error.to_string()));
            }
        };
        let mut request = asking.begin(line(&head, target.text(), id));
        let fields = target.fields(&head);
        let verdict = request.judge(&asking.inbound, &asking.facts, target.call(&head, &fields)).verdict;
        self.bond = Bond::of(&head.fields);
        self.judged.clear();
        self.judged.extend_from_slice(head.bytes);
        let mut own: [(&str, &[u8]); 2] = Default::default();
        let mut count = 0;
        for (name, value) in [(IDENTITY, self.identity.as_deref()), (REQUEST_ID, made)] {
            if let Some(value) = value {
                own[count] = (name, value.as_bytes());
                count += 1;
            }
        }
        let edits = Edits { target: Some(target.text()), remove: FORGEABLE, append: &own[..count], hop: Hop::Keep };
        self.message.clear();
        self.message.reserve(client.bytes().len() + EDIT_ROOM);
        let taken = match build(&head, &edits, client.bytes(), &mut self.message) {
            Ok(taken) => taken,
            Err(detail) => return Took::Bad(request, Failure::inbound(Cause::BadRequest, detail)),
        };
        request.add_received(taken.used);
        client.consume(taken.used);
        if verdict == "allow" { Took::Request(request, taken) } else { Took::Denied(request, taken) }
    }

    async fn deny(&mut self, asking: &Asking<'_>, client: &mut Side, (request, taken): (Request, Taken)) -> After {
        count(&asking.data.metrics.process.denied);
        let reason = request.verdict.as_ref().and_then(|judged| judged.reason.clone()).unwrap_or_default();
        let persistence = if taken.body.is_over() { taken.persistence } else { Persistence::Close };
        let asker = self.asker(taken.asked.method, persistence);
        end(client, asker, Failure::inbound(Cause::Policy, reason), request).await
    }

    async fn pass(&mut self, asking: &Asking<'_>, client: &mut Side, (request, taken): (Request, Taken)) -> After {
        let data = asking.data;
        let (caller, port) = (asking.ends.0.ip(), asking.ends.1.port());
        let persistence = if taken.body.is_over() { taken.persistence } else { Persistence::Close };
        let asker = self.asker(taken.asked.method, persistence);
        if !data.addresses.contains(&asking.ends.1.ip()) {
            let detail = format!("{} is no address of {}", asking.ends.1.ip(), data.workload);
            return end(client, asker, Failure::inbound(Cause::UnknownAddress, detail), request).await;
        }
        let mut waiting = data.programs.take(caller, port);
        loop {
            let (socket, used) = match waiting.take() {
                Some(socket) => (socket, Used::Again),
                None => match data.sockets.connect(&data.addresses, asking.ends.1, caller).await {
                    Ok(socket) => (socket, Used::First),
                    Err(error) => {
                        let failure =
                            Failure::inbound(Cause::Connect, format!("{} at port {port}: {error}", data.workload));
                        return end(client, asker, failure, request).await;
                    }
                },
            };
            let mut program = Side::plain(socket);
            let ran = self.exchange(asking, (client, &mut program), (&request, &taken), used).await;
            match ran {
                Ok(done) => return self.finish(asking, (client, program), (request, taken), done).await,
                Err(Fault { reached: Reached::Nothing, .. }) if used == Used::Again => {}
                Err(Fault { failure, reached }) => {
                    program.stream.reset();
                    return self.fail(client, (request, taken), Fault { failure, reached }).await;
                }
            }
        }
    }

    /// Runs an exchange for as long as policy admits its request.
    async fn exchange(
        &mut self,
        asking: &Asking<'_>,
        (client, program): (&mut Side, &mut Side),
        (request, taken): (&Request, &Taken),
        used: Used,
    ) -> Result<Done, Fault> {
        let mut exchange = Exchange {
            client,
            server: program,
            request,
            message: &self.message,
            body: taken.body,
            asked: taken.asked,
            callee: Callee::Program(used),
            drain: (!self.is_proxy()).then_some(&*asking.data.drain),
            parser: &mut self.parsers.answer,
            progress: Progress::default(),
        };
        let forbidden = asking.forbidden(&self.judged);
        let result = tokio::select! {
            biased;
            failure = forbidden => Err(failure),
            result = exchange.run() => Ok(result),
        };
        let result = result.unwrap_or_else(|failure| {
            let answered = exchange.progress.answered.is_some();
            let reached = if answered { Reached::Answer } else { Reached::NoAnswer };
            Err(Fault { failure, reached })
        });
        self.parsers.answer.reset();
        result
    }

    async fn finish(
        &mut self,
        asking: &Asking<'_>,
        (client, program): (&mut Side, Side),
        (request, taken): (Request, Taken),
        done: Done,
    ) -> After {
        if done.server == Next::Bytes {
            return Box::pin(self.switch(asking, (client, program), request)).await;
        }
        let closes = taken.persistence == Persistence::Close || done.persistence == Persistence::Close;
        if done.server == Next::Message
            && !closes
            && self.bond == Bond::None
            && program.bytes().is_empty()
            && let Stream::Plain(plain) = program.stream
        {
            asking.data.programs.give_back(asking.ends.0.ip(), asking.ends.1.port(), plain.into_socket());
            asking.data.sweep.notify_one();
        }
        request.end(None);
        self.message = Vec::new();
        self.judged = Vec::new();
        match done.client {
            Next::Message if self.is_proxy() || !closes => After::Message,
            _ => After::Close,
        }
    }

    /// Bytes both ways after a switch of protocols, for as long as policy admits the request.
    async fn switch(
        &mut self,
        asking: &Asking<'_>,
        (client, mut program): (&mut Side, Side),
        request: Request,
    ) -> After {
        let meter = Meter::detached();
        let mut request = request;
        let failure = tokio::select! {
            biased;
            failure = asking.forbidden(&self.judged) => Some(failure),
            copied = copy(client, &mut program, &meter) => copied.err().map(broken),
        };
        count_bytes(&request, &meter);
        let Some(failure) = failure else {
            request.end(None);
            return After::Close;
        };
        program.stream.reset();
        note_change(&mut request, &failure);
        request.end(Some(failure));
        After::Reset
    }

    async fn fail(&mut self, client: &mut Side, (mut request, taken): (Request, Taken), fault: Fault) -> After {
        let Fault { failure, reached } = fault;
        note_change(&mut request, &failure);
        if reached == Reached::Answer {
            request.end(Some(failure));
            return After::Reset;
        }
        // How much of the request the program took is unknown; what is left of it isn't read.
        let asker = self.asker(taken.asked.method, Persistence::Close);
        end(client, asker, failure, request).await
    }
}

/// Room for what is put into the head of a request: its id, and who calls.
const EDIT_ROOM: usize = 256;

/// What reading a head came to.
enum Took {
    Request(Request, Taken),
    Denied(Request, Taken),
    Bad(Request, Failure),
    Refused(Request, weft_http::head::HeadError),
    More,
}

/// Answers for the program, and ends the account.
async fn end(client: &mut Side, asker: Asker, failure: Failure, request: Request) -> After {
    let answered: io::Result<()> = Box::pin(fail(client, asker, &failure, &request)).await;
    tracing::info!(id = request.id(), %failure, "a request was not served");
    request.end(Some(failure));
    match answered {
        Ok(()) if asker.persistence == Persistence::KeepAlive => After::Message,
        Ok(()) => After::Close,
        Err(_) => After::Reset,
    }
}

fn note_change(request: &mut Request, failure: &Failure) {
    if failure.cause == Cause::PolicyChanged {
        let reason = Some(failure.detail.clone());
        request.verdict = Some(Judged { verdict: "deny", rule: None, reason });
    }
}

fn line<'a>(head: &RequestHead<'a>, target: &'a str, id: &'a str) -> Line<'a> {
    Line { method: head.method, authority: head.authority.unwrap_or_default(), target, id }
}
