//! Arguments of the controller, whose command line a Deployment writes.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use weft_compile::DefaultInbound;
use weft_kube::inject::Resources;
use weft_mesh::TrustDomain;

/// `weft controller`.
#[derive(Debug, Args)]
pub(crate) struct ControllerArgs {
    /// The namespace of the control plane.
    #[arg(long, env = "WEFT_NAMESPACE", default_value = "weft")]
    pub(crate) namespace: String,
    /// The trust domain of the mesh's identities.
    #[arg(long, env = "WEFT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub(crate) trust_domain: TrustDomain,
    /// The domain of the cluster's names.
    #[arg(long, env = "WEFT_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// How long certificates live.
    #[arg(long, env = "WEFT_CERT_LIFETIME", value_name = "DURATION", default_value = "24h", value_parser = super::cert_lifetime)]
    pub(crate) cert_lifetime: Duration,
    /// The image of the proxies that are injected.
    #[arg(long, env = "WEFT_PROXY_IMAGE", default_value = concat!("localhost/weft/proxy:", env!("CARGO_PKG_VERSION")))]
    pub(crate) proxy_image: String,
    /// When nodes pull it.
    #[arg(long, env = "WEFT_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub(crate) image_pull_policy: String,
    /// What they ask of their nodes: a container's `resources`, in JSON.
    #[arg(long, env = "WEFT_PROXY_RESOURCES", value_name = "JSON", default_value = "{}", value_parser = Resources::parse)]
    pub(crate) proxy_resources: Resources,
    /// What they log.
    #[arg(long, env = "WEFT_PROXY_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) proxy_log: String,
    /// What the controller itself logs.
    #[arg(long, env = "WEFT_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
    /// Who may call pods that say nothing themselves.
    #[arg(long, env = "WEFT_DEFAULT_INBOUND_POLICY", default_value = "all-unauthenticated")]
    pub(crate) default_inbound_policy: DefaultInbound,
    /// Where proxies are served.
    #[arg(long, value_name = "ADDR", default_value = "[::]:15012")]
    pub(crate) proxies_address: SocketAddr,
    /// Where the command line is served: loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15013", value_parser = loopback)]
    pub(crate) command_line_address: SocketAddr,
    /// Where the webhooks are served.
    #[arg(long, value_name = "ADDR", default_value = "[::]:15017")]
    pub(crate) webhooks_address: SocketAddr,
    /// Where readiness and metrics are served.
    #[arg(long, value_name = "ADDR", default_value = "[::]:15014")]
    pub(crate) admin_address: SocketAddr,
}

/// Whoever reaches it may ask everything.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        _ => Err(format!("expected an address of loopback such as 127.0.0.1:15013, found {text:?}")),
    }
}
