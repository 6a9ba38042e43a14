//! Reading objects of any kind from the API server, as JSON.

use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::client::{ClientError, failed};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind<'a> {
    /// `v1` or `group/version`.
    pub(crate) api_version: &'a str,
    /// The kind's name.
    pub(crate) kind: &'a str,
}

impl<'a> Kind<'a> {
    /// The kind of an object or of a reference to one.
    pub(crate) fn of(object: &'a Value) -> Self {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        Self { api_version: text("apiVersion"), kind: text("kind") }
    }

    fn api(self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", self.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, self.kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }

    /// The object of this name, if it exists.
    pub(crate) async fn get(
        self,
        client: &Client,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClientError> {
        let found = self.api(client, namespace).get_opt(name).await;
        let found = found.map_err(|error| failed(&format!("read {} {name}", self.kind), &error))?;
        Ok(found.and_then(|object| serde_json::to_value(object).ok()))
    }

    /// The objects in a namespace, or in all; none where the kind isn't known.
    pub(crate) async fn list(
        self,
        client: &Client,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<Vec<Value>, ClientError> {
        match self.api(client, namespace).list(params).await {
            Ok(list) => Ok(list.items.into_iter().filter_map(|object| serde_json::to_value(object).ok()).collect()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(failed(&format!("list {}", self.kind), &error)),
        }
    }
}

/// A resource definition.
pub(crate) const DEFINITION: Kind<'static> =
    Kind { api_version: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition" };
/// A namespace.
pub(crate) const NAMESPACE: Kind<'static> = Kind { api_version: "v1", kind: "Namespace" };
/// A map of settings.
pub(crate) const CONFIG_MAP: Kind<'static> = Kind { api_version: "v1", kind: "ConfigMap" };
/// A Service.
pub(crate) const SERVICE: Kind<'static> = Kind { api_version: "v1", kind: "Service" };
/// A Deployment.
pub(crate) const DEPLOYMENT: Kind<'static> = Kind { api_version: "apps/v1", kind: "Deployment" };
/// A configuration of mutating webhooks.
pub(crate) const MUTATING: Kind<'static> =
    Kind { api_version: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration" };
