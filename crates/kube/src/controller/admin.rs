//! Readiness, liveness and metrics over plain HTTP. It tells nothing that a program of the cluster
//! may not know, and changes nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::warn;
use weft_control::{Crowd, Services};

use super::health::Health;
use crate::webhook::Metrics;

/// Whose metrics are told.
pub(crate) type Sources = (Services, Arc<Metrics>);

/// Serves until the task is ended.
pub(crate) async fn serve(listener: TcpListener, health: Health, metrics: Sources) {
    let crowd = Crowd::new(MAX_CONNECTIONS, MAX_OF_ONE_ADDRESS);
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "expected a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = crowd.enter(address.ip()) else { continue };
        let (health, metrics) = (health.clone(), metrics.clone());
        tokio::spawn(async move {
            let answered = service_fn(move |request| {
                let response = answer(&request, &health, &metrics);
                async { Ok::<_, Infallible>(response) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
            // Who asks badly, or goes, is told nothing more.
            let _ = server.serve_connection(TokioIo::new(stream), answered).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, health: &Health, (services, webhooks): &Sources) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/live" => (StatusCode::OK, "live\n".to_owned()),
        "/ready" => match health.ready() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        "/metrics" => (StatusCode::OK, services.metrics() + &webhooks.render()),
        _ => (StatusCode::NOT_FOUND, "expected /ready, /live or /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let text = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}

const MAX_CONNECTIONS: usize = 256;
/// The kubelet and Prometheus have one or two; whoever opens them without end keeps neither out.
const MAX_OF_ONE_ADDRESS: usize = MAX_CONNECTIONS / 8;
const MAX_HEAD_BYTES: usize = 16 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpSocket, TcpStream};
    use weft_compile::Settings;
    use weft_control::{Mesh, Shared};

    use super::*;
    use crate::client::tests::silent;
    use crate::clock::{Clock, eventually};
    use crate::identity::Reviewer;
    use crate::model::Cluster;
    use crate::watched::Watched;

    async fn connect(from: Ipv4Addr, to: std::net::SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    fn is_closed(stream: &TcpStream) -> bool {
        !stream.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    #[tokio::test]
    async fn probes_are_answered_whoever_floods_their_port_and_who_asks_nothing_is_left() {
        let (health, (client, _listener)) = (Health::default(), silent());
        let reviewer = Reviewer::new(client, Watched::new(Cluster::default()), health.clone());
        let (_signs, signing) = tokio::sync::watch::channel(None);
        let shared = Shared::new(Mesh::new(Settings::default()));
        let services = Services::new(shared, Arc::new(reviewer), signing, Duration::from_secs(600));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, health, (services, Arc::default())));
        let clock = Clock::stop();
        let mut flood = Vec::new();
        for _ in 0..2 * MAX_OF_ONE_ADDRESS {
            flood.push(connect(Ipv4Addr::new(127, 0, 5, 1), address).await);
        }
        eventually(|| flood.iter().filter(|stream| !is_closed(stream)).count() == MAX_OF_ONE_ADDRESS).await;
        let mut kubelet = connect(Ipv4Addr::LOCALHOST, address).await;
        kubelet.write_all(b"GET /live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        kubelet.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("live\n"), "{answer}");
        clock.ends(HEAD_TIMEOUT, || flood.iter().all(is_closed)).await;
    }
}
