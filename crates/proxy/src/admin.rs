//! Readiness and metrics over HTTP, for probes and Prometheus, in a pod the program's too. Small on
//! purpose: it reads one request, answers, and closes. What changes or reveals more isn't served here.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::accept;
use crate::checks::Checks;
use crate::crowd::Crowd;
use crate::data::Data;
use crate::limits::{ADMIN_CLIENTS, ADMIN_HEAD_BYTES, ADMIN_WAIT};

/// Serves `/ready`, `/live` and `/metrics` until the proxy drains.
pub(crate) async fn listen(data: Rc<Data>, listener: TcpListener, checks: Rc<Checks>) {
    let permits = Arc::new(Semaphore::new(ADMIN_CLIENTS));
    let crowd = Rc::new(Crowd::new(ADMIN_CLIENTS));
    accept::each(&data.drain.clone(), listener, permits, |socket, from, permit| {
        // One that floods is to hold up neither the kubelet nor Prometheus.
        let Some(place) = crowd.enter(from.ip()) else { return };
        let (data, checks) = (data.clone(), checks.clone());
        tokio::task::spawn_local(async move {
            // A client that is slow or broken is no concern of ours.
            let _broken = serve(&data, socket, &checks).await;
            drop((permit, place));
        });
    })
    .await;
}

async fn serve(data: &Data, mut socket: TcpStream, checks: &Checks) -> io::Result<()> {
    let head = timeout(ADMIN_WAIT, head(&mut socket)).await??;
    let answer = answer(data, &head, checks).await;
    timeout(ADMIN_WAIT, socket.write_all(&answer)).await??;
    socket.shutdown().await
}

async fn head(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < ADMIN_HEAD_BYTES {
        if socket.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

async fn answer(data: &Data, head: &[u8], checks: &Checks) -> Vec<u8> {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    let (status, mut body) = match method {
        b"GET" | b"HEAD" => page(data, std::str::from_utf8(path).unwrap_or_default(), checks).await,
        _ => (405, b"expected GET\n".to_vec()),
    };
    let mut answer = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown"),
        body.len(),
    )
    .into_bytes();
    if method != b"HEAD" {
        answer.append(&mut body);
    }
    answer
}

async fn page(data: &Data, path: &str, checks: &Checks) -> (u16, Vec<u8>) {
    match path {
        "/live" => (200, b"live\n".to_vec()),
        "/ready" if data.records.is_ready() && !data.drain.is_draining() => (200, b"ready\n".to_vec()),
        "/ready" => (503, b"not ready\n".to_vec()),
        "/metrics" => (200, metrics(data, checks).await),
        _ => match checks.probe(path).await {
            Some(outcome) => (outcome.status, format!("{}\n", outcome.text).into_bytes()),
            None => (404, b"there are /ready, /live and /metrics\n".to_vec()),
        },
    }
}

/// The proxy's own metrics, and the program's behind them.
async fn metrics(data: &Data, checks: &Checks) -> Vec<u8> {
    let program = checks.scrape().await;
    data.renew_gauges();
    let mut page = data.metrics.render().into_bytes();
    match program {
        Some(Ok(own)) => {
            // The end of OpenMetrics' text would cut off what a reader takes for one page.
            let lines = own.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"# EOF"));
            page.extend(lines.flatten());
            page.push(b'\n');
        }
        Some(Err(problem)) => page.extend(format!("# the program's own metrics: {problem}\n").into_bytes()),
        None => {}
    }
    page
}
