//! A question about a call, and its answer by the decision that proxies make.
//!
//! Knows nothing of where the question or the record comes from. What a proxy does to a request
//! before it is judged (normalization of its path) is done here too.

use std::net::{IpAddr, Ipv4Addr};

use weft_mesh::decide::{Decision, Match, Reason, decide, hangs_on_sni, rehearse, reported};
use weft_mesh::explain::{RulePlace, explain};
use weft_mesh::path::{Normalization, normalize, without_query};
use weft_mesh::record::{Action, AppProtocol, Enforcement, Inbound, Origin, Rule};
use weft_mesh::{Call, Headers, HttpCall, Sni, SpiffeId};

use crate::args::Protocol;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Who calls; `None` for a plaintext caller.
    pub(super) caller: Option<SpiffeId>,
    /// The caller's address.
    pub(super) source_ip: IpAddr,
    /// The workload's port.
    pub(super) port: u16,
    /// The server name of the caller's own TLS, where it names one.
    pub(super) sni: Option<String>,
    /// What is spoken; `None` leaves it to the request and to how the port is declared.
    pub(super) protocol: Option<Protocol>,
    /// What is requested, as far as it was told.
    pub(super) request: Option<Request>,
}

/// The parts of an HTTP request that were told. Others are as most clients send them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Request {
    /// The method.
    pub(super) method: Option<String>,
    /// The path with its query, as the client sends it.
    pub(super) target: Option<String>,
    /// The authority.
    pub(super) host: Option<String>,
    /// Header fields.
    pub(super) headers: Vec<(String, String)>,
}

/// What a proxy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whether the call may enter.
    pub(super) verdict: Decision,
    /// The rule that decided.
    pub(super) rule: Option<RulePlace>,
    /// Why, in one sentence.
    pub(super) reason: String,
    /// What else is worth knowing: how the question was understood, AUDIT and dry-run policies.
    pub(super) notes: Vec<String>,
}

impl Answer {
    /// The reason and the notes in one text.
    pub(super) fn whole_reason(&self) -> String {
        std::iter::once(&self.reason).chain(&self.notes).map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

/// Answers a question about the workload of `inbound`.
pub(super) fn answer(inbound: &Inbound, question: &Question) -> Answer {
    let (protocol, note) = spoken(inbound, question);
    let connection = connection(inbound, question);
    let mut answer = match protocol {
        Protocol::Tcp => {
            let mut answer = judged(inbound, &connection);
            let unasked = question.sni.is_none() && hangs_on_sni(inbound, &connection);
            answer.notes.extend(unasked.then(|| NAMELESS.to_owned()));
            answer
        }
        protocol => requested(inbound, question, protocol, connection),
    };
    answer.notes.extend(note);
    answer
}

/// Answers a question about an HTTP request on `connection`.
fn requested(inbound: &Inbound, question: &Question, protocol: Protocol, connection: Call<'_>) -> Answer {
    let default = Request::default();
    let request = question.request.as_ref().unwrap_or(&default);
    let told = request.target.as_deref().unwrap_or("/");
    let target = match normalize(told, Normalization::default()) {
        Ok(target) => target,
        // A connection that is refused carries no request.
        Err(_) if matches!(decide(inbound, &connection).reason, Reason::PeerAuthentication(_)) => {
            return judged(inbound, &connection);
        }
        Err(error) => {
            let reason = format!("denied: the request gets 400 before any policy is asked: {error}");
            return Answer { verdict: Decision::Deny, rule: None, reason, notes: Vec::new() };
        }
    };
    let grpc = protocol == Protocol::Grpc;
    let mut fields = request.headers.clone();
    if grpc && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        fields.push(("content-type".to_owned(), "application/grpc".to_owned()));
    }
    let usual_host = usual_host(inbound, question.port);
    let http = HttpCall {
        method: request.method.as_deref().unwrap_or(if grpc { "POST" } else { "GET" }),
        authority: request.host.as_deref().unwrap_or(&usual_host),
        path: without_query(&target),
        headers: &Fields { target: &target, fields: &fields },
    };
    let mut answer = judged(inbound, &Call { http: Some(http), ..connection });
    if target != told {
        answer.notes.insert(0, format!("the path is judged and forwarded as {target}"));
    }
    answer
}

/// What is spoken to the workload, and how that was understood where it isn't what was asked.
fn spoken(inbound: &Inbound, question: &Question) -> (Protocol, Option<String>) {
    let port = question.port;
    let declared = inbound.protocol(port);
    match (declared, question.protocol, &question.request) {
        (AppProtocol::Tcp, None | Some(Protocol::Tcp), None) => (Protocol::Tcp, None),
        (AppProtocol::Tcp, ..) => {
            (Protocol::Tcp, Some(format!("port {port} is declared tcp, so that HTTP fields can't be seen")))
        }
        (_, Some(protocol), _) => (protocol, None),
        (AppProtocol::Grpc, None, Some(_)) => (Protocol::Grpc, None),
        (_, None, Some(_)) => (Protocol::Http, None),
        (AppProtocol::Grpc, None, None) => {
            (Protocol::Grpc, Some(format!("port {port} is declared grpc; asked as POST /")))
        }
        (AppProtocol::Http | AppProtocol::Http2, None, None) => {
            (Protocol::Http, Some(format!("port {port} is declared http; asked as GET /")))
        }
        (AppProtocol::Detect, None, None) => {
            let by_request = inbound.policies.iter().any(|policy| policy.rules.iter().any(Rule::uses_http));
            (Protocol::Tcp, by_request.then(|| CONNECTION_ONLY.to_owned()))
        }
    }
}

/// The call as its connection alone shows it.
fn connection<'q>(inbound: &Inbound, question: &'q Question) -> Call<'q> {
    Call {
        peer: question.caller.as_ref(),
        source_ip: question.source_ip,
        remote_ip: question.source_ip,
        destination_ip: inbound.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        destination_port: question.port,
        sni: question.sni.as_deref().map_or(Sni::Absent, Sni::Name),
        http: None,
    }
}

/// What a client sends that asks for the workload by its full name.
fn usual_host(inbound: &Inbound, port: u16) -> String {
    let name = format!("{}.{}.svc.cluster.local", inbound.service, inbound.workload.namespace());
    match port {
        _ if inbound.service.is_empty() => String::new(),
        80 => name,
        port => format!("{name}:{port}"),
    }
}

/// The verdict in words, with what is only reported.
fn judged(inbound: &Inbound, call: &Call<'_>) -> Answer {
    let verdict = decide(inbound, call);
    let explanation = explain(inbound, &verdict);
    let rehearsed = rehearse(inbound, call);
    let differs = rehearsed.decision != verdict.decision;
    let mut notes = Vec::new();
    if differs {
        notes.push(format!("with dry-run policies enforced: {}", explain(inbound, &rehearsed).reason));
    }
    // What dry-run policies would change is told already.
    let untold = |found: &Match<'_>| !(differs && found.policy.enforcement == Enforcement::DryRun);
    notes.extend(reported(inbound, call).filter(untold).map(only_reported));
    Answer { verdict: explanation.verdict, rule: explanation.rule, reason: explanation.reason, notes }
}

/// `AUDIT rule 0 matches (default/watch at watch.yaml:7)`.
fn only_reported(found: Match<'_>) -> String {
    let action = match found.policy.action {
        Action::Allow => "ALLOW",
        Action::Deny => "DENY",
        Action::Audit => "AUDIT",
    };
    let dry_run = match found.policy.enforcement {
        Enforcement::DryRun => "dry-run: ",
        Enforcement::Enforced => "",
    };
    let Origin { namespace, name, file, line } = &found.policy.origin;
    let place = match (file.as_str(), if found.rule.line > 0 { found.rule.line } else { *line }) {
        ("", _) => String::new(),
        (file, 0) => format!(" at {file}"),
        (file, line) => format!(" at {file}:{line}"),
    };
    format!("{dry_run}{action} rule {} matches ({namespace}/{name}{place})", found.rule.index)
}

/// The request's fields, and what policies may ask for as one.
struct Fields<'f> {
    target: &'f str,
    fields: &'f [(String, String)],
}

impl Headers for Fields<'_> {
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        match name {
            ":path" => visit(self.target.as_bytes()),
            name => self.fields.visit(name, visit),
        }
    }
}

/// The only port that the workloads declare; where they declare none or several, HTTP's.
pub(super) fn usual_port(inbounds: &[Inbound]) -> u16 {
    let mut declared = inbounds.iter().flat_map(|inbound| &inbound.ports).map(|port| port.port);
    match declared.next() {
        Some(first) if declared.all(|port| port == first) => first,
        _ => HTTP_PORT,
    }
}

const CONNECTION_ONLY: &str = "asked about the connection alone; --method or --path asks about a request";
const NAMELESS: &str = "asked about a connection without a server name; --sni asks about TLS that names one";
const HTTP_PORT: u16 = 80;
