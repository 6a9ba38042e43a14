//! How one pod is injected: what its annotations, and its namespace's, come to.

use std::collections::BTreeMap;

use super::subnet::Subnet;
use crate::ports::PortList;

/// A pod's settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// What is redirected.
    pub capture: Capture,
    /// The proxy's user [default: 2102].
    pub uid: Option<u32>,
    /// The proxy's group [default: 2102].
    pub gid: Option<u32>,
    /// The image, without its tag where `tag` has one.
    pub image: Option<String>,
    /// The image's tag.
    pub tag: Option<String>,
    /// When the image is pulled.
    pub pull_policy: Option<String>,
    /// What the proxy logs: `error`, `warn`, `info` or `debug`.
    pub log_level: Option<String>,
    /// Requests that differ from the cluster's, by resource.
    pub requests: BTreeMap<String, String>,
    /// Limits, by resource.
    pub limits: BTreeMap<String, String>,
    /// Whether probes are left as they are.
    pub probes: Keep,
    /// Whether the annotations for Prometheus are left as they are.
    pub scrapes: Keep,
    /// Annotations of the namespace that the pod gets, since others read them there.
    pub inherited: BTreeMap<String, String>,
    /// What is written but has no effect, each with its reason.
    pub remarks: Vec<String>,
}

/// How a pod is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Usual,
    /// `linkerd.io/inject: ingress`.
    Ingress,
}

/// Whether something is rewritten so that it works beside the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Rewritten.
    #[default]
    Rewrite,
    /// Left as it is, since the user said so.
    AsIs,
}

/// Which of a pod's TCP connections go through the proxy; all, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capture {
    /// Ports of the pod whose callers reach the program directly.
    pub skip_inbound_ports: PortList,
    /// Only these ports of the pod are redirected.
    pub only_inbound_ports: Option<PortList>,
    /// Callers from here reach the program directly.
    pub skip_inbound_subnets: Vec<Subnet>,
    /// Calls to these ports go out directly.
    pub skip_outbound_ports: PortList,
    /// Calls to these addresses go out directly.
    pub skip_outbound_subnets: Vec<Subnet>,
    /// Only calls to these addresses are redirected.
    pub only_outbound_subnets: Option<Vec<Subnet>>,
}

impl Capture {
    /// The arguments by which `weft-init` learns of this.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let ports = |flag: &str, ports: &PortList| {
            if ports.is_empty() { Vec::new() } else { vec![flag.to_owned(), ports.to_string()] }
        };
        let subnets = |flag: &str, subnets: &[Subnet]| {
            let list = subnets.iter().map(Subnet::to_string).collect::<Vec<_>>().join(",");
            if list.is_empty() { Vec::new() } else { vec![flag.to_owned(), list] }
        };
        let skip_inbound = none_of(self.only_inbound_ports.as_ref().map(PortList::is_empty), &self.skip_inbound_ports);
        let skip_outbound = none_of(self.only_outbound_subnets.as_ref().map(Vec::is_empty), &self.skip_outbound_ports);
        let mut arguments = ports("--skip-inbound-ports", &skip_inbound);
        arguments.extend(self.only_inbound_ports.iter().flat_map(|only| ports("--only-inbound-ports", only)));
        arguments.extend(subnets("--skip-inbound-subnets", &self.skip_inbound_subnets));
        arguments.extend(ports("--skip-outbound-ports", &skip_outbound));
        arguments.extend(self.only_outbound_subnets.iter().flat_map(|only| subnets("--only-outbound-subnets", only)));
        arguments.extend(subnets("--skip-outbound-subnets", &self.skip_outbound_subnets));
        arguments
    }
}

/// The ports to skip: all, where the list of what alone is redirected is there and empty.
fn none_of(only_is_empty: Option<bool>, skipped: &PortList) -> PortList {
    if only_is_empty == Some(true) { PortList::all() } else { skipped.clone() }
}
