//! What an installation needs to know of a cluster: the only part of it that asks one.

use std::net::{IpAddr, SocketAddr};

use kube::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::webhooks::NO_NAMESPACE;
use super::{RootNamespace, Setting, Values};
use crate::client::ClientError;
use crate::crds::DEFINITIONS;
use crate::fetch::{CONFIG_MAP, DEFINITION, DEPLOYMENT, MUTATING, NAMESPACE, SERVICE};
use crate::inject;
use crate::issuer::bundle;
use crate::names::{
    ANCHORS_CONFIG, CONTROLLER, INJECTOR, MANAGED_BY, MANAGER, PROXIES_PORT, ROOT_NAMESPACE, VALUES_CONFIG,
};

/// What a cluster already has.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    /// The resource definitions, in the order of [`DEFINITIONS`].
    pub definitions: Vec<Option<Value>>,
    /// What becomes of Istio's root namespace.
    pub root_namespace: RootNamespace,
    /// The namespaces that the injector names as meshed.
    pub meshed: Vec<String>,
    /// Another namespace whose control plane this cluster has: there can be one.
    pub elsewhere: Option<String>,
    /// The values that are installed, where they can be read.
    pub values: Option<Values>,
    /// The version that is installed, where it can be read.
    pub version: Option<String>,
}

/// Asks a cluster for its resource definitions.
///
/// # Errors
/// When the API server doesn't tell.
pub async fn definitions(client: &Client) -> Result<Vec<Option<Value>>, ClientError> {
    let mut found = Vec::new();
    for definition in DEFINITIONS {
        found.push(DEFINITION.get(client, None, definition.name).await?);
    }
    Ok(found)
}

/// Asks a cluster for all that an installation depends on.
///
/// # Errors
/// When the API server doesn't tell.
pub async fn present(client: &Client, namespace: &str) -> Result<Present, ClientError> {
    let injector = MUTATING.get(client, None, INJECTOR).await?;
    let config = CONFIG_MAP.get(client, Some(namespace), VALUES_CONFIG).await?;
    let deployment = DEPLOYMENT.get(client, Some(namespace), CONTROLLER).await?;
    Ok(Present {
        definitions: definitions(client).await?,
        root_namespace: root_namespace(NAMESPACE.get(client, None, ROOT_NAMESPACE).await?.as_ref()),
        meshed: injector.as_ref().map(meshed).unwrap_or_default(),
        elsewhere: injector.as_ref().and_then(served_in).filter(|other| other != namespace),
        values: config.as_ref().and_then(installed_values),
        version: deployment.as_ref().and_then(version),
    })
}

fn version(deployment: &Value) -> Option<String> {
    deployment["metadata"]["labels"]["app.kubernetes.io/version"].as_str().map(str::to_owned)
}

/// How proxies are made in a cluster, for those that are written into manifests.
///
/// # Errors
/// When Weft isn't there, or the API server doesn't tell.
pub async fn proxies(client: &Client, namespace: &str) -> Result<inject::Config, ClientError> {
    let none = || ClientError::NoController(namespace.to_owned());
    let lacks = |why: &str| ClientError::ControllerNotReady { namespace: namespace.to_owned(), why: why.to_owned() };
    let config = CONFIG_MAP.get(client, Some(namespace), VALUES_CONFIG).await?.ok_or_else(none)?;
    let values = installed_values(&config).ok_or_else(|| lacks("its values are of another version"))?;
    let anchors = CONFIG_MAP.get(client, Some(namespace), ANCHORS_CONFIG).await?;
    let anchors = anchors.as_ref().and_then(|config| config["data"]["ca.crt"].as_str());
    let anchors: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(anchors.unwrap_or_default().as_bytes())
        .map(|anchor| anchor.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|_| lacks("its trust anchors can't be read"))?;
    let service = SERVICE.get(client, Some(namespace), CONTROLLER).await?.ok_or_else(none)?;
    let address: IpAddr = service["spec"]["clusterIP"].as_str().and_then(|text| text.parse().ok()).ok_or_else(none)?;
    if anchors.is_empty() {
        return Err(lacks("it hasn't made its trust anchors"));
    }
    Ok(inject::Config {
        namespace: namespace.to_owned(),
        trust_domain: values.trust_domain,
        cluster_domain: values.cluster_domain,
        proxy_image: values.images.proxy,
        image_pull_policy: values.images.pull_policy.as_str().to_owned(),
        control_address: SocketAddr::new(address, PROXIES_PORT),
        trust_anchors: bundle(anchors),
        resources: inject::Resources::parse(&values.proxy.resources.to_json().to_string())
            .map_err(|why| lacks(&why))?,
        log: values.proxy.log_level,
    })
}

/// The values that a ConfigMap keeps. Those of another version may have other keys: then there is nothing to compare.
pub(crate) fn installed_values(config: &Value) -> Option<Values> {
    let text = config["data"]["values.yaml"].as_str()?;
    Values::of(&[Setting::File { name: VALUES_CONFIG.to_owned(), text: text.to_owned() }]).ok()
}

fn root_namespace(found: Option<&Value>) -> RootNamespace {
    match found {
        None => RootNamespace::Ours,
        Some(namespace) if namespace["metadata"]["labels"][MANAGED_BY] == MANAGER => RootNamespace::Ours,
        Some(_) => RootNamespace::Theirs,
    }
}

/// The namespace of the Service that an injector's configuration names.
fn served_in(injector: &Value) -> Option<String> {
    injector["webhooks"][0]["clientConfig"]["service"]["namespace"].as_str().map(str::to_owned)
}

/// The namespaces in the first webhook's list.
fn meshed(injector: &Value) -> Vec<String> {
    let webhooks = injector["webhooks"].as_array().into_iter().flatten();
    let first = webhooks.filter(|webhook| webhook["name"] == "meshed.inject.weft.io");
    let expressions = first.filter_map(|webhook| webhook["namespaceSelector"]["matchExpressions"].as_array()).flatten();
    let lists = expressions.filter(|expression| expression["operator"] == "In");
    let names = lists.filter_map(|expression| expression["values"].as_array()).flatten().filter_map(Value::as_str);
    names.filter(|name| *name != NO_NAMESPACE).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::install::webhooks;

    #[test]
    fn the_list_of_meshed_namespaces_survives_an_installation() {
        for list in [vec![], vec!["shop".to_owned(), "till".to_owned()]] {
            assert_eq!(meshed(&webhooks::manifests("weft", &list)[0]), list);
        }
        assert!(meshed(&json!({"webhooks": [{"name": 1}, null]})).is_empty());
    }

    #[test]
    fn an_injector_tells_where_its_control_plane_is() {
        assert_eq!(served_in(&webhooks::manifests("mesh", &[])[0]).as_deref(), Some("mesh"));
        assert_eq!(served_in(&json!({"webhooks": []})), None);
    }

    #[test]
    fn a_root_namespace_of_others_stays_theirs() {
        assert_eq!(root_namespace(None), RootNamespace::Ours);
        assert_eq!(root_namespace(Some(&json!({"metadata": {"name": ROOT_NAMESPACE}}))), RootNamespace::Theirs);
        let ours = json!({"metadata": {"labels": {MANAGED_BY: MANAGER}}});
        assert_eq!(root_namespace(Some(&ours)), RootNamespace::Ours);
    }
}
