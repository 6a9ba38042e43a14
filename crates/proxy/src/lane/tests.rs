use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use weft_wire::frame::{FRAME_HEAD_BYTES, WINDOW};

use super::*;
use crate::limits::LANE_CALLEE_STREAMS;
use crate::side::Side;
use crate::stream::Stream;

/// Runs a test on one thread, as the data thread does.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (caller, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
    (caller.unwrap(), accepted.unwrap().0)
}

/// A lane whose caller's side is driven in the background.
async fn lane() -> (Lane, LaneStream, Driver) {
    let (caller, callee) = sockets().await;
    let (lane, first, driver) = Driver::calling(Stream::Plain(caller.into()), Vec::new());
    spawn_local(driver.run());
    (lane, first, Driver::accepting(Side::plain(callee)))
}

/// Sends every stream's bytes back, and its end.
async fn echo(mut driver: Driver) {
    while let Some(mut stream) = driver.next().await {
        spawn_local(async move {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
        });
    }
}

async fn ask(mut stream: LaneStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// A callee's driver, and the caller's socket, on which a test says what it likes.
async fn raw() -> (TcpStream, Driver) {
    let (caller, callee) = sockets().await;
    (caller, Driver::accepting(Side::plain(callee)))
}

fn frames(frames: &[(u32, Event<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for &(stream, event) in frames {
        Frame { stream, event }.encode(&mut out);
    }
    out
}

#[test]
fn streams_carry_what_connections_would() {
    run(async {
        let (lane, first, driver) = lane().await;
        spawn_local(echo(driver));
        assert_eq!(ask(first, b"one").await, b"one");
        let large = vec![5; 3 * WINDOW + 1];
        let asked = (0..100u8).map(|n| (n, lane.open().unwrap()));
        let all: Vec<_> = asked.map(|(n, stream)| spawn_local(async move { ask(stream, &[n; 1000]).await })).collect();
        let (more, less) = (lane.open().unwrap(), WINDOW);
        let both = tokio::join!(ask(more, &large[..less]), async {
            for (n, asked) in all.into_iter().enumerate() {
                assert_eq!(asked.await.unwrap(), [n as u8; 1000]);
            }
        });
        assert_eq!(both.0, large[..less]);
        assert!(lane.is_unused());
    });
}

#[test]
fn more_than_a_window_passes_as_it_is_read() {
    run(async {
        let (_lane, mut first, mut driver) = lane().await;
        let sent = spawn_local(async move {
            first.write_all(&vec![7; 10 * WINDOW]).await.unwrap();
            first.shutdown().await.unwrap();
            first
        });
        let mut stream = driver.next().await.unwrap();
        spawn_local(driver.run());
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes.len(), 10 * WINDOW);
        drop(sent.await.unwrap());
    });
}

#[test]
fn a_stream_that_is_not_read_holds_up_no_other() {
    run(async {
        let (lane, mut slow, mut driver) = lane().await;
        let filled = slow.write(&vec![1; 2 * WINDOW]).await.unwrap();
        assert_eq!(filled, WINDOW);
        let unread = driver.next().await.unwrap();
        spawn_local(echo(driver));
        assert_eq!(ask(lane.open().unwrap(), b"quick").await, b"quick");
        drop(unread);
        let error = slow.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_dropped_stream_is_a_reset_after_what_it_said() {
    run(async {
        let (_lane, mut first, mut driver) = lane().await;
        first.write_all(b"half of it").await.unwrap();
        drop(first);
        let mut stream = driver.next().await.unwrap();
        spawn_local(driver.run());
        let mut bytes = Vec::new();
        let error = stream.read_to_end(&mut bytes).await.unwrap_err();
        assert_eq!((error.kind(), &bytes[..]), (io::ErrorKind::ConnectionReset, &b"half of it"[..]));
    });
}

#[test]
fn an_end_stays_one_when_the_stream_is_given_up_after_it() {
    run(async {
        let (_lane, mut first, mut driver) = lane().await;
        first.write_all(b"x").await.unwrap();
        let mut stream = driver.next().await.unwrap();
        spawn_local(driver.run());
        stream.shutdown().await.unwrap();
        drop(stream);
        while first.write_all(b"y").await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_lane_whose_numbers_end_takes_no_more_and_serves_those_that_are_open() {
    run(async {
        let (lane, first, driver) = lane().await;
        spawn_local(echo(driver));
        lane.0.last.set(LAST_STREAM - 1);
        let late = lane.open().unwrap();
        assert_eq!(ask(first, b"last").await, b"last");
        assert!(!lane.is_living() && lane.open().is_none());
        assert_eq!(ask(late, b"late").await, b"late");
    });
}

#[test]
fn a_lane_that_retires_serves_those_that_are_open_and_ends_in_order() {
    run(async {
        let (lane, mut first, mut driver) = lane().await;
        first.write_all(b"x").await.unwrap();
        let mut stream = driver.next().await.unwrap();
        driver.retire();
        let late = lane.open().unwrap();
        let served = spawn_local(async move { while driver.next().await.is_some() {} });
        assert_eq!(ask(late, b"too late").await, b"", "an end without a byte: nothing was read of it");
        stream.write_all(b"answer").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(ask(first, b"").await, b"answer");
        drop(stream);
        served.await.unwrap();
        while lane.is_living() {
            tokio::task::yield_now().await;
        }
        assert!(lane.open().is_none());
    });
}

#[test]
fn a_broken_connection_breaks_all_streams() {
    run(async {
        let (caller, callee) = sockets().await;
        let (lane, mut first, driver) = Driver::calling(Stream::Plain(caller.into()), Vec::new());
        spawn_local(driver.run());
        first.write_all(b"x").await.unwrap();
        callee.readable().await.unwrap();
        callee.set_zero_linger().unwrap();
        drop(callee);
        let mut byte = [0];
        assert_eq!(first.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(!first.is_quiet() && lane.open().is_none());
    });
}

#[test]
fn a_peer_that_breaks_the_rules_loses_the_lane() {
    let excess = vec![0; WINDOW + 1];
    let mut beyond: Vec<_> =
        excess.chunks(weft_wire::frame::MAX_DATA_BYTES).map(|data| (1, Event::Data(data))).collect();
    beyond.push((1, Event::Data(b"x")));
    let cases: [(&str, Vec<u8>); 6] = [
        ("beyond the window", frames(&beyond)),
        ("after the end", frames(&[(1, Event::Data(b"x")), (1, Event::End), (1, Event::Data(b"y"))])),
        ("a second end", frames(&[(1, Event::Data(b"x")), (1, Event::End), (1, Event::End)])),
        ("more room than a window", frames(&[(1, Event::Data(b"x")), (1, Event::Window(1))])),
        ("room for nothing", frames(&[(1, Event::Window(1))])),
        ("no frame", vec![0; 8]),
    ];
    for (what, bytes) in cases {
        run(async {
            let (mut caller, mut driver) = raw().await;
            caller.write_all(&bytes).await.unwrap();
            let mut held = Vec::new();
            while let Some(stream) = driver.next().await {
                held.push(stream);
            }
            for stream in &mut held {
                assert!(stream.write(b"x").await.is_err(), "{what}");
            }
        });
    }
}

#[test]
fn frames_of_a_stream_that_was_given_up_are_ignored() {
    run(async {
        let (mut caller, mut driver) = raw().await;
        caller.write_all(&frames(&[(5, Event::Data(b"x"))])).await.unwrap();
        drop(driver.next().await.unwrap());
        let late = [(5, Event::Data(b"y")), (5, Event::Window(1)), (5, Event::Reset), (4, Event::End)];
        caller.write_all(&frames(&late)).await.unwrap();
        caller.write_all(&frames(&[(6, Event::Data(b"z"))])).await.unwrap();
        assert!(driver.next().await.is_some());
    });
}

#[test]
fn streams_beyond_the_bound_end_unread() {
    run(async {
        let (mut caller, mut driver) = raw().await;
        let many: Vec<_> = (1..=LANE_CALLEE_STREAMS as u32 + 1).map(|id| (id, Event::Data(b"x"))).collect();
        caller.write_all(&frames(&many)).await.unwrap();
        let mut held = Vec::new();
        while held.len() < LANE_CALLEE_STREAMS {
            held.push(driver.next().await.unwrap());
        }
        spawn_local(driver.run());
        let mut answer = [0; FRAME_HEAD_BYTES];
        caller.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer.to_vec(), frames(&[(LANE_CALLEE_STREAMS as u32 + 1, Event::End)]));
    });
}

#[test]
fn a_peer_that_only_asks_and_never_reads_loses_the_lane() {
    run(async {
        let (mut caller, mut driver) = raw().await;
        spawn_local(async move {
            let mut ids = 1..;
            // It ends when the callee has closed the connection.
            loop {
                let many: Vec<_> = ids.by_ref().take(1000).map(|id| (id, Event::Data(b"x"))).collect();
                if caller.write_all(&frames(&many)).await.is_err() {
                    return;
                }
            }
        });
        while let Some(stream) = driver.next().await {
            // Each is reset, which the peer never hears.
            drop(stream);
        }
    });
}
