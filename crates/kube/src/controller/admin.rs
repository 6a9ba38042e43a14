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
