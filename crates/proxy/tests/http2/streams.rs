//! HTTP/2 through a pair, as programs see it that speak it by the `h2` crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::Barrier;
use weft_proxy::limits::{H2_REPLAY_BYTES, H2_TRIES};

use crate::harness::*;
use crate::programs::*;

fn trailers(status: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_str(status).unwrap());
    trailers.insert("detail-bin", HeaderValue::from_static("AAEC/w"));
    trailers
}

#[test]
fn heads_content_and_trailers_pass_both_ways() {
    let program = Program::start(echo());
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let mut head = grpc("/shop.Cart/Add?x=1");
        head.headers_mut().insert("token-bin", HeaderValue::from_bytes(b"AP/\xff").unwrap());
        let (response, mut content) = client.clone().ready().await.unwrap().send_request(head, false).unwrap();
        content.send_data(Bytes::from_static(b"hello"), false).unwrap();
        content.send_trailers(trailers("0")).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!((answer.head.status().as_u16(), &answer.body[..]), (200, &b"hello"[..]));
        assert_eq!(answer.head.headers()["token-bin"].as_bytes(), b"AP/\xff");
        assert_eq!(answer.head.headers()["seen"], "http://api/shop.Cart/Add?x=1");
        assert_eq!(answer.trailers, Some(trailers("0")));
        // Neither content nor trailers.
        let answer = ask(&client, request("/"), "").await.unwrap();
        assert_eq!((answer.body.len(), answer.trailers), (0, None));
    });
}

#[test]
fn all_streams_share_one_connection() {
    let program = Program::start(echo());
    let (web, api) = http2_pair(program.port);
    run(async {
        for _ in 0..3 {
            let client = client(web.outbound).await;
            let asking = (0..50).map(|n| ask_text(&client, n.to_string()));
            for (n, answer) in join_all(asking).await.into_iter().enumerate() {
                assert_eq!(answer, n.to_string());
            }
        }
    });
    assert_eq!((program.connections(), program.streams()), (1, 150));
    assert!(api.page("/metrics").contains("weft_server_handshakes_total 1\n"));
}

async fn ask_text(client: &h2::client::SendRequest<Bytes>, text: String) -> String {
    let answer = ask(client, request("/"), &text).await.unwrap();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn both_sides_stream_at_once() {
    let program = Program::start(echo());
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (response, mut content) = open(&client, "/chat").await;
        let mut back = None;
        let mut response = Some(response);
        for n in 0..20 {
            content.send_data(Bytes::from(n.to_string()), false).unwrap();
            if let Some(response) = response.take() {
                back = Some(response.await.unwrap().into_body());
            }
            let back = back.as_mut().unwrap();
            let piece = back.data().await.unwrap().unwrap();
            assert_eq!(piece, n.to_string());
        }
        content.send_data(Bytes::new(), true).unwrap();
        assert!(read_content(&mut back.unwrap()).await.unwrap().is_empty());
    });
}

#[test]
fn big_messages_pass_whole() {
    let program = Program::start(echo());
    let (web, _api) = http2_pair(program.port);
    let message: Bytes = (0..4u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    run(async {
        let client = client(web.outbound).await;
        let asking = (0..3).map(|_| async {
            let (response, mut content) = open(&client, "/").await;
            let sending = send_last(&mut content, message.clone());
            let receiving = async { read(response.await.unwrap()).await.unwrap() };
            let (sent, answer) = tokio::join!(sending, receiving);
            sent.unwrap();
            assert!(answer.body == message);
        });
        join_all(asking).await;
    });
}

#[test]
fn a_thousand_streams_are_open_at_once() {
    const STREAMS: usize = 1_000;
    let all = Arc::new(Barrier::new(STREAMS));
    let program = Program::start(move |(_, mut respond)| {
        let all = all.clone();
        Box::pin(async move {
            // Nobody is answered before all have come.
            all.wait().await;
            respond.send_response(Response::new(()), true).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let answers = join_all((0..STREAMS).map(|_| ask(&client, request("/"), ""))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().head.status() == 200));
    });
    assert_eq!(program.connections(), 4);
}

#[test]
fn a_stream_limit_of_one_is_kept() {
    let open = Arc::new(AtomicUsize::new(0));
    let manners = Manners { streams: Some(1), ..Default::default() };
    let program = Program::at(program().0, manners, move |(_, mut respond)| {
        let open = open.clone();
        Box::pin(async move {
            assert_eq!(open.fetch_add(1, Ordering::SeqCst), 0);
            tokio::task::yield_now().await;
            open.fetch_sub(1, Ordering::SeqCst);
            respond.send_response(Response::new(()), true).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        for _ in 0..20 {
            assert_eq!(ask(&client, request("/"), "x").await.unwrap().head.status(), 200);
        }
    });
}

#[test]
fn interim_responses_pass() {
    let program = Program::start(|(_, mut respond)| {
        Box::pin(async move {
            let early = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
            respond.send_informational(early).unwrap();
            respond.send_response(Response::new(()), true).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (mut response, _) = open(&client, "/").await;
        let early = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!((early.status().as_u16(), &early.headers()["link"]), (103, &HeaderValue::from_static("</a.css>")));
        assert_eq!(response.await.unwrap().status(), 200);
    });
}

#[test]
fn what_two_readers_could_understand_differently_is_refused() {
    let program = Program::start(echo());
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let mut head = request("/");
        head.headers_mut().insert("host", HeaderValue::from_static("other"));
        let answer = ask(&client, head, "").await.unwrap();
        assert_eq!(answer.head.status(), 400);
        assert!(answer.head.headers()["weft-error"].to_str().unwrap().contains("bad-request"));
    });
    assert_eq!(program.streams(), 0);
}

#[test]
fn resets_of_the_caller_reach_the_callee() {
    for (before_head, reason) in [(true, Reason::CANCEL), (false, Reason::INTERNAL_ERROR)] {
        let (seen, mut told) = tokio::sync::mpsc::unbounded_channel();
        let program = Program::start(move |(mut request, mut respond)| {
            let seen = seen.clone();
            Box::pin(async move {
                seen.send(None).unwrap();
                let _back = (!before_head).then(|| respond.send_response(Response::new(()), false).unwrap());
                let error = loop {
                    match request.body_mut().data().await {
                        Some(Err(error)) => break error,
                        more => assert!(more.is_some(), "a clean end"),
                    }
                };
                seen.send(error.reason()).unwrap();
            })
        });
        let (web, _api) = http2_pair(program.port);
        run(async {
            let client = client(web.outbound).await;
            let (response, mut content) = open(&client, "/").await;
            assert_eq!(told.recv().await, Some(None));
            let response = if before_head { Err(response) } else { Ok(response.await.unwrap()) };
            content.send_reset(reason);
            assert_eq!(told.recv().await, Some(Some(reason)), "before the head: {before_head}");
            drop(response);
            assert_eq!(program.streams(), 1);
        });
    }
}

#[test]
fn resets_of_the_callee_reach_the_caller_and_nothing_is_tried_again() {
    let program = Program::start(|(request, mut respond)| {
        Box::pin(async move {
            match request.uri().path() {
                "/before" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
                _ => {
                    let mut back = respond.send_response(Response::new(()), false).unwrap();
                    send_all(&mut back, Bytes::from_static(b"half")).await.unwrap();
                    let mut content = request.into_body();
                    assert_eq!(read_content(&mut content).await.unwrap(), "go on");
                    back.send_reset(Reason::INTERNAL_ERROR);
                }
            }
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let error = ask(&client, request("/before"), "x").await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        let (response, mut content) = open(&client, "/after").await;
        let mut back = response.await.unwrap().into_body();
        assert_eq!(back.data().await.unwrap().unwrap(), "half");
        content.send_data(Bytes::from_static(b"go on"), true).unwrap();
        let error = back.data().await.unwrap().unwrap_err();
        assert_eq!((error.reason(), error.is_reset()), (Some(Reason::INTERNAL_ERROR), true));
    });
    assert_eq!(program.streams(), 2);
}

#[test]
fn an_answer_before_the_request_ends_is_whole() {
    let program = Program::start(|(_, mut respond)| {
        Box::pin(async move {
            // The request is dropped unread, which resets it with NO_ERROR.
            let mut back = respond.send_response(Response::new(()), false).unwrap();
            back.send_data(Bytes::from_static(b"enough"), true).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (response, mut content) = open(&client, "/").await;
        assert_eq!(read(response.await.unwrap()).await.unwrap().body, "enough");
        let stopped = std::future::poll_fn(|cx| content.poll_reset(cx)).await.unwrap();
        assert_eq!(stopped, Reason::NO_ERROR);
    });
}

#[test]
fn what_was_provably_not_processed_is_sent_again() {
    let refused = Arc::new(AtomicUsize::new(0));
    let program = Program::start(move |(request, mut respond)| {
        let refused = refused.clone();
        Box::pin(async move {
            let mut content = request.into_body();
            if refused.fetch_add(1, Ordering::SeqCst) < 2 {
                // Part of the content has come; it comes again.
                let _part = content.data().await;
                return respond.send_reset(Reason::REFUSED_STREAM);
            }
            let body = read_content(&mut content).await.unwrap();
            let trailers = content.trailers().await.unwrap().unwrap();
            let mut back = respond.send_response(Response::new(()), false).unwrap();
            back.send_data(body, false).unwrap();
            back.send_trailers(trailers).unwrap();
        })
    });
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (response, mut content) = open(&client, "/").await;
        content.send_data(Bytes::from_static(b"once "), false).unwrap();
        content.send_data(Bytes::from_static(b"and for all"), false).unwrap();
        content.send_trailers(trailers("0")).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!((&answer.body[..], answer.trailers), (&b"once and for all"[..], Some(trailers("0"))));
    });
    assert_eq!(program.streams(), 3);
}

#[test]
fn what_is_never_processed_is_sent_a_few_times() {
    let program =
        Program::start(|(_request, mut respond)| Box::pin(async move { respond.send_reset(Reason::REFUSED_STREAM) }));
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        let (response, mut content) = open(&client, "/").await;
        content.send_data(Bytes::new(), true).unwrap();
        assert!(response.await.is_err());
    });
    // Each of the two proxies does so.
    assert_eq!(program.streams(), H2_TRIES * H2_TRIES);
}

#[test]
fn a_request_that_is_too_long_to_be_kept_is_sent_once() {
    for (length, streams) in [(H2_REPLAY_BYTES, 2), (H2_REPLAY_BYTES + 1, 1)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let program = Program::start(move |(request, mut respond)| {
            let asked = asked.clone();
            Box::pin(async move {
                let body = read_content(&mut request.into_body()).await.unwrap();
                if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                    return respond.send_reset(Reason::REFUSED_STREAM);
                }
                assert_eq!(body.len(), length);
                respond.send_response(Response::new(()), true).unwrap();
            })
        });
        let (web, _api) = http2_pair(program.port);
        run(async {
            let client = client(web.outbound).await;
            let (response, mut content) = open(&client, "/").await;
            // It may be reset meanwhile.
            let _sent = send_last(&mut content, vec![7; length].into()).await;
            assert_eq!(response.await.is_ok(), streams == 2, "{length}");
        });
        assert_eq!(program.streams(), streams, "{length}");
    }
}

#[test]
fn a_callee_that_goes_away_is_not_noticed() {
    let manners = Manners { go_away_after: Some(7), ..Default::default() };
    let program = Program::at(program().0, manners, echo());
    let (web, _api) = http2_pair(program.port);
    run(async {
        let client = client(web.outbound).await;
        for round in 0..20 {
            let asking = (0..16).map(|n| ask_text(&client, format!("{round}.{n}")));
            for (n, answer) in join_all(asking).await.into_iter().enumerate() {
                assert_eq!(answer, format!("{round}.{n}"));
            }
        }
    });
    assert!(program.connections() > 10, "{} connections", program.connections());
}
