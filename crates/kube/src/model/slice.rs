//! What the mesh keeps of an EndpointSlice: which addresses serve which Service, and whether they
//! take calls. Pure; whose the addresses are is found where the pods are known.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1 as api;
use weft_compile::EndpointState;

/// A slice of a Service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The Service's name, in the slice's own namespace.
    pub(crate) service: String,
    /// The ports by the names of the Service's.
    pub(crate) ports: Vec<(String, u16)>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// One who serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: IpAddr,
    /// The pod's name, where the slice says that it is one.
    pub(crate) pod: Option<String>,
    pub(crate) state: EndpointState,
}

impl Slice {
    /// What is to be kept of a slice; `None` when it belongs to no Service.
    pub(crate) fn read(slice: &api::EndpointSlice) -> Option<Self> {
        let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?.clone();
        let ports = slice.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
        let ports = ports.filter_map(|port| Some((port.name.clone()?, u16::try_from(port.port?).ok()?))).collect();
        Some(Self { service, ports, endpoints: slice.endpoints.iter().filter_map(endpoint).collect() })
    }
}

fn endpoint(endpoint: &api::Endpoint) -> Option<Endpoint> {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    Some(Endpoint {
        // Of several the first is meant, as kube-proxy has it; names (type FQDN) are nobody's address.
        address: endpoint.addresses.first()?.parse().ok()?,
        pod: target.and_then(|target| target.name.clone()),
        state: state(endpoint.conditions.as_ref()),
    })
}

/// What isn't said counts as ready and serving, and not as terminating.
fn state(conditions: Option<&api::EndpointConditions>) -> EndpointState {
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => EndpointState::Ready,
        (false, true) => EndpointState::Draining,
        (false, false) => EndpointState::Unready,
    }
}

const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(slice: serde_json::Value) -> Option<Slice> {
        Slice::read(&serde_json::from_value(slice).unwrap())
    }

    #[test]
    fn endpoints_and_their_states_are_kept() {
        let slice = read(json!({
            "metadata": {"name": "s-1", "labels": {SERVICE_NAME: "s"}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"},
                      {"name": "", "port": 90}, {"name": "open"}],
            "endpoints": [
                {"addresses": ["10.1.0.1", "10.1.0.9"], "targetRef": {"kind": "Pod", "name": "a"}},
                {"addresses": ["10.1.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.1.0.3"], "conditions": {"ready": false, "serving": false, "terminating": true}},
                {"addresses": ["10.1.0.4"], "conditions": {"ready": true, "terminating": true}},
                {"addresses": ["10.1.0.5"], "conditions": {"ready": false}, "targetRef": {"kind": "Node", "name": "n"}},
            ],
        }))
        .unwrap();
        assert_eq!((slice.service.as_str(), &slice.ports), ("s", &vec![("http".into(), 8080), (String::new(), 90)]));
        let endpoint = |last: u8, pod: Option<&str>, state| Endpoint {
            address: [10, 1, 0, last].into(),
            pod: pod.map(str::to_owned),
            state,
        };
        use EndpointState::{Draining, Ready, Unready};
        let expected = [
            endpoint(1, Some("a"), Ready),
            endpoint(2, None, Draining),
            endpoint(3, None, Unready),
            endpoint(4, None, Ready),
            endpoint(5, None, Unready),
        ];
        assert_eq!(slice.endpoints, expected);
    }

    #[test]
    fn a_slice_of_nobody_and_names_are_left_out() {
        assert_eq!(read(json!({"metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": []})), None);
        let slice = read(json!({
            "metadata": {"name": "x", "labels": {SERVICE_NAME: "s"}}, "addressType": "FQDN",
            "endpoints": [{"addresses": ["db.example.org"]}],
        }));
        assert_eq!(slice.unwrap().endpoints, []);
    }
}
