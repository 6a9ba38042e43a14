//! What the command line asks of any control plane, and the service where it can ask nothing else:
//! workloads that an API server tells of are launched and stopped there.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weft_compile::{Proxy, Workload};
use weft_wire::proto::weft::v1 as proto;
use weft_wire::proto::weft::v1::control_server::Control;

use crate::certificates::Signing;
use crate::shared::{Shared, seconds};

/// What never changes while the control plane runs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The mesh's trust domain.
    pub trust_domain: String,
    /// The folder of manifests, where there is one.
    pub folder: Option<PathBuf>,
    /// When it began.
    pub started_at: SystemTime,
    /// Where the whole mesh's metrics are; `None` when that isn't wanted, empty when the address can't be had.
    pub metrics: Option<String>,
}

/// Answers what every control plane is asked.
pub(crate) struct Queries {
    pub(crate) shared: Shared,
    pub(crate) signing: Signing,
    pub(crate) facts: Facts,
}

impl Queries {
    pub(crate) fn inbounds(&self, request: &proto::GetInboundRequest) -> Result<proto::GetInboundResponse, Status> {
        let records = self.shared.with(|mesh| mesh.inbounds(&request.target));
        let records = records.map_err(|error| Status::not_found(error.to_string()))?;
        Ok(proto::GetInboundResponse { records: records.iter().map(proto::Inbound::from).collect() })
    }

    pub(crate) fn status(&self) -> proto::StatusResponse {
        let authority = self.signing.borrow().clone();
        let end = |not_after: Option<SystemTime>| not_after.map(seconds).unwrap_or_default();
        let folder = self.facts.folder.as_ref().map(|folder| folder.display().to_string());
        proto::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trust_domain: self.facts.trust_domain.clone(),
            folder: folder.unwrap_or_default(),
            started_at: seconds(self.facts.started_at),
            issuer_not_after: end(authority.as_ref().map(|authority| authority.issuer().not_after)),
            root_not_after: end(authority.as_ref().map(|authority| authority.root().not_after)),
            problems: self.shared.with(|mesh| mesh.problems()),
            pid: std::process::id(),
            metrics_address: self.facts.metrics.clone(),
        }
    }
}

/// Serves those who can only ask.
pub(crate) struct Asked(pub(crate) Queries);

#[tonic::async_trait]
impl Control for Asked {
    type LaunchStream = ReceiverStream<Result<proto::LaunchEvent, Status>>;

    async fn launch(
        &self,
        _: Request<Streaming<proto::LaunchRequest>>,
    ) -> Result<Response<Self::LaunchStream>, Status> {
        Err(not_here())
    }

    async fn list_workloads(
        &self,
        _: Request<proto::ListWorkloadsRequest>,
    ) -> Result<Response<proto::ListWorkloadsResponse>, Status> {
        let meshed = |workload: &&Workload| workload.proxy != Proxy::Absent;
        let workloads = self.0.shared.with(|mesh| mesh.workloads().filter(meshed).map(listed).collect());
        Ok(Response::new(proto::ListWorkloadsResponse { workloads, idle: Vec::new() }))
    }

    async fn get_inbound(
        &self,
        request: Request<proto::GetInboundRequest>,
    ) -> Result<Response<proto::GetInboundResponse>, Status> {
        self.0.inbounds(request.get_ref()).map(Response::new)
    }

    async fn status(&self, _: Request<proto::StatusRequest>) -> Result<Response<proto::StatusResponse>, Status> {
        Ok(Response::new(self.0.status()))
    }

    async fn shutdown(&self, _: Request<proto::ShutdownRequest>) -> Result<Response<proto::ShutdownResponse>, Status> {
        Err(not_here())
    }
}

fn not_here() -> Status {
    Status::unimplemented("expected a mesh of one machine: here the cluster starts and stops workloads (kubectl)")
}

fn listed(workload: &Workload) -> proto::Workload {
    let state = match workload.proxy {
        Proxy::Starting => proto::WorkloadState::Starting,
        Proxy::Absent | Proxy::At(_) | Proxy::Port(_) => proto::WorkloadState::Ready,
    };
    proto::Workload {
        spec: Some(proto::WorkloadSpec {
            name: workload.service.clone(),
            namespace: workload.id.namespace().to_owned(),
            service_account: workload.identity.service_account().to_owned(),
            labels: workload.labels.clone().into_iter().collect(),
            ports: workload.ports.iter().map(proto::Port::from).collect(),
            ..proto::WorkloadSpec::default()
        }),
        assigned: Some(proto::Assigned {
            workload: workload.id.to_string(),
            identity: workload.identity.to_string(),
            addresses: workload.addresses.iter().copied().map(bytes).collect(),
            ..proto::Assigned::default()
        }),
        state: state.into(),
        started_at: 0,
    }
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
