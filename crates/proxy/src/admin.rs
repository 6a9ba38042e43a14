//! Readiness and metrics over HTTP, for probes and Prometheus. Small on purpose: it reads one
//! request, answers, and closes. What changes or reveals more isn't served here.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::accept;
use crate::data::Data;
use crate::limits::{ADMIN_CLIENTS, ADMIN_HEAD_BYTES, ADMIN_WAIT};

/// Serves `/ready`, `/live` and `/metrics` until the proxy drains.
pub(crate) async fn listen(data: Rc<Data>, listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(ADMIN_CLIENTS));
    accept::each(&data.drain.clone(), listener, permits, |socket, _, permit| {
        let data = data.clone();
        tokio::task::spawn_local(async move {
            // A client that is slow or broken is no concern of ours.
            let _slow = tokio::time::timeout(ADMIN_WAIT, serve(&data, socket)).await;
            drop(permit);
        });
    })
    .await;
}

async fn serve(data: &Data, mut socket: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < ADMIN_HEAD_BYTES {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let answer = answer(data, &head);
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}

fn answer(data: &Data, head: &[u8]) -> String {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/live") => ("200 OK", "live\n".to_owned()),
        (b"GET" | b"HEAD", b"/ready") if data.records.is_ready() && !data.drain.is_draining() => {
            ("200 OK", "ready\n".to_owned())
        }
        (b"GET" | b"HEAD", b"/ready") => ("503 Service Unavailable", "not ready\n".to_owned()),
        (b"GET" | b"HEAD", b"/metrics") => ("200 OK", page(data)),
        (b"GET" | b"HEAD", _) => ("404 Not Found", "there are /ready, /live and /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "expected GET\n".to_owned()),
    };
    let length = body.len();
    let body = if method == b"HEAD" { String::new() } else { body };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn page(data: &Data) -> String {
    data.renew_gauges();
    data.metrics.render()
}
