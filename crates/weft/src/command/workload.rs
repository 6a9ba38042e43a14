//! Which running workload a user means by a name.

use weft_wire::proto::weft::v1::{ListWorkloadsRequest, ListWorkloadsResponse, Workload, WorkloadState};

use crate::args::WorkloadName;
use crate::client;
use crate::failure::Failure;
use crate::home::Home;

/// All that run.
///
/// # Errors
/// When no mesh runs here.
pub(super) async fn list(home: &Home) -> Result<Vec<Workload>, Failure> {
    all(home).await.map(|listed| listed.workloads)
}

/// All that run, and the folder's that don't just now.
///
/// # Errors
/// When no mesh runs here.
pub(super) async fn all(home: &Home) -> Result<ListWorkloadsResponse, Failure> {
    let answer = client::connect(home).await?.list_workloads(ListWorkloadsRequest {}).await;
    answer.map(tonic::Response::into_inner).map_err(|status| client::refused("list workloads", &status))
}

/// The one of this name: a replica by its own, else the first ready replica of the service.
///
/// # Errors
/// When none is called so.
pub(super) fn choose(running: Vec<Workload>, name: &WorkloadName) -> Result<Workload, Failure> {
    called(running, name).ok_or_else(|| {
        Failure::new(format!("no workload {} runs in the namespace {}", name.name, name.namespace))
            .hint("see what runs, and where: weft ps")
    })
}

/// A replica's id, and the pid of its launcher.
pub(super) fn id_and_pid(workload: &Workload) -> (&str, u32) {
    let id = workload.assigned.as_ref().map_or("", |assigned| &assigned.workload);
    (id, workload.spec.as_ref().map_or(0, |spec| spec.pid))
}

fn called(running: Vec<Workload>, name: &WorkloadName) -> Option<Workload> {
    let id = format!("{}/{}", name.namespace, name.name);
    let is_service = |workload: &Workload| {
        workload.spec.as_ref().is_some_and(|spec| spec.name == name.name && spec.namespace == name.namespace)
    };
    let meant = running.into_iter().filter(|workload| id_and_pid(workload).0 == id || is_service(workload));
    // A replica's own name is another's service only where somebody chose it to be.
    // One whose launcher hasn't come back since the control plane began may be gone.
    let rank = |workload: &Workload| {
        (workload.state() != WorkloadState::Ready, workload.state() == WorkloadState::Unconfirmed)
    };
    meant.min_by_key(|workload| (id_and_pid(workload).0 != id, rank(workload)))
}

#[cfg(test)]
mod tests {
    use weft_wire::proto::weft::v1::{Assigned, WorkloadSpec};

    use super::*;

    fn workload(replica: &str, state: WorkloadState) -> Workload {
        let spec = WorkloadSpec { name: "web".to_owned(), namespace: "shop".to_owned(), ..WorkloadSpec::default() };
        let assigned = Assigned { workload: format!("shop/{replica}"), ..Assigned::default() };
        Workload { spec: Some(spec), assigned: Some(assigned), state: state.into(), started_at: 0 }
    }

    #[test]
    fn a_replica_goes_by_its_own_name_and_a_service_by_its_first_ready_one() {
        let running = [workload("web-1", WorkloadState::Starting), workload("web-2", WorkloadState::Ready)];
        let check = |name: &str, namespace: &str, expected: Option<&str>| {
            let name = WorkloadName { name: name.to_owned(), namespace: namespace.to_owned() };
            let found = called(running.to_vec(), &name);
            assert_eq!(found.as_ref().map(|found| id_and_pid(found).0), expected, "{name:?}");
        };
        check("web", "shop", Some("shop/web-2"));
        check("web-1", "shop", Some("shop/web-1"));
        let left = [workload("web-1", WorkloadState::Unconfirmed), workload("web-2", WorkloadState::Starting)];
        let web = WorkloadName { name: "web".to_owned(), namespace: "shop".to_owned() };
        assert_eq!(called(left.to_vec(), &web).as_ref().map(|found| id_and_pid(found).0), Some("shop/web-2"));
        check("web", "default", None);
        check("web-3", "shop", None);
    }
}
