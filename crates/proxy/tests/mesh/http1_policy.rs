//! Policy judges each request: what is denied is told in HTTP and never reaches the program.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use weft_mesh::record::{
    Action, Condition, Enforcement, Matches, MtlsMode, Operation, Origin, PathPattern, Pattern, PeerAuthentication,
    Policy, Rule, Scoped,
};
use weft_proxy::limits::{DETECTION_GRACE, DETECTION_HELD};
use weft_proxy::records::Update;

use crate::flood::is_open;
use crate::harness::*;
use crate::http::*;

fn matches<T>(any: T) -> Matches<T> {
    Matches { any: vec![any], not: Vec::new() }
}

pub(crate) fn policy(action: Action, rule: Rule) -> Policy {
    let origin = Origin { namespace: "default".into(), name: "api-policy".into(), file: "mesh.yaml".into(), line: 3 };
    let rules = vec![Rule { index: 0, line: 9, ..rule }];
    Policy { origin, action, enforcement: Enforcement::Enforced, rules, defect: None }
}

fn to(operation: Operation) -> Rule {
    Rule { to: vec![operation], ..Default::default() }
}

pub(crate) fn path(pattern: Pattern) -> Rule {
    to(Operation { paths: matches(PathPattern::Text(pattern)), ..Default::default() })
}

fn api(policies: Vec<Policy>) -> Update {
    Update::Inbound(Box::new(inbound("api", CALLEE, policies)))
}

fn nobody_called(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    matches!(listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Asks on an open connection; the status of the answer, whose body is read.
pub(crate) fn ask(caller: &mut TcpStream, request: &str) -> u16 {
    caller.write_all(request.as_bytes()).unwrap();
    let head = head_of(caller).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |l| l.parse().unwrap());
    exactly(caller, length);
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A program that answers each request with 200 and keeps its connections.
pub(crate) fn answering(listener: TcpListener) {
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while let Ok(1) = socket.read(&mut byte) {
                    head.push(byte[0]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let _gone = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                    }
                }
            });
        }
    });
}

#[test]
fn a_denial_says_little_and_keeps_the_connection() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    callee.tell(api(vec![policy(Action::Deny, path(Pattern::Prefix("/admin".into())))]));
    let mut caller = web.connect();
    for _ in 0..2 {
        caller.write_all(b"GET /admin/x HTTP/1.1\r\nHost: a\r\nx-request-id: id-7\r\n\r\n").unwrap();
        assert_eq!(
            head_of(&mut caller),
            "HTTP/1.1 403 Forbidden\r\nweft-error: policy\r\ncontent-type: text/plain\r\ncontent-length: 19\r\n\
             x-request-id: id-7\r\n\r\n"
        );
        assert_eq!(exactly(&mut caller, 19), b"RBAC: access denied");
    }
    assert!(nobody_called(&listener));
    let line = callee.log.wait(|line| line["verdict"] == "deny");
    assert_eq!((&line["status"], &line["flag"], &line["path"]), (&403.into(), &"DENY".into(), &"/admin/x".into()));
    assert_eq!((&line["rule"]["policy"], &line["rule"]["line"]), (&"default/api-policy".into(), &9.into()));
    callee.wait_metric("weft_denied_total 2");
    callee.wait_metric("response_flags=\"DENY\",connection_security_policy=\"mutual_tls\",response_code=\"403\"");
    let line = web.log.wait(|line| line["status"] == 403);
    assert!(!line.to_string().contains("api-policy"), "{line}");
}

#[test]
fn methods_headers_hosts_and_paths_are_judged_one_by_one() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    answering(listener);
    let header = Condition::Header("x-key".into(), matches(Pattern::Exact("secret".into())));
    callee.tell(api(vec![
        policy(Action::Allow, to(Operation { methods: matches(Pattern::Exact("GET".into())), ..Default::default() })),
        policy(Action::Allow, Rule { when: vec![header], ..Default::default() }),
        policy(
            Action::Deny,
            to(Operation { hosts: matches(Pattern::Exact("evil.example".into())), ..Default::default() }),
        ),
    ]));
    let mut caller = web.connect();
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", 403),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 403),
        ("PUT / HTTP/1.1\r\nHost: a\r\nX-Key: secret\r\n\r\n", 200),
        ("PUT / HTTP/1.1\r\nHost: a\r\nX-Key: wrong\r\n\r\n", 403),
        ("GET / HTTP/1.1\r\nHost: Evil.Example\r\n\r\n", 403),
    ] {
        assert_eq!(ask(&mut caller, request), status, "{request}");
    }
}

#[test]
fn paths_are_matched_and_forwarded_normalized() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    callee.tell(api(vec![policy(Action::Deny, path(Pattern::Prefix("/admin".into())))]));
    let mut caller = web.connect();
    for target in
        ["/admin", "/x/../admin/y", "/%61dmin", "/./admin", "/x/%2e%2e/admin", "/x\\..\\admin", "http://a/x/../admin"]
    {
        assert_eq!(ask(&mut caller, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")), 403, "{target}");
    }
    assert!(nobody_called(&listener));
    listener.set_nonblocking(false).unwrap();
    caller.write_all(b"GET /admin/../open?x=/../admin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut program = asked(&listener);
    assert!(head_of(&mut program).starts_with("GET /open?x=/../admin HTTP/1.1\r\n"));
    let mut caller = web.connect();
    assert_eq!(ask(&mut caller, "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(read_to_end(&mut caller), b"");
}

#[test]
fn a_change_of_policy_ends_what_it_forbids_and_judges_what_follows() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    let mut long = web.connect();
    long.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut program = asked(&listener);
    head_of(&mut program);
    program.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").unwrap();
    head_of(&mut long);
    let mut ws = web.connect();
    ws.write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").unwrap();
    let mut switched = asked(&listener);
    head_of(&mut switched);
    switched.write_all(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").unwrap();
    head_of(&mut ws);
    let mut next = web.connect();
    next.write_all(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut open = asked(&listener);
    head_of(&mut open);
    callee.tell(api(vec![policy(Action::Allow, path(Pattern::Exact("/open".into())))]));
    assert!(long.read_to_end(&mut Vec::new()).is_err());
    assert!(is_reset(&mut switched) && is_reset(&mut ws));
    open.write_all(b"HTTP/1.1 204 N\r\n\r\n").unwrap();
    assert_eq!(head_of(&mut next), "HTTP/1.1 204 N\r\n\r\n");
    assert_eq!(ask(&mut next, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"), 403);
    callee.log.wait(|line| line["why"] == "policy-changed" && line["path"] == "/long");
    callee.log.wait(|line| line["why"] == "policy-changed" && line["path"] == "/ws");
}

#[test]
fn callers_of_a_published_port_are_judged_without_identity() {
    let (listener, port) = program();
    let api = Mesh::new().proxy("api", CALLEE, SocketAddr::new(SERVICE, port));
    answering(listener);
    let mut caller = patient(TcpStream::connect(api.published).unwrap());
    assert_eq!(ask(&mut caller, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_eq!(ask(&mut caller, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    let strict = PeerAuthentication {
        default: Scoped { mode: MtlsMode::Strict, origin: None },
        ..PeerAuthentication::default()
    };
    let record = weft_mesh::record::Inbound { peer_authentication: strict, ..inbound("api", CALLEE, Vec::new()) };
    api.tell(Update::Inbound(Box::new(record)));
    api.wait_metric("weft_");
    assert_eq!(ask(&mut caller, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 403);
}

#[test]
fn what_is_denied_as_tcp_may_be_allowed_as_http() {
    let (listener, port) = program();
    let ((web, clock), callee) = Mesh::new().held_pair(port);
    answering(listener);
    callee.tell(api(vec![policy(Action::Allow, path(Pattern::Exact("/open".into())))]));
    // Both are silent until the callee's proxy has refused them as TCP.
    let (mut caller, silent) = (web.connect(), web.connect());
    clock.until(DETECTION_GRACE, || callee.page("/metrics").contains("weft_denied_total 2\n"));
    callee.log.wait(|line| line["verdict"] == "deny" && line["protocol"] == "tcp");
    assert_eq!(ask(&mut caller, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    clock.until(DETECTION_HELD, || !is_open(&silent));
}
