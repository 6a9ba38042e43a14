//! What governs a cluster's pods, worked out of what the API server says with the rights of who asks:
//! the same records that the controller makes. The controller isn't asked.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use weft_compile::{PolicySet, Settings, Workload};
use weft_mesh::record::Inbound;
use weft_mesh::{SpiffeId, TrustDomain};
use weft_resources::{Problem, Severity};

use crate::client::{ClientError, failed};
use crate::install::{Setting, Values};
use crate::model::policy::{Policy, PolicyKind};
use crate::model::{self, Cluster, Defaults, Event, Name};
use crate::names::VALUES_CONFIG;

/// Which pods of a namespace are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pods {
    /// The one of this name.
    Named(String),
    /// Those that a resource of this kind and name made.
    Of {
        /// The kind, such as `Deployment`.
        kind: String,
        /// The name.
        name: String,
    },
    /// Those that a Service of this name leads to.
    Behind(String),
    /// Those that have all these labels.
    Labelled(BTreeMap<String, String>),
}

/// A cluster's mesh, as far as a question about some namespaces needs it.
#[derive(Debug)]
pub struct View {
    cluster: Cluster,
    settings: Settings,
}

impl View {
    /// Reads what governs the pods of `namespace`: its pods, Services and policies, and the policies of
    /// the whole mesh. `weft` is the control plane's namespace.
    ///
    /// # Errors
    /// When the API server refuses or doesn't answer.
    pub async fn read(client: &Client, weft: &str, namespace: &str) -> Result<Self, ClientError> {
        let values = values(client, weft).await?;
        let mut view = Self::of(values);
        let all = ListParams::default();
        let own = Api::<Namespace>::all(client.clone()).get_opt(namespace).await;
        if let Some(own) = own.map_err(|error| failed(&format!("read the namespace {namespace}"), &error))? {
            view.cluster.apply(Event::Namespace(name(&own), Some(model::namespace::Namespace::read(&own))));
        }
        view.read_pods(client, namespace).await?;
        for service in list::<Service>(client, namespace, &all).await? {
            view.cluster.apply(Event::Service(name(&service), Some(model::service::Service::read(&service))));
        }
        for slice in list::<EndpointSlice>(client, namespace, &all).await? {
            view.cluster.apply(Event::Slice(name(&slice), model::slice::Slice::read(&slice)));
        }
        let root = view.settings.root_namespace.clone();
        for place in [root.as_str(), namespace] {
            view.read_policies(client, place).await?;
        }
        Ok(view)
    }

    /// Reads the pods of another namespace, for [`Self::identities`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_pods(&mut self, client: &Client, namespace: &str) -> Result<(), ClientError> {
        for pod in list::<Pod>(client, namespace, &ListParams::default()).await? {
            self.cluster.apply(Event::Pod(name(&pod), Some(Box::new(model::pod::Pod::read(&pod)))));
        }
        Ok(())
    }

    /// The inbound records of the pods that are meant, and what is wrong with the policies.
    pub fn inbounds(&self, namespace: &str, pods: &Pods) -> (Vec<Inbound>, Vec<String>) {
        let (resources, mut problems) = self.cluster.resources();
        let (set, more) = PolicySet::new(&self.settings, &resources);
        problems.extend(more);
        let services = self.services(namespace);
        let inbound = |workload: &Workload| {
            let leads = |service: &&weft_compile::Service| {
                service.endpoints.iter().any(|endpoint| endpoint.workload.as_ref() == Some(&workload.id))
            };
            weft_compile::inbound(&set, workload, &services.iter().filter(leads).collect::<Vec<_>>())
        };
        let records = self.meant(namespace, pods).iter().map(inbound).collect();
        let matters = |problem: &&Problem| problem.severity > Severity::Info;
        (records, problems.iter().filter(matters).map(ToString::to_string).collect())
    }

    /// Who the pods that are meant are; several, where they differ, and none where there are none.
    pub fn identities(&self, namespace: &str, pods: &Pods) -> Vec<SpiffeId> {
        let mut found: Vec<_> = self.meant(namespace, pods).into_iter().map(|workload| workload.identity).collect();
        found.sort();
        found.dedup();
        found
    }

    /// The mesh's trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.settings.trust_domain
    }

    fn of(values: Values) -> Self {
        // Values were checked; the defaults are good.
        let trust_domain: TrustDomain = values.trust_domain.parse().unwrap_or_default();
        let settings = Settings {
            trust_domain: trust_domain.clone(),
            dns_suffix: values.cluster_domain.clone(),
            ..Settings::default()
        };
        let inbound = Some(values.default_inbound_policy);
        let cluster = Cluster::new(Defaults { trust_domain, inbound });
        Self { cluster, settings }
    }

    async fn read_policies(&mut self, client: &Client, namespace: &str) -> Result<(), ClientError> {
        for kind in PolicyKind::ALL {
            for object in policies(client, kind, namespace).await? {
                self.cluster.apply(Event::Policy(kind, name(&object), Some(Policy::read(kind, &object))));
            }
        }
        Ok(())
    }

    fn services(&self, namespace: &str) -> Vec<weft_compile::Service> {
        let names = self.cluster.service_names().filter(|name| name.namespace == namespace);
        names.filter_map(|name| self.cluster.service(name)).collect()
    }

    fn meant(&self, namespace: &str, pods: &Pods) -> Vec<Workload> {
        let behind: Vec<_> = match pods {
            Pods::Behind(service) => {
                let service = self.cluster.service(&Name::new(namespace, service));
                service.into_iter().flat_map(|service| service.endpoints).filter_map(|e| e.workload).collect()
            }
            _ => Vec::new(),
        };
        let is_meant = |workload: &Workload| match pods {
            Pods::Named(name) => workload.id.name() == name,
            Pods::Of { kind, name } => {
                workload.owner.as_ref().is_some_and(|owner| owner.kind == *kind && owner.name == *name)
            }
            Pods::Behind(_) => behind.contains(&workload.id),
            Pods::Labelled(labels) => labels.iter().all(|(key, value)| workload.labels.get(key) == Some(value)),
        };
        let mut ids: Vec<_> = self.cluster.pod_ids().filter(|id| id.namespace() == namespace).collect();
        ids.sort();
        ids.into_iter().filter_map(|id| self.cluster.workload(id)).filter(is_meant).collect()
    }
}

/// The values of the installation; the defaults where they can't be read.
async fn values(client: &Client, weft: &str) -> Result<Values, ClientError> {
    let config = Api::<ConfigMap>::namespaced(client.clone(), weft).get_opt(VALUES_CONFIG).await;
    let config = match config {
        Ok(config) => config,
        Err(kube::Error::Api(status)) if status.is_forbidden() => None,
        Err(error) => return Err(failed("read the installation's values", &error)),
    };
    let text = config.and_then(|config| config.data?.remove("values.yaml"));
    let setting = text.map(|text| Setting::File { name: VALUES_CONFIG.to_owned(), text });
    Ok(Values::of(setting.as_slice()).unwrap_or_default())
}

async fn list<K>(client: &Client, namespace: &str, params: &ListParams) -> Result<Vec<K>, ClientError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let found = Api::<K>::namespaced(client.clone(), namespace).list(params).await;
    let found = found.map_err(|error| failed(&format!("list {} of {namespace}", K::plural(&())), &error))?;
    Ok(found.items)
}

async fn policies(client: &Client, kind: PolicyKind, namespace: &str) -> Result<Vec<DynamicObject>, ClientError> {
    for version in PolicyKind::VERSIONS {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource(version));
        match api.list(&ListParams::default()).await {
            Ok(found) => return Ok(found.items),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(failed(&format!("list {} of {namespace}", kind.as_str()), &error)),
        }
    }
    Ok(Vec::new())
}

fn name(object: &impl ResourceExt) -> Name {
    Name { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}
