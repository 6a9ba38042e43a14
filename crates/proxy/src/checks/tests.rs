use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;
use crate::limits::SCRAPE_BYTES;

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A program that answers one connection, and returns what it was asked.
fn program(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind((OWN, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        socket.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (port, served)
}

fn checks(json: &str) -> Checks {
    Checks { probes: serde_json::from_str(json).unwrap(), address: Some(OWN), scrape: None }
}

#[tokio::test]
async fn an_http_probe_is_the_manifests_and_tells_the_programs_status() {
    for (answer, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 200),
        ("HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n", 200),
        ("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200),
        ("HTTP/1.1 500 No\r\n\r\n", 500),
        ("SSH-2.0-x\r\n", 503),
        ("", 503),
    ] {
        let (port, served) = program(answer);
        let checks = checks(&format!(
            r#"{{"/app-health/a/livez":{{"httpGet":{{"port":{port},"path":"/h?x=1","headers":[["X-A","b"],["Host","me"]]}}}}}}"#
        ));
        let outcome = checks.probe("/app-health/a/livez").await.unwrap();
        assert_eq!(outcome.status, status, "{answer}: {outcome:?}");
        let asked = served.join().unwrap();
        assert!(asked.starts_with("GET /h?x=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nX-A: b\r\n") && asked.contains("\r\nHost: me\r\n"), "{asked}");
        assert!(!asked.contains("host: 127"), "{asked}");
    }
}

#[tokio::test]
async fn a_probes_path_is_escaped_as_the_kubelet_does() {
    for (path, asked_for) in
        [("/a b?c=d e", "/a%20b?c=d%20e"), ("h\u{e4}llo", "/h%C3%A4llo"), ("/%20\\\"{}#part", "/%20%5C%22%7B%7D")]
    {
        let (port, served) = program("HTTP/1.1 200 OK\r\n\r\n");
        let path = serde_json::to_string(path).unwrap();
        let checks = checks(&format!(r#"{{"/app-health/a/livez":{{"httpGet":{{"port":{port},"path":{path}}}}}}}"#));
        assert_eq!(checks.probe("/app-health/a/livez").await.unwrap().status, 200);
        let asked = served.join().unwrap();
        assert!(asked.starts_with(&format!("GET {asked_for} HTTP/1.1\r\n")), "{asked}");
    }
}

#[tokio::test]
async fn a_tcp_probe_connects_and_no_more() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(OWN, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let checks =
        checks(&format!(r#"{{"/app-health/a/readyz":{{"tcpSocket":{{"port":{port}}},"timeoutSeconds":30}}}}"#));
    assert_eq!(checks.probe("/app-health/a/readyz").await.unwrap().status, 503);
    socket.listen(1).unwrap();
    assert_eq!(checks.probe("/app-health/a/readyz").await.unwrap().status, 200);
    assert_eq!(checks.probe("/app-health/a/livez").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_fails_after_its_own_time() {
    let listener = TcpListener::bind((OWN, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let checks = checks(&format!(r#"{{"/x":{{"httpGet":{{"port":{port}}},"timeoutSeconds":2}}}}"#));
    let outcome = checks.probe("/x").await.unwrap();
    assert_eq!(outcome, Outcome { status: 503, text: "no answer within 2 s".to_owned() });
}

#[tokio::test]
async fn a_program_that_never_ends_its_answer_has_answered() {
    let listener = TcpListener::bind((OWN, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ended, until_ended) = std::sync::mpsc::channel::<()>();
    let program = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        until_ended.recv().unwrap_err();
    });
    let checks = checks(&format!(r#"{{"/x":{{"httpGet":{{"port":{port}}},"timeoutSeconds":60}}}}"#));
    assert_eq!(checks.probe("/x").await.unwrap().status, 200);
    drop(ended);
    program.join().unwrap();
}

#[tokio::test]
async fn the_programs_metrics_are_fetched_whole() {
    let (port, served) = program("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\na 1\nb 2\n");
    let scrape = Some(Scrape { port, path: "/metrics".to_owned() });
    let checks = Checks { scrape, address: Some(OWN), ..Checks::default() };
    assert_eq!(checks.scrape().await, Some(Ok(b"a 1\nb 2\n".to_vec())));
    assert!(served.join().unwrap().starts_with("GET /metrics HTTP/1.0\r\n"));
    assert!(checks.scrape().await.unwrap().is_err(), "it has ended");
}

#[tokio::test]
async fn a_page_of_metrics_without_end_is_given_up() {
    let listener = TcpListener::bind((OWN, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let program = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        while socket.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    let scrape = Some(Scrape { port, path: "/metrics".to_owned() });
    let checks = Checks { scrape, address: Some(OWN), ..Checks::default() };
    let told = checks.scrape().await.unwrap().unwrap_err();
    assert_eq!(told, format!("expected at most {SCRAPE_BYTES} bytes, found more"));
    program.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_program_that_shows_no_metrics_is_left_in_time() {
    let listener = TcpListener::bind((OWN, 0)).unwrap();
    let scrape = Some(Scrape { port: listener.local_addr().unwrap().port(), path: "/metrics".to_owned() });
    let checks = Checks { scrape, address: Some(OWN), ..Checks::default() };
    let began = tokio::time::Instant::now();
    assert_eq!(checks.scrape().await.unwrap().unwrap_err(), "no answer within 5 s");
    assert!(began.elapsed() >= SCRAPE_WAIT, "of the clock that the test has");
}

#[test]
fn what_is_no_probe_is_refused() {
    for wrong in [
        r#"{"timeoutSeconds":1}"#,
        r#"{"httpGet":{"port":1},"tcpSocket":{"port":1}}"#,
        r#"{"httpGet":{"port":70000}}"#,
        r#"{"httpGet":{"port":1,"headers":[["a","b\r\nc: d"]]}}"#,
        r#"{"exec":{"command":["x"]}}"#,
    ] {
        assert!(serde_json::from_str::<Probe>(wrong).is_err(), "{wrong}");
    }
}
