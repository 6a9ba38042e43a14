//! Reading objects of any kind from the API server, as JSON.

use std::iter;

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
        for kind in self.versions() {
            match kind.api(client, namespace).list(params).await {
                Ok(list) => {
                    return Ok(list.items.into_iter().filter_map(|object| serde_json::to_value(object).ok()).collect());
                }
                Err(error) if is_unknown(&error) => {}
                Err(error) => return Err(failed(&format!("list {}", self.kind), &error)),
            }
        }
        Ok(Vec::new())
    }

    /// The kind as it is, then as API servers had it before.
    fn versions(self) -> impl Iterator<Item = Self> {
        let older = (self.api_version == "security.istio.io/v1")
            .then_some(Self { api_version: "security.istio.io/v1beta1", ..self });
        iter::once(self).chain(older)
    }
}

/// Whether the API server serves no such kind. Of a whole group that it doesn't know it says so in plain text.
pub(crate) fn is_unknown(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
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

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_unknown_group_is_told_in_plain_text() {
        let error = |code| {
            let status = Status::failure("404 page not found\n", "Failed to parse error data").with_code(code);
            kube::Error::Api(Box::new(status))
        };
        assert!(is_unknown(&error(404)) && !is_unknown(&error(403)));
    }

    #[test]
    fn policies_have_an_older_version() {
        let versions =
            |api_version| Kind { api_version, kind: "X" }.versions().map(|it| it.api_version).collect::<Vec<_>>();
        assert_eq!(versions("security.istio.io/v1"), ["security.istio.io/v1", "security.istio.io/v1beta1"]);
        assert_eq!(versions("v1"), ["v1"]);
    }
}
