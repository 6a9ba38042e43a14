//! The whole mesh's metrics over HTTP, for Prometheus: a listener on loopback that reads one
//! request, answers, and closes. It shows figures, and changes nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::hub::Hub;
use crate::limits::{ACCEPT_PAUSE, SCRAPER_HEAD_BYTES, SCRAPER_WAIT, SCRAPERS};
use crate::shared::Shared;

/// A listener that serves the hub's page.
pub(crate) struct Scrape {
    pub(crate) listener: TcpListener,
    pub(crate) hub: Hub,
}

/// Opens the listener, or warns: a mesh serves without it. Must be called inside of a runtime.
pub(crate) fn bind(address: SocketAddr) -> Option<TcpListener> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    bound.inspect_err(|error| warn!(%address, %error, "nobody serves the mesh's metrics; choose another address")).ok()
}

impl Scrape {
    /// Serves until the control plane ends.
    pub(crate) async fn run(self, shared: Shared) {
        let clients = Arc::new(Semaphore::new(SCRAPERS));
        let serve = async {
            // The semaphore is never closed.
            while let Ok(permit) = clients.clone().acquire_owned().await {
                let Ok((socket, _)) = self.listener.accept().await else {
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let hub = self.hub.clone();
                tokio::spawn(async move {
                    // A client that is slow or broken is no concern of ours.
                    let _slow = timeout(SCRAPER_WAIT, answer(&hub, socket)).await;
                    drop(permit);
                });
            }
        };
        tokio::select! {
            () = serve => {}
            () = shared.ending() => {}
        }
    }
}

async fn answer(hub: &Hub, mut socket: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= SCRAPER_HEAD_BYTES || socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") => {
            hub.flush().await;
            ("200 OK", hub.page())
        }
        (b"GET" | b"HEAD", _) => ("404 Not Found", "there is /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "expected GET\n".to_owned()),
    };
    let length = body.len();
    let body = if method == b"HEAD" { String::new() } else { body };
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await
}
