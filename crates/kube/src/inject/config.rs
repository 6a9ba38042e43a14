//! What is the same for every proxy of a cluster.

use super::quantity::Resources;
use crate::names::CONTROLLER;

/// What the control plane tells every proxy that it injects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The control plane's namespace.
    pub namespace: String,
    /// The trust domain of the mesh's identities.
    pub trust_domain: String,
    /// The DNS domain of the cluster's Services.
    pub cluster_domain: String,
    /// The image of `weft-proxy` and `weft-init`, with its tag.
    pub proxy_image: String,
    /// `IfNotPresent`, `Always` or `Never`.
    pub image_pull_policy: String,
    /// Where proxies reach the control plane: `ADDRESS:15012`.
    pub control_address: String,
    /// The certificates by which proxies know the control plane, PEM.
    pub trust_anchors: String,
    /// What a proxy gets unless annotations say otherwise.
    pub resources: Resources,
    /// What a proxy logs unless annotations say otherwise: a filter.
    pub log: String,
}

impl Config {
    /// The control plane's identity.
    pub fn control_identity(&self) -> String {
        format!("spiffe://{}/ns/{}/sa/{CONTROLLER}", self.trust_domain, self.namespace)
    }

    /// The tag of the proxy's image, as far as it has one.
    pub(crate) fn proxy_version(&self) -> &str {
        version_of(&self.proxy_image)
    }
}

/// The version of the proxies of an image: its tag, as far as it has one.
pub(crate) fn version_of(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once(':').map_or(env!("CARGO_PKG_VERSION"), |(_, tag)| tag)
}
