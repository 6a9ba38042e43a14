//! The API server as the bench uses it: objects are posted, patched and deleted by path, many at once.

use std::fmt::Display;
use std::future::Future;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, Request};
use kube::Client;
use serde_json::Value;

use crate::objects::Object;

/// Why a run can't go on: what failed, and why.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(what: impl Display, why: impl Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Outcome<T> = Result<T, Failure>;

/// An administrator's connections.
#[derive(Clone)]
pub(crate) struct Api(Client);

impl Api {
    /// By `KUBECONFIG`.
    pub(crate) async fn connect() -> Outcome<Self> {
        Client::try_default().await.map(Self).map_err(|error| Failure::new("the API server", error))
    }

    pub(crate) async fn get(&self, path: &str) -> Outcome<Value> {
        self.send(Method::GET, path, (None, "application/json")).await
    }

    pub(crate) async fn create(&self, object: &Object) -> Outcome<Value> {
        self.send(Method::POST, &object.collection, (Some(&object.body), "application/json")).await
    }

    /// Merges into what is there.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.send(Method::PATCH, path, (Some(body), "application/merge-patch+json")).await
    }

    /// Takes a pod away at once: there is no kubelet to confirm it.
    pub(crate) async fn delete(&self, path: &str) -> Outcome<Value> {
        self.send(Method::DELETE, &format!("{path}?gracePeriodSeconds=0"), (None, "application/json")).await
    }

    async fn send(&self, method: Method, path: &str, (body, kind): (Option<&Value>, &str)) -> Outcome<Value> {
        let what = format!("{method} {path}");
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header("content-type", kind).body(body);
        let request = request.map_err(|error| Failure::new(&what, error))?;
        self.0.request(request).await.map_err(|error| Failure::new(&what, error))
    }
}

/// Does many things at once, and returns what came of them in their order.
pub(crate) async fn all<T, F>(work: impl Iterator<Item = F>) -> Outcome<Vec<T>>
where
    F: Future<Output = Outcome<T>>,
{
    stream::iter(work).buffered(AT_ONCE).try_collect().await
}

const AT_ONCE: usize = 32;
