//! The running mesh: control plane, authority, manifests, and each workload's proxy.

use std::collections::HashMap;

use tonic::transport::Channel;
use weft_wire::proto::weft::v1::control_client::ControlClient;
use weft_wire::proto::weft::v1::{
    AuthorityCertificate, ListWorkloadsRequest, ProxiesRequest, ProxiesResponse, ProxyState, StatusRequest,
    StatusResponse, WorkloadState,
};

use super::Check;
use crate::home::{Home, Mesh};
use crate::{client, command, figures};

/// Asks the mesh and concludes.
pub(super) async fn look(home: &Home) -> Vec<Check> {
    let connected = async { Ok((client::connect(home).await?, client::observe(&Mesh::Local(home.clone())).await?)) };
    let (mut control, mut observe) = match connected.await {
        Ok(clients) => clients,
        Err(failure) => {
            let failure: crate::failure::Failure = failure;
            return vec![Check::fail(CONTROL, failure.message, failure.hint.unwrap_or_default())];
        }
    };
    let asked = async {
        let status = control.status(StatusRequest {}).await?.into_inner();
        let proxies = observe.proxies(ProxiesRequest {}).await?.into_inner();
        Ok((status, proxies, states(&mut control).await?))
    };
    let (status, answer, states) = match asked.await {
        Ok(answers) => answers,
        Err(status) => {
            let status: tonic::Status = status;
            let failure = client::refused("ask it", &status);
            let hint = "are weft and the control plane of one version? weft down; weft up";
            return vec![Check::fail(CONTROL, failure.message, failure.hint.unwrap_or_else(|| hint.to_owned()))];
        }
    };
    conclude(&status, &answer, &states, command::now())
}

type States = HashMap<String, WorkloadState>;

async fn states(control: &mut ControlClient<Channel>) -> Result<States, tonic::Status> {
    let listed = control.list_workloads(ListWorkloadsRequest {}).await?.into_inner();
    let state = |workload: weft_wire::proto::weft::v1::Workload| {
        let state = workload.state();
        workload.assigned.map(|assigned| (assigned.workload, state))
    };
    Ok(listed.workloads.into_iter().filter_map(state).collect())
}

/// What the answers mean at `now`, in seconds since the Unix epoch.
fn conclude(status: &StatusResponse, answer: &ProxiesResponse, states: &States, now: i64) -> Vec<Check> {
    let mut checks = vec![control(status), metrics(status)];
    let signers = [("root", &answer.root), ("issuer", &answer.issuer)];
    checks.extend(signers.into_iter().filter_map(|(role, found)| Some(signer(role, found.as_ref()?, now))));
    checks.push(clock(status, answer, now));
    checks.extend(manifests(status));
    if answer.proxies.is_empty() {
        checks.push(Check::ok("workloads", "none run"));
    }
    let state = |proxy: &ProxyState| states.get(&proxy.workload).copied().unwrap_or(WorkloadState::Starting);
    checks.extend(answer.proxies.iter().map(|proxy| workload(proxy, state(proxy), now)));
    checks
}

fn control(status: &StatusResponse) -> Check {
    let StatusResponse { version, trust_domain, pid, .. } = status;
    let ours = env!("CARGO_PKG_VERSION");
    let detail = format!("answers (pid {pid}, version {version}, trust domain {trust_domain})");
    if version == ours {
        return Check::ok(CONTROL, detail);
    }
    Check::warn(CONTROL, format!("{detail}, this is weft {ours}"), "weft down; weft up")
}

fn metrics(status: &StatusResponse) -> Check {
    match status.metrics_address.as_deref() {
        None => Check::ok("metrics", "the mesh's own page isn't wanted; each proxy has one"),
        Some("") => Check::warn(
            "metrics",
            "nobody serves the mesh's metrics",
            "choose a free address: weft up --metrics-address 127.0.0.1:0",
        ),
        Some(address) => Check::ok("metrics", format!("http://{address}/metrics")),
    }
}

fn signer(role: &str, certificate: &AuthorityCertificate, now: i64) -> Check {
    let name = format!("authority: {role}");
    let left = certificate.not_after - now;
    let until = figures::instant(certificate.not_after);
    let renew = match role {
        "issuer" => "the control plane renews it; logs/control.log in the state folder says why it couldn't",
        _ => "weft down, move the folder authority out of the state folder, weft up: workloads must be started again",
    };
    match left {
        ..=0 => Check::fail(name, format!("expired at {until}"), renew),
        1..SOON_SECONDS => Check::warn(name, format!("expires in {} days, at {until}", left / DAY_SECONDS), renew),
        _ => Check::ok(name, format!("{} days left, until {until}", left / DAY_SECONDS)),
    }
}

/// Certificates are dated by the clock: one that runs wrong shows in them.
fn clock(status: &StatusResponse, answer: &ProxiesResponse, now: i64) -> Check {
    let leaves = answer.proxies.iter().filter_map(|proxy| proxy.certificate.as_ref());
    let begins = leaves.map(|leaf| leaf.not_before).chain(answer.root.iter().map(|root| root.not_before));
    let latest = begins.chain([status.started_at]).max().unwrap_or(now);
    let shown = figures::instant(now);
    if latest > now {
        let detail = format!("it is {shown}, and something began at {}", figures::instant(latest));
        return Check::fail("clock", detail, "set the clock, such as by: timedatectl set-ntp true");
    }
    Check::ok("clock", shown)
}

fn manifests(status: &StatusResponse) -> Vec<Check> {
    let name = "manifests";
    let folder = if status.folder.is_empty() { "no folder: no policy is in force" } else { &status.folder };
    if status.problems.is_empty() {
        return vec![Check::ok(name, folder)];
    }
    let hint = "mend the file; what it denied stays denied meanwhile";
    status.problems.iter().map(|problem| Check::warn(name, problem, hint)).collect()
}

/// The gravest thing to be said of a workload.
fn workload(proxy: &ProxyState, state: WorkloadState, now: i64) -> Check {
    let name = proxy.workload.clone();
    let log = format!("see its log, logs/{}.log in the state folder", name.replace('/', "."));
    match state {
        WorkloadState::Starting => return Check::warn(name, "starting", "wait with: weft check --wait"),
        WorkloadState::Unconfirmed => {
            return Check::warn(
                name,
                "its weft run hasn't come back since the control plane began",
                "wait, or start it again",
            );
        }
        WorkloadState::Ready => {}
    }
    let (Some(health), true) = (&proxy.health, proxy.record_streams > 0) else {
        return Check::fail(name, "its proxy isn't connected", log);
    };
    if let Some(refused) = proxy.refused.first() {
        return Check::fail(name, format!("its proxy refused a record and keeps the last one: {refused}"), log);
    }
    let Some(leaf) = &proxy.certificate else {
        return Check::fail(name, "its proxy has no certificate", log);
    };
    if leaf.not_after <= now {
        return Check::fail(name, format!("its certificate expired at {}", figures::instant(leaf.not_after)), log);
    }
    if leaf.identity != proxy.identity {
        let detail = format!("its certificate names {}, expected {}", leaf.identity, proxy.identity);
        return Check::fail(name, detail, "start the workload again");
    }
    let left = figures::age(u64::try_from(leaf.not_after - now).unwrap_or(0));
    if leaf.renew_at + LATE_SECONDS < now {
        return Check::warn(name, format!("its certificate should have been renewed; {left} left"), log);
    }
    if health.inbound_version != proxy.inbound_version || proxy.unacknowledged > 0 {
        return Check::warn(name, "its proxy hasn't taken the newest records yet", "look again; weft check --wait");
    }
    if health.version != env!("CARGO_PKG_VERSION") {
        let detail = format!("its proxy is of version {}", health.version);
        return Check::warn(name, detail, "start the workload again");
    }
    let (memory, open) = (figures::bytes(health.anonymous_bytes), health.inbound_open + health.outbound_open);
    let known = health.destinations;
    Check::ok(name, format!("connected, {known} destinations, {open} connections, {memory}, certificate for {left}"))
}

const CONTROL: &str = "control plane";
const DAY_SECONDS: i64 = 86_400;
/// A month in which to plan a change.
const SOON_SECONDS: i64 = 30 * DAY_SECONDS;
/// The authority may be away for a while before that is worth a word.
const LATE_SECONDS: i64 = 60;

#[cfg(test)]
mod tests {
    use weft_wire::proto::weft::v1::{Health, Leaf};

    use super::*;
    use crate::command::check::Status;

    const NOW: i64 = 1_800_000_000;

    fn proxy() -> ProxyState {
        let id = "spiffe://cluster.local/ns/default/sa/web".to_owned();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let leaf = Leaf {
            identity: id.clone(),
            not_before: NOW - 600,
            not_after: NOW + 600,
            renew_at: NOW + 300,
            ..Leaf::default()
        };
        ProxyState {
            workload: "default/web-1".to_owned(),
            identity: id,
            health: Some(Health { version, inbound_version: "v".to_owned(), ..Health::default() }),
            certificate: Some(leaf),
            record_streams: 1,
            inbound_version: "v".to_owned(),
            ..ProxyState::default()
        }
    }

    fn check(change: impl FnOnce(&mut ProxyState)) -> (Status, String) {
        let mut proxy = proxy();
        change(&mut proxy);
        let Check { status, detail, .. } = workload(&proxy, WorkloadState::Ready, NOW);
        (status, detail)
    }

    #[test]
    fn a_workload_is_told_the_gravest_first() {
        assert_eq!(check(|_| {}).0, Status::Ok);
        let leaf = |proxy: &mut ProxyState, at| proxy.certificate.as_mut().unwrap().not_after = at;
        for (change, expected) in [
            (check(|p| p.health = None), (Status::Fail, "isn't connected")),
            (check(|p| p.record_streams = 0), (Status::Fail, "isn't connected")),
            (check(|p| p.refused.push("inbound: a reason".to_owned())), (Status::Fail, "inbound: a reason")),
            (check(|p| p.certificate = None), (Status::Fail, "no certificate")),
            (check(|p| leaf(p, NOW)), (Status::Fail, "expired")),
            (check(|p| p.identity.push('x')), (Status::Fail, "names")),
            (
                check(|p| p.certificate.as_mut().unwrap().renew_at = NOW - 99),
                (Status::Warn, "should have been renewed"),
            ),
            (check(|p| p.unacknowledged = 1), (Status::Warn, "newest records")),
            (check(|p| p.inbound_version.clear()), (Status::Warn, "newest records")),
            (check(|p| p.health.as_mut().unwrap().version.clear()), (Status::Warn, "of version")),
        ] {
            assert_eq!(change.0, expected.0, "{change:?}");
            assert!(change.1.contains(expected.1), "{change:?}");
        }
    }

    #[test]
    fn the_authority_warns_before_it_expires() {
        let certificate = |left: i64| AuthorityCertificate { not_after: NOW + left, ..AuthorityCertificate::default() };
        let status = |left| signer("root", &certificate(left), NOW).status;
        assert_eq!((status(0), status(DAY_SECONDS), status(SOON_SECONDS)), (Status::Fail, Status::Warn, Status::Ok));
    }

    #[test]
    fn problems_are_warnings_and_a_wrong_clock_fails() {
        let status = StatusResponse {
            problems: vec!["a.yaml:3: expected a mode".to_owned()],
            started_at: NOW + 5,
            metrics_address: Some(String::new()),
            ..StatusResponse::default()
        };
        let checks = conclude(&status, &ProxiesResponse::default(), &States::new(), NOW);
        let of = |name: &str| checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(of("manifests").status, Status::Warn);
        assert!(of("manifests").detail.contains("a.yaml:3"));
        assert_eq!(of("clock").status, Status::Fail);
        assert_eq!(of("metrics").status, Status::Warn);
        assert_eq!(metrics(&StatusResponse::default()).status, Status::Ok);
    }
}
