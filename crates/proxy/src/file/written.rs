//! What a records file says, word for word. Names, addresses and patterns are still texts here, so
//! that whoever reads them can name the field that is wrong. docs/records-file.md describes all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) workload: String,
    pub(super) identity: String,
    pub(super) certificate: Certificate,
    pub(super) trust: Trust,
    #[serde(default)]
    pub(super) addresses: Vec<String>,
    #[serde(default)]
    pub(super) outbound: Vec<Outbound>,
    pub(super) mesh: Option<String>,
    pub(super) admin: Option<String>,
    #[serde(default)]
    pub(super) published: Vec<Published>,
    #[serde(default)]
    pub(super) programs: BTreeMap<u16, String>,
    pub(super) access_log: Option<PathBuf>,
    pub(super) inbound: Option<Inbound>,
    #[serde(default)]
    pub(super) destinations: Vec<Destination>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trust {
    pub(super) domain: Option<String>,
    pub(super) anchors: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outbound {
    pub(super) listen: String,
    pub(super) destination: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Published {
    pub(super) listen: String,
    pub(super) port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Inbound {
    pub(super) service: Option<String>,
    #[serde(default)]
    pub(super) ports: Vec<WorkloadPort>,
    pub(super) peer_authentication: Option<PeerAuthentication>,
    #[serde(default)]
    pub(super) policies: Vec<Policy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkloadPort {
    pub(super) port: u16,
    pub(super) name: Option<String>,
    pub(super) protocol: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerAuthentication {
    pub(super) mode: String,
    #[serde(default)]
    pub(super) ports: BTreeMap<u16, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) action: String,
    #[serde(default)]
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(default)]
    pub(super) from: Vec<Source>,
    #[serde(default)]
    pub(super) to: Vec<Operation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Source {
    pub(super) principals: Vec<String>,
    pub(super) not_principals: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) not_namespaces: Vec<String>,
    pub(super) ip_blocks: Vec<String>,
    pub(super) not_ip_blocks: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Operation {
    pub(super) hosts: Vec<String>,
    pub(super) not_hosts: Vec<String>,
    pub(super) ports: Vec<u16>,
    pub(super) not_ports: Vec<u16>,
    pub(super) methods: Vec<String>,
    pub(super) not_methods: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) not_paths: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) addresses: Vec<String>,
    #[serde(default)]
    pub(super) ports: Vec<ServicePort>,
    pub(super) endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServicePort {
    pub(super) port: u16,
    pub(super) target: Option<u16>,
    pub(super) protocol: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) workload: String,
    pub(super) address: String,
    pub(super) identity: String,
    pub(super) tunnel: Tunnel,
    pub(super) weight: Option<u32>,
}

/// No default: a tunnel that was forgotten must not become a plain connection.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tunnel {
    Mesh(String),
    Hbone(String),
    Plain,
}
