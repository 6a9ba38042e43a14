//! Makes the cluster of a plan in the API server, by the ways that users' objects take: pods of the mesh
//! are injected by the controller's own webhook. There are no nodes: what kubelets and the controller
//! manager would write is written here.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::time::sleep;
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};
use weft_proxy::config::{ControlAddress, ControlConfig, NetworkControl};

use crate::api::{Api, Failure, Outcome, all};
use crate::controller::write;
use crate::fleet::Member;
use crate::objects::{self, Object};
use crate::plan::{Plan, Pod};

/// A cluster that was made.
pub(crate) struct Cluster {
    pub(crate) api: Api,
    pub(crate) plan: Plan,
    /// The ClusterIP of each Service.
    service_ips: Vec<IpAddr>,
    /// The uid of each pod that has a proxy.
    uids: Vec<String>,
}

impl Cluster {
    /// Makes everything; the controller must run.
    pub(crate) async fn make(api: Api, plan: Plan) -> Outcome<Self> {
        webhooks_are_ready(&api).await?;
        api.create(&objects::mesh_wide("PERMISSIVE")).await?;
        create(&api, objects::namespaces(plan)).await?;
        create(&api, objects::accounts(plan)).await?;
        create(&api, objects::policies(plan)).await?;
        let services = create(&api, (0..plan.services).map(|service| objects::service(plan, service))).await?;
        let service_ips = services.iter().map(cluster_ip).collect::<Outcome<Vec<IpAddr>>>()?;
        let pods = all(plan.all_pods().map(|pod| start_pod(&api, plan, pod))).await?;
        let slice = |service: usize| objects::slice(plan, service, &plan.pods_of(service).collect::<Vec<_>>());
        create(&api, (0..plan.services).map(slice)).await?;
        let uids = pods.into_iter().take(plan.proxies).collect();
        Ok(Self { api, plan, service_ips, uids })
    }

    /// The proxies of the mesh's pods, each with the token of its pod.
    pub(crate) async fn members(&self, folder: &Path) -> Outcome<Vec<Member>> {
        let anchors = anchors(&self.api).await?;
        let members = (0..self.plan.proxies).map(|proxy| self.member(proxy, folder, &anchors));
        all(members).await
    }

    async fn member(&self, proxy: usize, folder: &Path, anchors: &[Vec<u8>]) -> Outcome<Member> {
        let (plan, pod) = (self.plan, Pod { index: proxy, generation: 0 });
        let (home, account, name) = (plan.home_of(plan.service_of(pod)), plan.account_of(pod), plan.pod_name(pod));
        let token_file = folder.join(format!("token-{proxy}"));
        write(&token_file, &token(&self.api, (&home, &account), (&name, &self.uids[proxy])).await?)?;
        let (name_of, domain) = (|error: weft_mesh::NameError| Failure::new("a name", error), TrustDomain::default());
        // Whoever connects to an address of this machine comes from it, too: so the proxy comes from its
        // pod's own, and the controller, which listens on all, answers there.
        let network = NetworkControl {
            address: (pod.address(), CONTROL_PORT).into(),
            name: None,
            identity: SpiffeId::new(&domain, "weft", "weft-controller").map_err(name_of)?,
            trust: Trust { domain: domain.clone(), anchors: anchors.to_vec(), ..Trust::default() },
            token_file,
        };
        let control = ControlConfig {
            address: ControlAddress::Network(network),
            workload: WorkloadId::new(&home, &name).map_err(name_of)?,
            identity: SpiffeId::new(&domain, &home, &account).map_err(name_of)?,
        };
        Ok(Member { control, calls: plan.called_by(proxy).map(|service| self.service_ips[service]).collect() })
    }

    /// Says who serves a Service.
    pub(crate) async fn patch_endpoints(&self, service: usize, pods: &[Pod], unready: Option<Pod>) -> Outcome<Value> {
        let home = self.plan.home_of(service);
        let name = objects::slice_name(self.plan, service);
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{home}/endpointslices/{name}");
        let body = json!({"endpoints": objects::endpoints(self.plan, service, pods, unready)});
        self.api.patch(&path, &body).await
    }

    pub(crate) async fn patch_policy(&self, namespace: usize, edition: usize) -> Outcome<Value> {
        let path = format!("{}/every-pod", objects::policy_collection(self.plan, namespace));
        self.api.patch(&path, &json!({"spec": objects::denial(edition)})).await
    }

    pub(crate) async fn patch_mesh_wide(&self, mode: &str) -> Outcome<Value> {
        let Object { collection, body } = objects::mesh_wide(mode);
        self.api.patch(&format!("{collection}/default"), &json!({"spec": body["spec"]})).await
    }

    pub(crate) async fn start(&self, pod: Pod) -> Outcome<String> {
        start_pod(&self.api, self.plan, pod).await
    }

    pub(crate) async fn delete(&self, pod: Pod) -> Outcome<Value> {
        self.api.delete(&pod_path(self.plan, pod)).await
    }
}

/// A token of a pod's account that is good as long as the pod is there, and for the controller alone.
pub(crate) async fn token(api: &Api, (home, account): (&str, &str), (pod, uid): (&str, &str)) -> Outcome<String> {
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid});
    let request = Object {
        collection: format!("/api/v1/namespaces/{home}/serviceaccounts/{account}/token"),
        body: json!({"spec": {"audiences": ["weft.io"], "expirationSeconds": 86_400, "boundObjectRef": bound}}),
    };
    let answer = api.create(&request).await?;
    Ok(answer["status"]["token"].as_str().unwrap_or_default().to_owned())
}

/// Makes a pod and says that it runs. Returns its uid.
async fn start_pod(api: &Api, plan: Plan, pod: Pod) -> Outcome<String> {
    let made = api.create(&objects::pod(plan, pod)).await?;
    let sidecars = made["spec"]["initContainers"].as_array();
    let is_injected = sidecars.into_iter().flatten().any(|container| container["name"] == "weft-proxy");
    if is_injected != plan.has_proxy(pod) {
        let found = if is_injected { "a proxy in a pod outside the mesh" } else { "no proxy in a pod of the mesh" };
        return Err(Failure::new(plan.pod_name(pod), found));
    }
    let sidecars: &[&str] = if is_injected { &["weft-proxy"] } else { &[] };
    api.patch(&format!("{}/status", pod_path(plan, pod)), &objects::running(pod, sidecars)).await?;
    Ok(made["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

fn pod_path(plan: Plan, pod: Pod) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", plan.home_of(plan.service_of(pod)), plan.pod_name(pod))
}

async fn create(api: &Api, objects: impl Iterator<Item = Object>) -> Outcome<Vec<Value>> {
    all(objects.map(|object| async move { api.create(&object).await })).await
}

fn cluster_ip(service: &Value) -> Outcome<IpAddr> {
    let text = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    text.parse().map_err(|error| Failure::new("a ClusterIP", error))
}

/// The controller fills in its certificate's authority when it can serve.
async fn webhooks_are_ready(api: &Api) -> Outcome<()> {
    let kinds = ["mutatingwebhookconfigurations/weft-injector", "validatingwebhookconfigurations/weft-validator"];
    for kind in kinds {
        for _ in 0..WEBHOOK_LOOKS {
            let found = api.get(&format!("/apis/admissionregistration.k8s.io/v1/{kind}")).await?;
            let mut all = found["webhooks"].as_array().into_iter().flatten();
            if all.all(|webhook| webhook["clientConfig"]["caBundle"].as_str().is_some_and(|pem| !pem.is_empty())) {
                break;
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// The mesh's roots.
async fn anchors(api: &Api) -> Outcome<Vec<Vec<u8>>> {
    let found = api.get("/api/v1/namespaces/weft/configmaps/weft-anchors").await?;
    let pem = found["data"]["ca.crt"].as_str().unwrap_or_default();
    let anchors = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|der| der.map(|der| der.to_vec()));
    anchors.collect::<Result<_, _>>().map_err(|error| Failure::new("the mesh's anchors", error))
}

const CONTROL_PORT: u16 = 15012;
const WEBHOOK_LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
