//! What was seen of a cluster at one moment, and what the user asked to be checked.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::Value;

use crate::client::ClientError;
use crate::install::{Setting, Values};
use crate::names::VALUES_CONFIG;
use crate::pods::is_ready;

/// Which checks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Before an installation.
    Pre,
    /// The resource definitions alone.
    Definitions,
    /// The installation.
    Installed,
    /// The installation and the proxies.
    Proxies,
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which checks run.
    pub scope: Scope,
    /// The only namespace whose pods count.
    pub namespace: Option<String>,
    /// The version that everything should have, in place of the command line's own.
    pub expected_version: Option<String>,
}

/// Something that was asked for, or why it isn't known.
pub type Seen<T> = Result<T, Unseen>;

/// Why something isn't known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// It isn't there.
    #[error("it is missing")]
    Absent,
    /// Who asks may not see it.
    #[error("{0}")]
    Forbidden(String),
    /// The API server didn't tell.
    #[error("{0}")]
    Failed(String),
    /// It wasn't asked for.
    #[error("it wasn't looked at")]
    NotAsked,
}

impl From<ClientError> for Unseen {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Forbidden { .. } => Self::Forbidden(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Whether who asks may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// The verb.
    pub verb: &'static str,
    /// The resource, in the plural.
    pub resource: &'static str,
    /// Its API group.
    pub group: &'static str,
    /// Whether it is asked about Weft's namespace, or the whole cluster.
    pub in_namespace: bool,
    /// The answer.
    pub allowed: Seen<bool>,
}

/// What became of a pod that was made only to be refused or forgotten (a dry run).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// The API server reached the injector, and the pod came back with a proxy.
    Injected,
    /// The pod came back without a proxy.
    NotInjected,
    /// The API server couldn't reach the injector, in its words.
    Failed(String),
    /// It can't be told, and why.
    Unknown(String),
}

/// A cluster at one moment.
#[derive(Debug, Clone)]
pub struct Observed {
    /// This machine's clock, seconds since the Unix epoch.
    pub now: i64,
    /// The command line's version.
    pub version: String,
    /// Weft's namespace.
    pub namespace: String,
    /// Whether there is a way to the API server; its version, as `(major, minor)`.
    pub api: Seen<(u32, u32)>,
    /// The API server's clock.
    pub server_now: Option<i64>,
    /// The nodes.
    pub nodes: Seen<Vec<Node>>,
    /// The nodes' leases, renewed every few seconds.
    pub leases: Seen<Vec<Lease>>,
    /// What who asks may do.
    pub rights: Vec<Right>,
    /// Weft's namespace itself.
    pub own_namespace: Seen<Namespace>,
    /// The resource definitions, as [`crate::crds::DEFINITIONS`] orders them.
    pub definitions: Vec<Seen<Value>>,
    /// What an installation makes, and what there is under each name.
    pub objects: Vec<(Value, Seen<Value>)>,
    /// The install values.
    pub values: Seen<ConfigMap>,
    /// The trust anchors.
    pub anchors: Seen<ConfigMap>,
    /// The issuer.
    pub issuer: Seen<Secret>,
    /// The webhooks' certificate.
    pub webhook_certificate: Seen<Secret>,
    /// The controller's Deployment.
    pub deployment: Seen<Deployment>,
    /// The controller's pods.
    pub controllers: Seen<Vec<Pod>>,
    /// What the controller itself says is wrong, a line for each.
    pub problems: Seen<Vec<String>>,
    /// Pods of whose proxies it hears nothing, as `namespace/name`.
    pub unheard: Seen<Vec<String>>,
    /// Whether the API server reaches the injector.
    pub reach: Reach,
    /// All namespaces.
    pub namespaces: Seen<Vec<Namespace>>,
    /// The pods of the namespaces that are asked about.
    pub pods: Seen<Vec<Pod>>,
    /// The Services of the namespaces that are asked about.
    pub services: Seen<Vec<Service>>,
    /// Their network policies, and those of Weft's namespace.
    pub network_policies: Seen<Vec<NetworkPolicy>>,
}

impl Observed {
    /// Nothing seen yet.
    pub fn nothing(namespace: &str, now: i64) -> Self {
        Self {
            now,
            version: crate::install::VERSION.to_owned(),
            namespace: namespace.to_owned(),
            api: Err(Unseen::NotAsked),
            server_now: None,
            nodes: Err(Unseen::NotAsked),
            leases: Err(Unseen::NotAsked),
            rights: Vec::new(),
            own_namespace: Err(Unseen::NotAsked),
            definitions: Vec::new(),
            objects: Vec::new(),
            values: Err(Unseen::NotAsked),
            anchors: Err(Unseen::NotAsked),
            issuer: Err(Unseen::NotAsked),
            webhook_certificate: Err(Unseen::NotAsked),
            deployment: Err(Unseen::NotAsked),
            controllers: Err(Unseen::NotAsked),
            problems: Err(Unseen::NotAsked),
            unheard: Err(Unseen::NotAsked),
            reach: Reach::Unknown(Unseen::NotAsked.to_string()),
            namespaces: Err(Unseen::NotAsked),
            pods: Err(Unseen::NotAsked),
            services: Err(Unseen::NotAsked),
            network_policies: Err(Unseen::NotAsked),
        }
    }

    /// Whether there is a controller that can be asked.
    pub fn runs(&self) -> bool {
        self.controllers.iter().flatten().any(is_ready)
    }

    /// The values that are installed, else the defaults.
    pub(super) fn installed_values(&self) -> Values {
        let text = self.values.as_ref().ok().and_then(|config| config.data.as_ref()?.get("values.yaml"));
        let setting = |text: &String| Setting::File { name: VALUES_CONFIG.to_owned(), text: text.clone() };
        text.and_then(|text| Values::of(&[setting(text)]).ok()).unwrap_or_default()
    }

    /// The API server's clock, else this machine's.
    pub(super) fn clock(&self) -> i64 {
        self.server_now.unwrap_or(self.now)
    }
}
