//! Waits: whoever stalls is left when the time has come, and not before. Sockets are real; the clock goes on
//! when the test says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::{Code, Request};
use weft_control::limits::{
    CONNECTIONS_OF_AN_ADDRESS, END_TIMEOUT, FIRST_REQUEST, HANDSHAKE, HANDSHAKES, PING, PING_WAIT, SCRAPER_WAIT,
    SCRAPERS, STOP_TIMEOUT, UNPROVED_LIFE,
};
use weft_identity::{MeshTls, server_name};
use weft_wire::proto::weft::v1 as proto;

use crate::clock::{Clock, eventually};
use crate::flood::{connect_from, is_closed, may_open_many};
use crate::harness::Mesh;
use crate::network::{Plane, identity};

#[tokio::test]
async fn a_handshake_that_is_not_ended_is_closed() {
    let plane = Plane::start().await;
    plane.certified("pod-token").await.unwrap();
    let clock = Clock::stop();
    let silent = connect_from(Ipv4Addr::LOCALHOST, plane.proxies).await;
    let mut begun = connect_from(Ipv4Addr::LOCALHOST, plane.proxies).await;
    begun.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    clock.ends(HANDSHAKE, || is_closed(&silent) && is_closed(&begun)).await;
    plane.end().await;
}

#[tokio::test]
async fn handshakes_that_are_not_ended_keep_others_waiting_for_their_time_only() {
    may_open_many();
    let plane = Plane::start().await;
    plane.certified("pod-token").await.unwrap();
    let clock = Clock::stop();
    let mut silent = Vec::new();
    for number in 0..HANDSHAKES {
        let from = Ipv4Addr::new(127, 0, 5, 1 + (number / CONNECTIONS_OF_AN_ADDRESS) as u8);
        silent.push(connect_from(from, plane.proxies).await);
    }
    let next = tokio::spawn(shaken(plane.proxies, plane.anonymous()));
    clock.ends(HANDSHAKE, || next.is_finished()).await;
    next.await.unwrap();
    plane.end().await;
}

#[tokio::test]
async fn who_proves_nothing_stays_no_longer_than_it_takes_to_be_certified() {
    let plane = Plane::start().await;
    plane.certified("pod-token").await.unwrap();
    let clock = Clock::stop();
    let silent = shaken(plane.proxies, plane.anonymous()).await;
    clock.ends(UNPROVED_LIFE, || is_closed(silent.get_ref().0)).await;
    plane.end().await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_left_and_others_stay() {
    let plane = Plane::start().await;
    let credential = plane.certified_for("pod-token", 600).await.unwrap();
    let tls = MeshTls::new(credential, &plane.trust()).unwrap();
    let config = || tls.client_config(&[identity("weft-controller")], &[b"h2"]);
    let (_requests, mut answers) = plane.stream(config(), "shop/web-1").await.unwrap();
    answers.message().await.unwrap().unwrap();
    let clock = Clock::stop();
    let mut stalled = shaken(plane.proxies, config()).await;
    // RFC 9113, 3.4: the preface and an empty SETTINGS frame.
    stalled.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut said = Vec::new();
    clock.ends(PING, || is_asked(&mut stalled, &mut said)).await;
    clock.ends(PING_WAIT, || is_closed(stalled.get_ref().0)).await;
    assert!(answers.message().now_or_never().is_none(), "nothing has changed for it, and it goes on");
    plane.end().await;
}

#[tokio::test]
async fn a_launcher_that_does_not_say_what_it_launches_is_refused() {
    let mesh = Mesh::start();
    let mut client = mesh.control().await;
    let clock = Clock::stop();
    let launch = tokio::spawn(async move { client.launch(tokio_stream::pending()).await });
    clock.ends(FIRST_REQUEST, || launch.is_finished()).await;
    assert_eq!(launch.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    mesh.end().await;
}

#[tokio::test]
async fn scrapers_that_stall_are_left_for_the_next_one() {
    let mesh = Mesh::start();
    let metrics: SocketAddr = mesh.status().await.metrics_address.unwrap().parse().unwrap();
    let clock = Clock::stop();
    let mut stalled = Vec::new();
    for begun in ["", "GET /metrics HT"].into_iter().cycle().take(SCRAPERS) {
        let mut scraper = connect_from(Ipv4Addr::LOCALHOST, metrics).await;
        scraper.write_all(begun.as_bytes()).await.unwrap();
        stalled.push(scraper);
    }
    let mut next = connect_from(Ipv4Addr::LOCALHOST, metrics).await;
    next.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
    let mut page = [0; 15];
    clock.ends(SCRAPER_WAIT, || next.try_read(&mut page).is_ok()).await;
    assert_eq!(&page, b"HTTP/1.1 200 OK");
    eventually(|| stalled.iter().all(is_closed)).await;
    mesh.end().await;
}

#[tokio::test]
async fn a_launcher_that_does_not_end_its_program_holds_the_end_up_for_a_while_only() {
    let mesh = Mesh::start();
    let _launcher = mesh.launch("web").await;
    let mut client = mesh.control().await;
    let clock = Clock::stop();
    client.shutdown(Request::new(proto::ShutdownRequest { stop_workloads: true })).await.unwrap();
    clock.ends(STOP_TIMEOUT, || mesh.has_ended()).await;
}

#[tokio::test]
async fn a_call_that_does_not_end_holds_the_end_up_for_a_while_only() {
    let mesh = Mesh::start();
    let mut client = mesh.control().await;
    let mut other = client.clone();
    let clock = Clock::stop();
    let _launch = tokio::spawn(async move { client.launch(tokio_stream::pending()).await });
    // It is on their one connection first.
    yield_now().await;
    other.shutdown(Request::new(proto::ShutdownRequest { stop_workloads: false })).await.unwrap();
    clock.ends(END_TIMEOUT, || mesh.has_ended()).await;
}

/// Whether the control plane has asked by a PING of HTTP/2 (RFC 9113, 6.7).
fn is_asked(stream: &mut TlsStream<TcpStream>, said: &mut Vec<u8>) -> bool {
    while let Some(Ok(1..)) = stream.read_buf(said).now_or_never() {}
    let mut rest = &said[..];
    while let [high, middle, low, kind, ..] = *rest {
        if kind == 6 {
            return true;
        }
        let length = u32::from_be_bytes([0, high, middle, low]);
        rest = rest.get(9 + length as usize..).unwrap_or_default();
    }
    false
}

/// A connection whose handshake is done, and on which nothing is said.
async fn shaken(to: SocketAddr, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = connect_from(Ipv4Addr::LOCALHOST, to).await;
    TlsConnector::from(config).connect(server_name(), stream).await.unwrap()
}
