//! What is the same for every proxy of a cluster.

use std::net::SocketAddr;

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
    pub control_address: SocketAddr,
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

    /// Where they look for it when it no longer answers there: absolute, so that no search domain of a pod is tried.
    pub fn control_name(&self) -> String {
        format!("{CONTROLLER}.{}.svc.{}.:{}", self.namespace, self.cluster_domain, self.control_address.port())
    }

    /// The tag of the proxy's image, as far as it has one.
    pub(crate) fn proxy_version(&self) -> &str {
        version_of(&self.proxy_image)
    }
}

/// The version of the proxies of an image: its tag, as far as it has one. A digest says which image it is, and no
/// version.
pub(crate) fn version_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    name.split_once(':').map_or(env!("CARGO_PKG_VERSION"), |(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_version_and_nothing_else_is() {
        const OWN: &str = env!("CARGO_PKG_VERSION");
        for (image, version) in [
            ("weft/proxy:1.2", "1.2"),
            ("registry.example:5000/weft/proxy:1.2-fips", "1.2-fips"),
            ("registry.example:5000/weft/proxy", OWN),
            ("weft/proxy@sha256:0123abcd", OWN),
            ("registry.example:5000/weft/proxy:1.2@sha256:0123abcd", "1.2"),
        ] {
            assert_eq!(version_of(image), version, "{image}");
        }
    }
}
