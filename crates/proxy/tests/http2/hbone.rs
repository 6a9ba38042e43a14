//! HTTP/2 and gRPC to those who speak HBONE only: each stream of the program is balanced, judged and
//! counted for itself, and all to one endpoint share one connection inside one stream of HBONE.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::join_all;
use h2::Reason;
use tokio::sync::Barrier;
use weft_hbone_peer::server::Rules;
use weft_mesh::record::{
    Action, AppProtocol, Destination, Enforcement, Inbound, Matches, Operation, Origin, PathPattern, Pattern, Policy,
    PortProtocol, Rule,
};
use weft_proxy::records::Update;

use crate::harness::*;
use crate::peer::{Told, serve};
use crate::programs::*;

/// The peer serves `api`'s address and dials loopback for it.
fn rules() -> Rules {
    Rules { destinations: vec![CALLEE], dial: Some(Ipv4Addr::LOCALHOST.into()), ..Rules::default() }
}

/// The proxy of `web`, which calls `api` at `port`; the peer is `api`.
fn calling(port: u16, tunnel: fn(SocketAddr) -> Tunnel, rules: Rules) -> (Proxy, Told) {
    let mesh = Mesh::new();
    let (address, told) = serve(&mesh, "api", rules);
    mesh.registry.put(http2_service(&[(CALLEE, tunnel(address))], port));
    (mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port)), told)
}

#[test]
fn all_streams_share_one_stream_of_hbone() {
    // Whether the record says so, or only ALPN.
    for tunnel in [Tunnel::Hbone, Tunnel::Mesh] {
        let program = Program::start(echo());
        let (mut web, told) = calling(program.port, tunnel, rules());
        run(async {
            for _ in 0..3 {
                let client = client(web.outbound).await;
                let asking = (0..50).map(|n| {
                    let client = client.clone();
                    async move { ask(&client, grpc("/shop.Cart/Add"), &n.to_string()).await.unwrap().body }
                });
                for (n, body) in join_all(asking).await.into_iter().enumerate() {
                    assert_eq!(body, n.to_string());
                }
            }
        });
        assert_eq!((program.connections(), program.streams()), (1, 150));
        web.wait_metric("response_code=\"200\",grpc_response_status=\"\"} 150\n");
        assert!(web.page("/metrics").contains("weft_client_handshakes_total 1\n"));
        let line = web.log.wait(|line| line["path"] == "/shop.Cart/Add");
        assert_eq!((&line["destination_workload"], &line["status"]), (&"api".into(), &200.into()));
        web.begin_stop();
        web.join();
        let stream = told.next("stream");
        assert_eq!((&stream["status"], &stream["violations"]), (&200.into(), &serde_json::json!([])));
        assert_eq!(told.count("stream"), 0);
    }
}

#[test]
fn streams_of_one_connection_are_balanced_each_for_itself() {
    let [(one, first), (two, second)] = two_listeners();
    let port = first.local_addr().unwrap().port();
    const STREAMS: usize = 40;
    let all = Arc::new(Barrier::new(STREAMS));
    let programs = [first, second].map(|listener| {
        let all = all.clone();
        Program::at(listener, Manners::default(), move |(_, mut respond)| {
            let all = all.clone();
            Box::pin(async move {
                // Nobody is answered before all have come, so that open calls weigh on either endpoint.
                all.wait().await;
                respond.send_response(http::Response::new(()), true).unwrap();
            })
        })
    });
    let mesh = Mesh::new();
    let endpoints = [one, two].map(|ip| {
        let (address, _told) = serve(&mesh, "api", Rules { destinations: vec![ip], ..Rules::default() });
        (ip, Tunnel::Hbone(address))
    });
    mesh.registry.put(http2_service(&endpoints, port));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    run(async {
        let client = client(web.outbound).await;
        let asking = (0..STREAMS).map(|_| ask(&client, request("/"), ""));
        for answer in join_all(asking).await {
            assert_eq!(answer.unwrap().head.status().as_u16(), 200);
        }
    });
    assert_eq!(programs.iter().map(Program::streams).sum::<usize>(), STREAMS);
    for program in &programs {
        assert!(program.streams() > STREAMS / 8, "{} of {STREAMS}", program.streams());
        assert_eq!(program.connections(), 1);
    }
}

#[test]
fn bodies_larger_than_all_windows_pass() {
    let program = Program::start(echo());
    let (web, _told) = calling(program.port, Tunnel::Hbone, rules());
    let message: bytes::Bytes = (0..20u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    run(async {
        let client = client(web.outbound).await;
        let (response, mut content) = open(&client, "/").await;
        let sending = send_last(&mut content, message.clone());
        let receiving = async { read(response.await.unwrap()).await.unwrap() };
        let (sent, answer) = tokio::join!(sending, receiving);
        sent.unwrap();
        assert!(answer.body == message);
    });
}

#[test]
fn a_peer_that_refuses_is_told_in_the_caller_s_dialect() {
    let program = Program::start(echo());
    let friend = Rules { allow: vec![id("friend").to_string()], ..rules() };
    let (web, _told) = calling(program.port, Tunnel::Hbone, friend);
    run(async {
        let client = client(web.outbound).await;
        let answer = ask(&client, request("/"), "").await.unwrap();
        assert_eq!(answer.head.status().as_u16(), 403);
        let answer = ask(&client, grpc("/a.B/C"), "").await.unwrap();
        let fields = answer.trailers.unwrap_or_else(|| answer.head.headers().clone());
        assert_eq!(fields["grpc-status"], "7");
    });
    assert_eq!(program.connections(), 0);
    let line = web.log.wait(|line| line["why"] == "policy");
    assert_eq!(line["hop"], "callee's proxy");
}

#[test]
fn a_goaway_of_the_peer_s_loses_no_stream() {
    let program = Program::start(echo());
    let (web, _told) = calling(program.port, Tunnel::Hbone, Rules { go_away_after: Some(1), ..rules() });
    run(async {
        let client = client(web.outbound).await;
        for n in 0..20 {
            assert_eq!(ask(&client, request("/"), &n.to_string()).await.unwrap().body, n.to_string());
        }
    });
    assert_eq!(program.streams(), 20);
}

#[test]
fn a_stream_that_the_program_resets_is_reset_alone() {
    let program = Program::start(|(request, mut respond)| {
        Box::pin(async move {
            match request.uri().path() {
                "/no" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
                _ => drop(respond.send_response(http::Response::new(()), true)),
            }
        })
    });
    let (web, _told) = calling(program.port, Tunnel::Hbone, rules());
    run(async {
        let client = client(web.outbound).await;
        let error = ask(&client, request("/no"), "").await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        assert_eq!(ask(&client, request("/"), "").await.unwrap().head.status().as_u16(), 200);
    });
    assert_eq!(program.connections(), 1);
}

/// `api`, whose port is declared HTTP/2; only /public is admitted.
fn declared(port: u16) -> Inbound {
    let operation = Operation {
        paths: Matches { any: vec![PathPattern::Text(Pattern::Exact("/public".into()))], ..Default::default() },
        ..Default::default()
    };
    let rule = Rule { to: vec![operation], ..Default::default() };
    let origin = Origin { namespace: "default".into(), name: "public".into(), file: String::new(), line: 0 };
    let enforcement = Enforcement::Enforced;
    let policy = Policy { origin, action: Action::Allow, enforcement, rules: vec![rule], defect: None };
    let ports = vec![PortProtocol { port, name: None, protocol: AppProtocol::Http2 }];
    Inbound { ports, ..inbound("api", CALLEE, vec![policy]) }
}

#[test]
fn our_own_callee_judges_each_stream_behind_hbone() {
    let program = Program::start(echo());
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(IpAddr::from([240, 240, 0, 2]), 1));
    api.tell(Update::Inbound(Box::new(declared(program.port))));
    let endpoints = [(CALLEE, Tunnel::Hbone(api.mesh))];
    mesh.registry.put(Destination { ports: Vec::new(), ..http2_service(&endpoints, program.port) });
    // It has all the time for the preface: a server that were dialled for a slow client would speak first.
    let (web, _clock) = mesh.held("web", CALLER, SocketAddr::new(SERVICE, program.port));
    run(async {
        let client = client(web.outbound).await;
        for (path, status) in [("/public", 200), ("/private", 403), ("/public", 200)] {
            assert_eq!(ask(&client, request(path), "").await.unwrap().head.status().as_u16(), status, "{path}");
        }
    });
    assert_eq!(program.streams(), 2);
    let line = api.log.wait(|line| line["verdict"] == "deny");
    assert_eq!((&line["path"], &line["source_workload"]), (&"/private".into(), &"web".into()));
    api.wait_metric("weft_server_handshakes_total 1\n");
}
