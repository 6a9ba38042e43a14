//! The HTTPS server: takes questions, bounded in size and time, and answers them. At its end it goes on for
//! a moment, since the API server asks until it has heard that others answer, and loses no question.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use weft_control::Crowd;

use super::answer::{self, Injection};
use super::body::Room;
use super::keeper::Namespaces;
use super::metrics::{Answered, Metrics, Series};
use super::review::{self, Review, read_review};
use crate::events::Events;
use crate::inject::{Config, NamespaceMarks, Reason};

/// Answers, with what an answer needs.
pub(super) struct Injector {
    pub(super) client: Client,
    pub(super) namespaces: Namespaces,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
    pub(super) room: Room,
}

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// New connections are taken still, each for one question: the API server may not know better yet.
    Lingering,
    /// Nothing new is taken; what was asked is answered.
    Closing,
}

/// Serves until `ended`, and then for [`LINGER`] those who haven't heard of it; at last those who are being
/// answered get a few seconds more.
pub(super) async fn run(
    listener: TcpListener,
    tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    injector: Arc<Injector>,
    ended: impl Future<Output = ()>,
) {
    let crowd = Crowd::new(MAX_CONNECTIONS, MAX_OF_ONE_ADDRESS);
    let (stages, stage) = watch::channel(Stage::Serving);
    let mut connections = JoinSet::new();
    let ended = async {
        ended.await;
        stages.send_replace(Stage::Lingering);
        tokio::time::sleep(LINGER).await;
    };
    tokio::pin!(ended);
    loop {
        let accepted = tokio::select! {
            () = &mut ended => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            // Out of descriptors, most likely; some are given back soon.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = crowd.enter(address.ip()) else { continue };
        let (tls, injector, stage) = (tls.clone(), Arc::clone(&injector), stage.clone());
        connections.spawn(async move {
            connection(stream, tls, injector, stage).await;
            drop(place);
        });
    }
    drop(listener);
    stages.send_replace(Stage::Closing);
    // An error means that the time is over; what is left ends with the set.
    let _ = tokio::time::timeout(DRAIN_TIME, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(
    stream: TcpStream,
    mut tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    injector: Arc<Injector>,
    mut stage: watch::Receiver<Stage>,
) {
    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, async {
        // The first moments after the start: the certificate is on its way.
        let config = tls.wait_for(Option::is_some).await.ok()?.clone()?;
        TlsAcceptor::from(config).accept(stream).await.ok()
    });
    let Ok(Some(stream)) = shaken.await else { return };
    let (now, asks) = (stage.clone(), Arc::new(Notify::new()));
    let asked = Arc::clone(&asks);
    let service = service_fn(move |request| {
        asks.notify_one();
        let (injector, now) = (Arc::clone(&injector), now.clone());
        async move {
            let mut response = injector.answer(request).await;
            if *now.borrow() != Stage::Serving {
                response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(READ_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let silent = async {
        if tokio::time::timeout(FIRST_QUESTION, asked.notified()).await.is_ok() {
            std::future::pending().await
        }
    };
    let closing = async {
        // An error is the server's end as well.
        let _ = stage.wait_for(|stage| *stage == Stage::Closing).await;
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = silent => return,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a webhook's connection broke");
    }
}

impl Injector {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if !matches!(path, INJECT | VALIDATE) {
            return text(StatusCode::NOT_FOUND, &format!("expected {INJECT} or {VALIDATE}"));
        }
        if head.method != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "expected POST");
        }
        // Held until the question is answered, since so long its parts are in memory.
        let body = match self.room.read(body).await {
            Ok(body) => body,
            Err(unread) => return text(unread.status(), &unread.to_string()),
        };
        let question = match read_review(&body.bytes) {
            Ok(question) => question,
            Err(malformed) => return text(StatusCode::BAD_REQUEST, &malformed.to_string()),
        };
        if path == VALIDATE { self.validate(&question) } else { self.inject(&question).await }
    }

    fn validate(&self, question: &review::Request) -> Response<Full<Bytes>> {
        let review = answer::validation(question, &self.config.borrow().trust_domain);
        self.metrics.count(if review.response.allowed { Series::Valid } else { Series::Invalid });
        json(&review)
    }

    async fn inject(&self, question: &review::Request) -> Response<Full<Bytes>> {
        if !answer::is_new_pod(question) {
            return json(&Review::allow(question, Vec::new()));
        }
        // A failure, and no refusal: the webhook's failurePolicy says what it means for this pod.
        let failed = |status, why: String| {
            self.metrics.count(Series::Failed);
            tracing::warn!(namespace = question.namespace, why, "a pod's injection failed");
            text(status, &why)
        };
        let namespace = match self.namespace(&question.namespace).await {
            Ok(namespace) => namespace,
            Err(why) => return failed(StatusCode::SERVICE_UNAVAILABLE, why),
        };
        let config = self.config.borrow().clone();
        match answer::injection(question, &namespace, &config) {
            Ok(injection) => {
                self.note(question, &injection);
                json(&injection.review)
            }
            Err(why) => failed(StatusCode::BAD_REQUEST, why),
        }
    }

    fn note(&self, question: &review::Request, injection: &Injection) {
        let count = |skipped| {
            let (namespace, owner_kind) = (question.namespace.clone(), injection.owner_kind);
            self.metrics.count(Series::Pods(Answered { namespace, owner_kind, skipped }));
        };
        if injection.skipped.is_empty() {
            count(None);
        }
        // Two webhooks may match one pod; the second finds it done.
        for reason in injection.skipped.iter().filter(|reason| **reason != Reason::AlreadyInjected) {
            count(Some(reason.code()));
        }
        let told = injection.notice.clone().filter(|_| question.dry_run != Some(true));
        if told.is_some_and(|notice| self.events.post(notice).is_err()) {
            self.metrics.count(Series::EventsDropped);
        }
    }

    /// The namespace as it is now: a watch may be behind an annotation that was set a moment ago.
    /// What the watch knows serves while the API server doesn't answer.
    async fn namespace(&self, name: &str) -> Result<NamespaceMarks, String> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let why = match tokio::time::timeout(LOOKUP_TIMEOUT, namespaces.get_metadata(name)).await {
            Ok(Ok(found)) => return Ok(NamespaceMarks::of(&found.metadata)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.namespaces.find(name).ok_or_else(|| format!("the namespace {name:?} can't be read: {why}"))
    }
}

fn json(review: &Review) -> Response<Full<Bytes>> {
    match serde_json::to_vec(review) {
        Ok(body) => {
            let mut response = Response::new(Full::from(body));
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn text(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{message}\n")));
    *response.status_mut() = status;
    response
}

const INJECT: &str = "/inject";
const VALIDATE: &str = "/validate";
/// API servers keep a few connections open; this many pods could be made at once.
const MAX_CONNECTIONS: usize = 1024;
/// An API server makes 200 changes at once, unless it is told otherwise. Whoever else opens connections keeps it
/// out of a quarter of them.
const MAX_OF_ONE_ADDRESS: usize = MAX_CONNECTIONS / 4;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after its handshake a client may take to ask for the first time: API servers connect in order to ask.
const FIRST_QUESTION: Duration = Duration::from_secs(10);
/// What is read of a connection at once; the heads of questions are short.
const READ_BYTES: usize = 32 << 10;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than the 90 s for which the API server keeps an idle connection, so that it is the one that closes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// How long the API server may go on asking: its Service's endpoints change in about a second.
const LINGER: Duration = Duration::from_secs(3);
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// How long [`run`] takes at most after its end was asked for.
pub(crate) const END_TIME: Duration = LINGER.saturating_add(DRAIN_TIME);

#[cfg(test)]
mod tests;
