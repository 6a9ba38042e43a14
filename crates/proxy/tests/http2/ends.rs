//! What becomes of HTTP/2 streams when something is wrong: policy, programs that die or speak
//! something else, proxies that end.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{HeaderValue, Request, Response};
use weft_mesh::record::{Action, Enforcement, Matches, Operation, Origin, PathPattern, Pattern, Policy, Rule, Source};
use weft_proxy::records::Update;

use crate::harness::*;
use crate::programs::*;

fn policy(action: Action, rule: Rule) -> Update {
    let origin = Origin { namespace: "default".into(), name: "api-policy".into(), file: "mesh.yaml".into(), line: 3 };
    let policy = Policy { origin, action, enforcement: Enforcement::Enforced, rules: vec![rule], defect: None };
    Update::Inbound(Box::new(inbound("api", CALLEE, vec![policy])))
}

fn one<T>(value: T) -> Matches<T> {
    Matches { any: vec![value], not: Vec::new() }
}

/// Only `path` may be called.
fn only_path(path: &str) -> Update {
    let paths = one(PathPattern::Text(Pattern::Exact(path.to_owned())));
    policy(Action::Allow, Rule { to: vec![Operation { paths, ..Default::default() }], ..Default::default() })
}

/// Whatever `account` calls is denied.
fn not_of(account: &str) -> Update {
    let principals = one(Pattern::Exact(id(account).principal().to_owned()));
    policy(Action::Deny, Rule { from: vec![Source { principals, ..Default::default() }], ..Default::default() })
}

fn get(path: &str) -> Request<()> {
    Request::builder().uri(format!("http://api{path}")).body(()).unwrap()
}

fn text<'a>(answer: &'a Answer, field: &str) -> &'a str {
    answer.head.headers()[field].to_str().unwrap()
}

#[test]
fn each_stream_is_judged_by_what_it_asks() {
    let program = Program::start(echo());
    let (web, api) = http2_pair(program.port);
    api.tell(only_path("/shop.Cart/Get"));
    run(async {
        let client = client(web.outbound).await;
        let answer = ask(&client, grpc("/shop.Cart/Get"), "x").await.unwrap();
        assert_eq!((answer.head.status().as_u16(), &answer.body[..]), (200, &b"x"[..]));
        // What the program would see is what is judged.
        assert_eq!(
            text(&ask(&client, get("/a/../shop.Cart/%47et"), "").await.unwrap(), "seen"),
            "http://api/shop.Cart/Get"
        );

        let denied = ask(&client, grpc("/shop.Cart/Drop"), "x").await.unwrap();
        assert_eq!((denied.head.status().as_u16(), text(&denied, "grpc-status")), (200, "7"));
        assert_eq!(text(&denied, "grpc-message"), "RBAC: access denied");
        assert_eq!(text(&denied, "weft-error"), "policy");

        let mut asked = get("/shop.Cart/../admin");
        asked.headers_mut().insert("x-request-id", HeaderValue::from_static("id-1"));
        let denied = ask(&client, asked, "").await.unwrap();
        assert_eq!((denied.head.status().as_u16(), &denied.body[..]), (403, &b"RBAC: access denied"[..]));
        assert_eq!(text(&denied, "x-request-id"), "id-1");
    });
    assert_eq!(program.streams(), 2);
    let line = api.log.wait(|line| line["request_id"] == "id-1");
    assert_eq!((&line["verdict"], &line["why"]), (&"deny".into(), &"policy".into()));
    assert_eq!((&line["status"], &line["source_workload"]), (&403.into(), &"web".into()));
    api.wait_metric("weft_denied_total 2\n");
    let page = api.page("/metrics");
    let counted = "request_protocol=\"grpc\",response_flags=\"DENY\",connection_security_policy=\"mutual_tls\",\
                   response_code=\"200\",grpc_response_status=\"7\"} 1\n";
    assert!(page.contains(counted), "{page}");
}

#[test]
fn what_only_a_proxy_may_say_is_taken_out() {
    let program = Program::start(echo());
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let mut head = get("/");
        for name in ["l5d-client-id", "l5d_client_id", "weft-unprocessed", "x-forwarded-client-cert"] {
            head.headers_mut().insert(name, HeaderValue::from_static("forged"));
        }
        let answer = ask(&client, head, "").await.unwrap();
        assert!(answer.head.headers().values().all(|value| value != "forged"), "{answer:?}");
        assert_eq!(text(&answer, "x-request-id").len(), 36);
        // What the callee's proxy says itself is there.
        let of = |account| format!("spiffe://cluster.local/ns/default/sa/{account}");
        assert_eq!(text(&answer, "x-forwarded-client-cert"), format!("By={};URI={}", of("api"), of("web")));
    });
}

#[test]
fn a_change_of_policy_resets_what_it_forbids() {
    for (head, reason) in [(grpc("/"), Reason::INADEQUATE_SECURITY), (request("/"), Reason::CANCEL)] {
        let program = Program::start(echo());
        let (web, api) = http2_pair(program.port);
        let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
        thread::scope(|scope| {
            // The proxies are told from a thread that may wait.
            scope.spawn(|| {
                while let Some(update) = tell.blocking_recv() {
                    api.tell(update);
                }
            });
            run(async {
                let client = client(web.outbound).await;
                let (response, mut content) = client.clone().ready().await.unwrap().send_request(head, false).unwrap();
                let mut back = response.await.unwrap().into_body();
                told.send(not_of("checkout")).unwrap();
                content.send_data(Bytes::from_static(b"x"), false).unwrap();
                assert_eq!(back.data().await.unwrap().unwrap(), "x");
                told.send(not_of("web")).unwrap();
                assert_eq!(back.data().await.unwrap().unwrap_err().reason(), Some(reason));
                assert_eq!(ask(&client, get("/"), "").await.unwrap().head.status(), 403);
                drop(told);
            });
        });
        let line = api.log.wait(|line| line["why"] == "policy-changed");
        assert_eq!((&line["verdict"], &line["bytes_received"]), (&"deny".into(), &1.into()));
    }
}

#[test]
fn a_program_that_does_not_listen_is_told() {
    let (_held, at) = nobody();
    let (web, api) = http2_pair(at.port());
    run(async {
        let client = client(web.outbound).await;
        let answer = ask(&client, request("/"), "x").await.unwrap();
        assert_eq!(answer.head.status(), 503);
        assert!(text(&answer, "weft-error").starts_with("connect; callee's proxy; "), "{answer:?}");
        assert!(!answer.head.headers().contains_key("weft-unprocessed"), "{answer:?}");
        let answer = ask(&client, grpc("/"), "x").await.unwrap();
        assert_eq!((answer.head.status().as_u16(), text(&answer, "grpc-status")), (200, "14"));
    });
    let line = api.log.wait(|line| line["why"] == "connect" && line["grpc_status"] == 14);
    assert_eq!(line["flag"], "UF");
}

#[test]
fn an_endpoint_that_is_down_is_told() {
    let mesh = Mesh::new();
    let (_held, gone) = nobody();
    mesh.registry.put(http2_service(&[(CALLEE, Tunnel::Mesh(gone))], 80));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, 80));
    run(async {
        let client = client(web.outbound).await;
        // All at once wait for one connection, and learn the same.
        let answers = (0..50).map(|_| ask(&client, get("/"), ""));
        for answer in futures_util::future::join_all(answers).await {
            let answer = answer.unwrap();
            assert_eq!(answer.head.status(), 503);
            assert!(text(&answer, "weft-error").starts_with("connect; caller's proxy; "), "{answer:?}");
        }
    });
    let line = web.log.wait(|line| line["why"] == "connect");
    assert_eq!((&line["flag"], &line["status"]), (&"UF".into(), &503.into()));
}

#[test]
fn a_caller_whom_the_callee_does_not_trust_is_told() {
    let program = Program::start(echo());
    let (web, api) = http2_pair(program.port);
    let other = Mesh::new();
    let credential = weft_proxy::records::Update::Trust(other.trust());
    api.tell(credential);
    run(async {
        let client = client(web.outbound).await;
        let answer = ask(&client, request("/"), "x").await.unwrap();
        assert_eq!(answer.head.status(), 503);
        assert!(text(&answer, "weft-error").contains("identity"), "{answer:?}");
    });
    assert_eq!(program.connections(), 0);
}

#[test]
fn a_program_that_speaks_only_http1_is_told() {
    let (listener, port) = program();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = patient(socket.unwrap());
            let _read = socket.read(&mut [0; 24]);
            let _written = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let (web, _api) = http2_pair(port);
    run(async {
        let client = client(web.outbound).await;
        let answer = ask(&client, request("/"), "x").await.unwrap();
        assert_eq!(answer.head.status(), 502);
        assert!(text(&answer, "weft-error").starts_with("protocol; callee's proxy; "), "{answer:?}");
        let answer = ask(&client, grpc("/"), "x").await.unwrap();
        assert_eq!(text(&answer, "grpc-status"), "14");
    });
}

/// A server that answers what it is asked first, and dies with all its connections when it is told that this was heard.
fn dies(answers: &'static str) -> (u16, tokio::sync::oneshot::Sender<()>, thread::JoinHandle<()>) {
    let (listener, port) = program();
    let (heard, is_heard) = tokio::sync::oneshot::channel();
    let server = thread::spawn(move || {
        run(async {
            listener.set_nonblocking(true).unwrap();
            let socket = tokio::net::TcpListener::from_std(listener).unwrap().accept().await.unwrap().0;
            let raw = socket2::SockRef::from(&socket).try_clone().unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            if !answers.is_empty() {
                let mut back = respond.send_response(Response::new(()), false).unwrap();
                back.send_data(Bytes::from_static(answers.as_bytes()), false).unwrap();
                tokio::select! {
                    _ = connection.accept() => panic!("nobody asks for more"),
                    told = is_heard => told.unwrap(),
                }
            }
            raw.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        });
    });
    (port, heard, server)
}

#[test]
fn a_program_that_dies_never_seems_to_have_finished() {
    let (port, heard, server) = dies("half");
    let (web, _api) = http2_pair(port);
    run(async {
        let client = client(web.outbound).await;
        let mut back = client.clone().send_request(get("/"), true).unwrap().0.await.unwrap().into_body();
        assert_eq!(back.data().await.unwrap().unwrap(), "half");
        heard.send(()).unwrap();
        assert_eq!(back.data().await.unwrap().unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    });
    server.join().unwrap();

    let (port, _heard, server) = dies("");
    let (web, api) = http2_pair(port);
    run(async {
        let client = client(web.outbound).await;
        let answer = ask(&client, get("/"), "").await.unwrap();
        assert_eq!(answer.head.status(), 502);
        assert!(text(&answer, "weft-error").starts_with("reset; callee's proxy; "), "{answer:?}");
    });
    server.join().unwrap();
    api.log.wait(|line| line["why"] == "reset" && line["status"] == 502);
}

/// Answers with the index of the endpoint.
fn named(name: &'static str) -> impl Fn(Stream) -> std::pin::Pin<Box<dyn Future<Output = ()>>> + Send + 'static {
    move |(_, mut respond)| {
        Box::pin(async move {
            let mut back = respond.send_response(Response::new(()), false).unwrap();
            back.send_data(Bytes::from_static(name.as_bytes()), true).unwrap();
        })
    }
}

async fn asked(client: &SendRequest<Bytes>) -> String {
    String::from_utf8(ask(client, grpc("/"), "x").await.unwrap().body.to_vec()).unwrap()
}

/// `web`, which calls two programs that no proxy serves, and their listeners.
fn two_programs() -> (Proxy, [std::net::TcpListener; 2]) {
    let [(first, a), (second, b)] = two_listeners();
    let port = a.local_addr().unwrap().port();
    let mesh = Mesh::new();
    mesh.registry.put(http2_service(&[(first, Tunnel::Plain), (second, Tunnel::Plain)], port));
    (mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port)), [a, b])
}

#[test]
fn streams_of_one_connection_are_balanced() {
    let (web, [a, b]) = two_programs();
    let a = Program::at(a, Manners::default(), named("a"));
    let b = Program::at(b, Manners::default(), named("b"));
    run(async {
        let client = client(web.outbound).await;
        let answers = futures_util::future::join_all((0..100).map(|_| asked(&client))).await;
        let of_a = answers.iter().filter(|answer| *answer == "a").count();
        assert_eq!((of_a, 100 - of_a), (a.streams(), b.streams()));
        assert!((10..=90).contains(&of_a), "{of_a} of 100");
    });
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[test]
fn an_endpoint_that_is_down_is_passed_over() {
    let (web, [a, b]) = two_programs();
    let a = Program::at(a, Manners::default(), named("a"));
    drop(b);
    run(async {
        let client = client(web.outbound).await;
        for _ in 0..20 {
            assert_eq!(asked(&client).await, "a");
        }
    });
    assert_eq!(a.connections(), 1);
}

#[test]
fn a_proxy_that_ends_lets_streams_finish() {
    for ends in ["web", "api"] {
        let program = Program::start(echo());
        let (mut web, mut api) = http2_pair(program.port);
        run(async {
            let socket = tokio::net::TcpStream::connect(web.outbound).await.unwrap();
            let (client, connection) = h2::client::handshake(socket).await.unwrap();
            let ended = tokio::task::spawn_local(connection);
            let (response, mut content) = open(&client, "/").await;
            let mut back = response.await.unwrap().into_body();
            let ending = if ends == "web" { &web } else { &api };
            ending.begin_stop();
            // It no longer accepts.
            let at = if ends == "web" { web.outbound } else { api.mesh };
            while tokio::net::TcpStream::connect(at).await.is_ok() {
                tokio::task::yield_now().await;
            }
            content.send_data(Bytes::from_static(b"late"), true).unwrap();
            assert_eq!(read_content(&mut back).await.unwrap(), "late");
            response_of(&client, ends).await;
            drop((client, content, back));
            ended.await.unwrap().unwrap();
        });
        if ends == "web" { web.join() } else { api.join() }
    }
}

/// What a stream gets that comes when its proxy has ended, or the callee's.
async fn response_of(client: &SendRequest<Bytes>, ends: &str) {
    match (ends, client.clone().ready().await) {
        ("web", Err(error)) => assert!(error.is_go_away(), "{error}"),
        ("web", Ok(mut ready)) => {
            let answer = ready.send_request(get("/"), true).unwrap().0.await;
            assert!(answer.is_err_and(|error| error.is_go_away()));
        }
        (_, ready) => {
            let answer = ready.unwrap().send_request(get("/"), true).unwrap().0.await.unwrap();
            assert_eq!(answer.status(), 503);
        }
    }
}

#[test]
fn many_cancelled_streams_cost_nobody_else_anything() {
    let program = Program::start(echo());
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (response, mut content) = open(&client, "/").await;
        let mut back = response.await.unwrap().into_body();
        // More than one shared connection bears, at a pace that is no flood.
        for _ in 0..7 {
            let cancelled = (0..100).map(|_| async {
                let (response, mut content) = open(&client, "/").await;
                response.await.unwrap();
                content.send_reset(Reason::CANCEL);
            });
            futures_util::future::join_all(cancelled).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            assert_eq!(ask(&client, request("/"), "x").await.unwrap().body, "x");
        }
        content.send_data(Bytes::from_static(b"still here"), true).unwrap();
        assert_eq!(read_content(&mut back).await.unwrap(), "still here");
    });
}

#[test]
fn a_flood_of_cancelled_streams_ends_its_connection() {
    let program = Program::start(|(request, mut respond)| {
        Box::pin(async move {
            if request.uri().path() == "/" {
                std::future::pending::<()>().await;
            }
            respond.send_response(Response::new(()), true).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let other = client(web.outbound).await;
        let flooding = client(web.outbound).await;
        let error = loop {
            match flooding.clone().ready().await.and_then(|mut ready| ready.send_request(request("/"), false)) {
                Ok((_, mut content)) => content.send_reset(Reason::CANCEL),
                Err(error) => break error,
            }
            tokio::task::yield_now().await;
        };
        // The last word may be lost when a connection is closed upon one who still sends.
        assert!(error.is_io() || error.reason() == Some(Reason::ENHANCE_YOUR_CALM), "{error}");
        assert_eq!(ask(&other, request("/other"), "").await.unwrap().head.status(), 200);
    });
}

#[test]
fn a_new_certificate_makes_new_connections_and_disturbs_no_stream() {
    let program = Program::start(echo());
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(http2_service(&[(CALLEE, Tunnel::Mesh(api.mesh))], program.port));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, program.port));
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Some(update) = tell.blocking_recv() {
                web.tell(update);
            }
        });
        run(async {
            let client = client(web.outbound).await;
            let (response, mut content) = open(&client, "/").await;
            let mut back = response.await.unwrap().into_body();
            told.send(Update::Credential(std::sync::Arc::new(mesh.credential("web")))).unwrap();
            // Until the proxy has it, streams go as before.
            while !web.page("/metrics").contains("weft_client_handshakes_total 2") {
                assert_eq!(ask(&client, request("/"), "x").await.unwrap().body, "x");
            }
            content.send_data(Bytes::from_static(b"as before"), true).unwrap();
            assert_eq!(read_content(&mut back).await.unwrap(), "as before");
            drop(told);
        });
    });
}

#[test]
fn a_plain_caller_at_a_published_port_is_judged_without_identity() {
    let program = Program::start(echo());
    let mesh = Mesh::new();
    let at = SocketAddr::new("127.0.0.1".parse().unwrap(), program.port);
    let callee = mesh.proxy("api", CALLEE, at);
    run(async {
        let answer = ask(&client(callee.published).await, request("/"), "x").await.unwrap();
        assert_eq!((answer.head.status().as_u16(), &answer.body[..]), (200, &b"x"[..]));
    });
    let line = callee.log.wait(|line| line["status"] == 200);
    assert!(line["source_principal"].is_null(), "{line}");
}
