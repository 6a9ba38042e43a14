use super::*;
use serde_json::{Value, json};
use weft_compile::{EndpointState, Proxy, ServiceEndpoint};
use weft_mesh::record::{AppProtocol, Undeclared};

pub(crate) fn name(text: &str) -> Name {
    let (namespace, name) = text.split_once('/').unwrap();
    Name::new(namespace, name)
}

pub(crate) fn id(text: &str) -> WorkloadId {
    text.parse().unwrap()
}

/// A meshed pod that runs at an address.
pub(crate) fn pod(uid: &str, address: &str, created: &str) -> Value {
    json!({
        "metadata": {"uid": uid, "creationTimestamp": created, "labels": {"app": "web"}},
        "spec": {"serviceAccountName": "web", "initContainers": [{"name": "weft-proxy"}],
                 "containers": [{"name": "web", "ports": [{"containerPort": 8080, "name": "http"}]}]},
        "status": {
            "phase": "Running", "podIPs": [{"ip": address}],
            "conditions": [{"type": "ContainersReady", "status": "True"}],
            "initContainerStatuses": [{"name": "weft-proxy", "started": true, "ready": true, "restartCount": 0,
                                       "image": "", "imageID": ""}],
        },
    })
}

pub(crate) fn put_pod(cluster: &mut Cluster, at: &str, pod: Value) {
    let pod = Pod::read(&serde_json::from_value(pod).unwrap());
    cluster.apply(Event::Pod(name(at), Some(Box::new(pod))));
}

fn put_service(cluster: &mut Cluster, at: &str, spec: Value) {
    let service = Service::read(&serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap());
    cluster.apply(Event::Service(name(at), Some(service)));
}

fn put_slice(cluster: &mut Cluster, at: &str, service: &str, endpoints: Value) {
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints,
    });
    let slice = Slice::read(&serde_json::from_value(slice).unwrap());
    cluster.apply(Event::Slice(name(at), slice));
}

fn endpoint(pod: &str, address: &str) -> Value {
    json!({"addresses": [address], "targetRef": {"kind": "Pod", "name": pod}})
}

fn web_service() -> Value {
    json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80, "name": "http"}]})
}

/// The Service `shop/web` with the pod `shop/a` behind it.
fn shop() -> Cluster {
    let mut cluster = Cluster::default();
    put_pod(&mut cluster, "shop/a", pod("ua", "10.1.0.1", T1));
    put_service(&mut cluster, "shop/web", web_service());
    put_slice(&mut cluster, "shop/web-1", "web", json!([endpoint("a", "10.1.0.1")]));
    cluster
}

fn called(cluster: &Cluster, service: &str) -> Vec<(Option<WorkloadId>, EndpointState)> {
    let endpoints = cluster.service(&name(service)).unwrap().endpoints;
    endpoints.into_iter().map(|ServiceEndpoint { workload, state, .. }| (workload, state)).collect()
}

const T1: &str = "2026-01-31T12:00:00Z";
const T2: &str = "2026-01-31T12:00:01Z";

#[test]
fn a_service_has_its_pods_as_endpoints() {
    let mut cluster = shop();
    let changes = cluster.changes();
    assert_eq!(changes.workloads, [id("shop/a")].into());
    assert_eq!(changes.services, [name("shop/web")].into());
    let service = cluster.service(&name("shop/web")).unwrap();
    assert_eq!((service.addresses.len(), service.undeclared), (1, Undeclared::Refuse));
    assert_eq!((service.ports[0].port, service.ports[0].protocol), (80, AppProtocol::Http));
    let endpoint = &service.endpoints[0];
    assert_eq!((endpoint.ports[0].port, endpoint.ports[0].target), (80, 8080));
    assert_eq!((endpoint.workload.clone(), endpoint.state), (Some(id("shop/a")), EndpointState::Ready));
    let workload = cluster.workload(&id("shop/a")).unwrap();
    assert_eq!(workload.identity.as_str(), "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(workload.proxy, Proxy::Port(15008));
    assert_eq!(cluster.changes(), Changes::default());
}

#[test]
fn what_is_told_again_changes_nothing() {
    let mut cluster = shop();
    cluster.changes();
    put_pod(&mut cluster, "shop/a", pod("ua", "10.1.0.1", T1));
    put_service(&mut cluster, "shop/web", web_service());
    put_slice(&mut cluster, "shop/web-1", "web", json!([endpoint("a", "10.1.0.1")]));
    assert_eq!(cluster.changes(), Changes::default());
}

#[test]
fn a_slice_before_its_pod_waits_for_it() {
    let mut cluster = Cluster::default();
    put_service(&mut cluster, "shop/web", web_service());
    put_slice(&mut cluster, "shop/web-1", "web", json!([endpoint("a", "10.1.0.1")]));
    assert_eq!(called(&cluster, "shop/web"), []);
    cluster.changes();
    put_pod(&mut cluster, "shop/a", pod("ua", "10.1.0.1", T1));
    assert_eq!(cluster.changes().services, [name("shop/web")].into());
    assert_eq!(called(&cluster, "shop/web"), [(Some(id("shop/a")), EndpointState::Ready)]);
}

#[test]
fn a_pod_that_has_gone_is_called_no_more() {
    let mut cluster = shop();
    cluster.changes();
    let mut ended = pod("ua", "10.1.0.1", T1);
    ended["status"]["phase"] = json!("Succeeded");
    put_pod(&mut cluster, "shop/a", ended);
    assert_eq!(cluster.changes().services, [name("shop/web")].into());
    assert_eq!(called(&cluster, "shop/web"), []);
    assert_eq!(cluster.workload(&id("shop/a")), None);
    cluster.apply(Event::Pod(name("shop/a"), None));
    assert_eq!(called(&cluster, "shop/web"), []);
}

#[test]
fn an_address_is_the_newer_pods() {
    let mut cluster = shop();
    cluster.changes();
    put_pod(&mut cluster, "shop/b", pod("ub", "10.1.0.1", T2));
    let changes = cluster.changes();
    assert_eq!(changes.workloads, [id("shop/a"), id("shop/b")].into());
    assert_eq!(changes.services, [name("shop/web")].into());
    assert_eq!(cluster.workload(&id("shop/a")), None);
    assert!(cluster.workload(&id("shop/b")).is_some());
    // The slice still says that it is the older one's.
    assert_eq!(called(&cluster, "shop/web"), []);
}

#[test]
fn who_is_no_pod_is_called_by_its_address() {
    let mut cluster = Cluster::default();
    put_service(&mut cluster, "default/kubernetes", web_service());
    let host = json!([{"addresses": ["192.0.2.1"]}]);
    put_slice(&mut cluster, "default/kubernetes", "kubernetes", host);
    assert_eq!(called(&cluster, "default/kubernetes"), [(None, EndpointState::Ready)]);
    // A slice written by hand may name a pod's address: then the pod is meant, with its proxy.
    cluster.changes();
    put_pod(&mut cluster, "shop/x", pod("ux", "192.0.2.1", T1));
    assert_eq!(cluster.changes().services, [name("default/kubernetes")].into());
    assert_eq!(called(&cluster, "default/kubernetes"), [(Some(id("shop/x")), EndpointState::Ready)]);
}

#[test]
fn a_pod_of_its_nodes_network_is_no_workload() {
    let mut cluster = shop();
    let mut host = pod("ua", "10.1.0.1", T1);
    host["spec"]["hostNetwork"] = json!(true);
    put_pod(&mut cluster, "shop/a", host);
    assert_eq!(cluster.workload(&id("shop/a")), None);
    assert_eq!(called(&cluster, "shop/web"), [(None, EndpointState::Ready)]);
}

#[test]
fn a_silent_node_is_not_an_unready_pod() {
    let mut cluster = shop();
    let unready = json!([{"addresses": ["10.1.0.1"], "targetRef": {"kind": "Pod", "name": "a"},
                          "conditions": {"ready": false, "serving": false}}]);
    put_slice(&mut cluster, "shop/web-1", "web", unready);
    assert_eq!(called(&cluster, "shop/web"), [(Some(id("shop/a")), EndpointState::Lost)]);
    cluster.changes();
    let mut failing = pod("ua", "10.1.0.1", T1);
    failing["status"]["conditions"] = json!([{"type": "ContainersReady", "status": "False"}]);
    put_pod(&mut cluster, "shop/a", failing);
    assert_eq!(cluster.changes().services, [name("shop/web")].into());
    assert_eq!(called(&cluster, "shop/web"), [(Some(id("shop/a")), EndpointState::Unready)]);
}

#[test]
fn a_pods_other_changes_concern_no_service() {
    let mut cluster = shop();
    cluster.changes();
    let mut labelled = pod("ua", "10.1.0.1", T1);
    labelled["metadata"]["labels"]["version"] = json!("2");
    put_pod(&mut cluster, "shop/a", labelled);
    let changes = cluster.changes();
    assert_eq!((changes.workloads.len(), changes.services.len()), (1, 0));
}

#[test]
fn several_slices_make_one_service() {
    let mut cluster = shop();
    put_pod(&mut cluster, "shop/b", pod("ub", "10.1.0.2", T1));
    put_slice(&mut cluster, "shop/web-2", "web", json!([endpoint("b", "10.1.0.2")]));
    assert_eq!(called(&cluster, "shop/web").len(), 2);
    cluster.apply(Event::Slice(name("shop/web-1"), None));
    assert_eq!(called(&cluster, "shop/web"), [(Some(id("shop/b")), EndpointState::Ready)]);
}

#[test]
fn headless_and_external_services() {
    let mut cluster = shop();
    put_service(&mut cluster, "shop/web", json!({"clusterIP": "None", "ports": [{"port": 80, "name": "http"}]}));
    let service = cluster.service(&name("shop/web")).unwrap();
    assert_eq!((service.addresses.len(), service.undeclared), (0, Undeclared::Forward));
    put_service(&mut cluster, "shop/web", json!({"type": "ExternalName", "externalName": "example.org"}));
    assert_eq!(cluster.service(&name("shop/web")), None);
}

#[test]
fn what_a_new_list_lacks_is_gone() {
    let mut cluster = shop();
    put_pod(&mut cluster, "shop/b", pod("ub", "10.1.0.2", T1));
    cluster.changes();
    cluster.apply(Event::Listed(Kind::Pod, [name("shop/b")].into()));
    let changes = cluster.changes();
    assert_eq!((changes.workloads, changes.services), ([id("shop/a")].into(), [name("shop/web")].into()));
    assert_eq!(cluster.unlisted().len(), Kind::ALL.len() - 1);
    for kind in Kind::ALL {
        cluster.apply(Event::Listed(kind, HashSet::new()));
    }
    assert_eq!(cluster.unlisted(), []);
    assert_eq!((cluster.workload(&id("shop/b")), cluster.service(&name("shop/web"))), (None, None));
}

#[test]
fn namespaces_give_what_pods_and_services_do_not_say() {
    let mut cluster = shop();
    cluster.changes();
    let mut annotate = |annotations: Value| {
        let namespace = serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap();
        cluster.apply(Event::Namespace(Name::new("", "shop"), Some(Namespace::read(&namespace))));
        (cluster.changes(), cluster.workload(&id("shop/a")).unwrap(), cluster.service(&name("shop/web")).unwrap())
    };
    let (changes, workload, service) = annotate(json!({
        "config.linkerd.io/default-inbound-policy": "dney", "config.linkerd.io/opaque-ports": "80,http,9000",
    }));
    assert_eq!((changes.workloads.len(), changes.services.len()), (1, 1));
    // What isn't understood closes.
    assert_eq!(workload.default_inbound, Some(DefaultInbound::Deny));
    let opaque = |port: u16| workload.ports.iter().find(|declared| declared.port == port).unwrap().protocol;
    assert_eq!((opaque(8080), opaque(9000)), (AppProtocol::Tcp, AppProtocol::Tcp));
    assert_eq!(service.ports[0].protocol, AppProtocol::Tcp);
    // Other annotations concern nobody's records.
    let (changes, workload, _) = annotate(json!({"a": "b"}));
    assert_eq!((changes.workloads.len(), workload.default_inbound), (1, None));
    let (changes, ..) = annotate(json!({"a": "c"}));
    assert_eq!(changes, Changes::default());
}

fn policy(kind: PolicyKind, name: &str, generation: i64, spec: Value, status: Value) -> Policy {
    let object = json!({"apiVersion": "security.istio.io/v1beta1", "kind": kind.as_str(), "spec": spec, "status": status,
        "metadata": {"name": name, "namespace": "shop", "generation": generation}});
    Policy::read(kind, &serde_json::from_value(object).unwrap())
}

#[test]
fn policies_are_read_as_the_folder_reads_them() {
    let mut cluster = Cluster::default();
    let kind = PolicyKind::AuthorizationPolicy;
    let mut put = |spec: Value, status: Value| {
        cluster.apply(Event::Policy(kind, name("shop/p"), Some(policy(kind, "p", 1, spec, status))));
        let problems: Vec<String> = cluster.resources().1.iter().map(ToString::to_string).collect();
        (cluster.changes().policies, cluster.resources().0, problems)
    };
    let (changed, resources, problems) = put(json!({"action": "DENY", "rules": [{}]}), json!({}));
    assert_eq!((changed, resources.len(), problems.len()), (true, 1, 0));
    // What the controller writes itself doesn't count.
    let status = json!({"conditions": [{"type": "Selected", "status": "True"}]});
    assert!(!put(json!({"action": "DENY", "rules": [{}]}), status).0);
    let (changed, resources, problems) = put(json!({"action": "DNEY"}), json!({}));
    assert!(changed && resources[0].defect().is_some());
    assert!(problems[0].starts_with("AuthorizationPolicy shop/p: spec.action: expected ALLOW"), "{problems:?}");
    cluster.apply(Event::Policy(kind, name("shop/p"), None));
    assert!(cluster.changes().policies && cluster.resources().0.is_empty());
}

#[test]
fn a_policy_without_a_spec_says_nothing_and_is_whole() {
    let kind = PolicyKind::PeerAuthentication;
    let object = json!({"apiVersion": "security.istio.io/v1", "kind": kind.as_str(),
        "metadata": {"name": "p", "namespace": "shop"}});
    let policy = Policy::read(kind, &serde_json::from_value(object).unwrap());
    assert_eq!(policy.parsed.problems, []);
    assert_eq!(policy.parsed.resources[0].defect(), None);
}
