//! What governs a cluster's pods, worked out of what the API server says with the rights of who asks:
//! the same records that the controller makes. The controller isn't asked.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use weft_compile::{PolicySet, Proxy, Settings, Workload};
use weft_mesh::record::Inbound;
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};
use weft_resources::{Problem, Severity};

use crate::client::{ClientError, failed};
use crate::fetch::is_unknown;
use crate::install::{Setting, Values};
use crate::model::policy::{Policy, PolicyKind};
use crate::model::{self, Cluster, Defaults, Event, Name};
use crate::names::{INIT_CONTAINER, VALUES_CONFIG};
use crate::ports::PortList;

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
    /// Why the answer may be another than the mesh's.
    doubt: Option<String>,
    /// With which arguments each pod's `weft-init` redirects.
    captures: BTreeMap<WorkloadId, Vec<String>>,
}

impl View {
    /// Reads what governs the pods of `namespace`: its pods, Services and policies, and the policies of
    /// the whole mesh. `weft` is the control plane's namespace.
    ///
    /// # Errors
    /// When the API server refuses or doesn't answer.
    pub async fn read(client: &Client, weft: &str, namespace: &str) -> Result<Self, ClientError> {
        let mut view = match values(client, weft).await? {
            Ok(values) => Self::of(values),
            Err(why) => Self { doubt: Some(doubt(&why)), ..Self::of(Values::default()) },
        };
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
            self.captures.extend(capture(&pod));
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
            let services: Vec<_> = services.iter().filter(leads).collect();
            enforced(workload, weft_compile::inbound(&set, workload, &services))
        };
        let meant = self.meant(namespace, pods);
        let unguarded = meant.iter().filter(|workload| workload.proxy == Proxy::Absent).map(unguarded);
        let matters = |problem: &&Problem| problem.severity > Severity::Info;
        let problems = problems.iter().filter(matters).map(ToString::to_string);
        (meant.iter().map(inbound).collect(), self.doubt.iter().cloned().chain(unguarded).chain(problems).collect())
    }

    /// Who the pods that are meant are, to those whom they call: nobody, without a proxy. Several, where they
    /// differ, and none where there are none.
    pub fn identities(&self, namespace: &str, pods: &Pods) -> Vec<Option<SpiffeId>> {
        let identity = |workload: Workload| (workload.proxy != Proxy::Absent).then_some(workload.identity);
        let mut found: Vec<_> = self.meant(namespace, pods).into_iter().map(identity).collect();
        found.sort();
        found.dedup();
        found
    }

    /// The addresses of the pods that are meant.
    pub fn addresses(&self, namespace: &str, pods: &Pods) -> Vec<IpAddr> {
        self.meant(namespace, pods).into_iter().flat_map(|workload| workload.addresses).collect()
    }

    /// The first of the pods that are meant at which callers without a proxy reach this port past the pod's own.
    pub fn reached_directly(&self, namespace: &str, pods: &Pods, port: u16) -> Option<WorkloadId> {
        let is_direct = |workload: &Workload| {
            let arguments = self.captures.get(&workload.id).map(Vec::as_slice).unwrap_or_default();
            let ports = |flag: &str| {
                let at = arguments.iter().position(|argument| argument == flag)?;
                arguments.get(at + 1)?.parse::<PortList>().ok()
            };
            ports("--skip-inbound-ports").is_some_and(|skipped| skipped.contains(port))
                || ports("--only-inbound-ports").is_some_and(|only| !only.contains(port))
        };
        self.meant(namespace, pods).into_iter().find(is_direct).map(|workload| workload.id)
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
        Self { cluster, settings, doubt: None, captures: BTreeMap::new() }
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

fn capture(pod: &Pod) -> Option<(WorkloadId, Vec<String>)> {
    let id = WorkloadId::new(&pod.namespace()?, &pod.name_any()).ok()?;
    let init = pod.spec.as_ref()?.init_containers.iter().flatten().find(|it| it.name == INIT_CONTAINER)?;
    Some((id, init.args.clone()?))
}

/// What holds at a workload: nothing where no proxy holds it.
fn enforced(workload: &Workload, inbound: Inbound) -> Inbound {
    match workload.proxy {
        Proxy::Absent => Inbound { peer_authentication: Default::default(), policies: Vec::new(), ..inbound },
        _ => inbound,
    }
}

fn unguarded(workload: &Workload) -> String {
    format!("warning: {} has no proxy: nothing is enforced there, whatever policies say", workload.id)
}

/// The values of the installation, or why they can't be known.
async fn values(client: &Client, weft: &str) -> Result<Result<Values, String>, ClientError> {
    let config = match Api::<ConfigMap>::namespaced(client.clone(), weft).get_opt(VALUES_CONFIG).await {
        Ok(config) => config,
        Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(Err(status.message)),
        Err(error) => return Err(failed("read the installation's values", &error)),
    };
    let Some(text) = config.and_then(|config| config.data?.remove("values.yaml")) else {
        return Ok(Err(format!("there is none in the namespace {weft}")));
    };
    let read = Values::of(&[Setting::File { name: VALUES_CONFIG.to_owned(), text }]);
    Ok(read.map_err(|error| error.to_string()))
}

/// What an answer without the installation's values rests on.
fn doubt(why: &str) -> String {
    let Values { trust_domain, default_inbound_policy, .. } = Values::default();
    format!(
        "warning: the config map {VALUES_CONFIG} can't be read ({why}): taken for granted are trustDomain \
         {trust_domain} and defaultInboundPolicy {default_inbound_policy}"
    )
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
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(failed(&format!("list {} of {namespace}", kind.as_str()), &error)),
        }
    }
    Ok(Vec::new())
}

fn name(object: &impl ResourceExt) -> Name {
    Name { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(view: &mut View, name: &str, init: Value) {
        let pod = json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
            "spec": {"serviceAccountName": name, "containers": [], "initContainers": init},
            "status": {"phase": "Running", "podIPs": [{"ip": format!("10.1.0.{}", name.len())}],
                "initContainerStatuses": [{"name": "weft-proxy", "started": true, "ready": true, "restartCount": 0, "image": "", "imageID": ""}]},
        });
        let pod = model::pod::Pod::read(&serde_json::from_value(pod).unwrap());
        view.cluster.apply(Event::Pod(Name::new("shop", name), Some(Box::new(pod))));
    }

    /// Where no proxy stands nothing is enforced, and nobody proves anything.
    #[test]
    fn pods_without_a_proxy_neither_enforce_nor_prove() {
        let mut view = View::of(Values::default());
        pod(&mut view, "web", json!([{"name": "weft-proxy"}]));
        pod(&mut view, "plain", json!([]));
        let kind = PolicyKind::AuthorizationPolicy;
        let object = json!({"apiVersion": "security.istio.io/v1", "kind": kind.as_str(),
            "metadata": {"name": "p", "namespace": "shop"}, "spec": {"action": "DENY", "rules": [{}]}});
        let policy = Policy::read(kind, &serde_json::from_value(object).unwrap());
        view.cluster.apply(Event::Policy(kind, Name::new("shop", "p"), Some(policy)));
        let of = |name: &str| view.inbounds("shop", &Pods::Named(name.to_owned()));
        let (records, problems) = of("web");
        assert_eq!((records[0].policies.len(), problems.len()), (1, 0));
        let (records, problems) = of("plain");
        assert_eq!((records[0].policies.len(), problems.len()), (0, 1));
        assert!(problems[0].contains("shop/plain has no proxy"), "{problems:?}");
        let identity = |name: &str| view.identities("shop", &Pods::Named(name.to_owned()));
        assert_eq!(identity("web"), ["spiffe://cluster.local/ns/shop/sa/web".parse().ok()]);
        assert_eq!(identity("plain"), [None]);
        assert_eq!(view.addresses("shop", &Pods::Named("web".to_owned())), [IpAddr::from([10, 1, 0, 3])]);
    }

    #[test]
    fn ports_that_are_not_redirected_are_told() {
        let mut view = View::of(Values::default());
        pod(&mut view, "web", json!([{"name": "weft-proxy"}]));
        let web: WorkloadId = "shop/web".parse().unwrap();
        let mut direct = |arguments: &[&str], port| {
            view.captures.insert(web.clone(), arguments.iter().map(|it| (*it).to_owned()).collect());
            view.reached_directly("shop", &Pods::Named("web".to_owned()), port).is_some()
        };
        assert!(!direct(&["--inbound-port", "15006"], 80));
        let skipped = ["--skip-inbound-ports", "80-90"];
        assert!(direct(&skipped, 80) && !direct(&skipped, 91));
        let only = ["--only-inbound-ports", "80"];
        assert!(direct(&only, 81) && !direct(&only, 80));
    }

    #[test]
    fn what_is_taken_for_granted_is_told() {
        let view = View { doubt: Some(doubt("forbidden")), ..View::of(Values::default()) };
        let (_, problems) = view.inbounds("shop", &Pods::Named("web".to_owned()));
        assert!(
            problems[0].ends_with("trustDomain cluster.local and defaultInboundPolicy all-unauthenticated"),
            "{problems:?}"
        );
    }
}
