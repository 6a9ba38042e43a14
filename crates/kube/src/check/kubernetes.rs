//! The cluster itself: its API, its version, its clocks, and whether Weft can be installed there.

use super::Stop;
use super::observed::{Observed, Right, Unseen};
use super::report::{Finding, Problem, Report};
use crate::words::few;

/// Whether there is an API to ask.
pub(super) fn api(seen: &Observed, report: &mut Report) -> Result<(), Stop> {
    report.category("kubernetes-api");
    report.check("can initialize the client", Finding::Fine);
    let problem = seen
        .api
        .as_ref()
        .err()
        .map(|unseen| Problem::new(unseen.to_string(), "see whether kubectl reaches the cluster: kubectl version"));
    report.must("can query the Kubernetes API", Finding::fails_if(problem))
}

/// Whether it is new enough.
pub(super) fn version(seen: &Observed, report: &mut Report) {
    report.category("kubernetes-version");
    let old = seen.api.as_ref().ok().filter(|version| **version < MIN_VERSION).map(|(major, minor)| {
        let error =
            format!("the cluster runs {major}.{minor}; Weft needs {}.{} or later", MIN_VERSION.0, MIN_VERSION.1);
        Problem::new(error, "update the cluster: older ones have no sidecar containers and no match conditions")
    });
    report.check("is running the minimum Kubernetes API version", Finding::fails_if(old));
}

/// Whether Weft can be installed.
pub(super) fn before_installation(seen: &Observed, report: &mut Report) {
    report.category("pre-kubernetes-setup");
    let exists = match &seen.own_namespace {
        Ok(_) => Finding::Fails(Problem::new(
            format!("the namespace {} already exists", seen.namespace),
            "to see whether Weft runs there: weft check; else choose another with -L NAMESPACE",
        )),
        Err(Unseen::Absent) => Finding::Fine,
        Err(unseen) => Finding::Warns(Problem::new(unseen.to_string(), "ask for the right to read namespaces")),
    };
    report.check("control plane namespace does not already exist", exists);
    let (wide, narrow): (Vec<&Right>, Vec<&Right>) = seen.rights.iter().partition(|right| !right.in_namespace);
    let missing: Vec<String> =
        wide.iter().filter(|right| !granted(right)).map(|right| right.resource.to_owned()).collect();
    let problem = (!missing.is_empty()).then(|| no_right(&format!("create {}", missing.join(", "))));
    report.check("can create non-namespaced resources", Finding::fails_if(problem));
    for right in narrow {
        let problem = (!granted(right)).then(|| no_right(&format!("{} {}", right.verb, right.resource)));
        report.check(format!("can {} {}", right.verb, title(right.resource)), Finding::fails_if(problem));
    }
    clocks(seen, report);
}

/// Whether the clocks of this machine, of the API server and of the nodes agree: certificates are
/// judged by each.
pub(super) fn clocks(seen: &Observed, report: &mut Report) {
    let mut wrong = Vec::new();
    if let Some(server) = seen.server_now.filter(|server| (server - seen.now).abs() > CLOCK_TOLERANCE_SECONDS) {
        wrong.push(format!(
            "this machine's clock is {} s {} of the API server's",
            (seen.now - server).abs(),
            side(seen.now - server)
        ));
    }
    for (node, ahead) in skewed_nodes(seen) {
        wrong.push(format!("the clock of the node {node} is {} s {} of the API server's", ahead.abs(), side(ahead)));
    }
    let problem = (!wrong.is_empty()).then(|| Problem::new(few(&wrong), "set the clocks by NTP"));
    report.check("no clock skew detected", Finding::warns_if(problem));
}

/// Nodes whose lease is from the future, or that are ready although it is long past.
fn skewed_nodes(seen: &Observed) -> Vec<(String, i64)> {
    let (Ok(nodes), Ok(leases)) = (&seen.nodes, &seen.leases) else { return Vec::new() };
    let ready = |name: &str| {
        let node = nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name));
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    let skew = |lease: &k8s_openapi::api::coordination::v1::Lease| {
        let name = lease.metadata.name.clone()?;
        let ahead = lease.spec.as_ref()?.renew_time.as_ref()?.0.as_second() - seen.clock();
        let wrong = ahead > CLOCK_TOLERANCE_SECONDS || (ahead < -LEASE_TOLERANCE_SECONDS && ready(&name));
        wrong.then_some((name, ahead))
    };
    leases.iter().filter_map(skew).collect()
}

fn side(ahead: i64) -> &'static str {
    if ahead > 0 { "ahead" } else { "behind" }
}

fn granted(right: &Right) -> bool {
    right.allowed == Ok(true)
}

fn no_right(what: &str) -> Problem {
    Problem::new(format!("no right to {what}"), "install as somebody who may, such as a cluster admin: --as USER")
}

/// `serviceaccounts` as Kubernetes' kinds are written.
fn title(resource: &str) -> &str {
    match resource {
        "serviceaccounts" => "ServiceAccounts",
        "services" => "Services",
        "deployments" => "Deployments",
        "configmaps" => "ConfigMaps",
        "secrets" => "Secrets",
        "roles" => "Roles",
        "rolebindings" => "RoleBindings",
        other => other,
    }
}

/// Sidecar containers and match conditions of webhooks are on by default from here on.
const MIN_VERSION: (u32, u32) = (1, 29);
/// Certificates hold from a minute before they are made.
const CLOCK_TOLERANCE_SECONDS: i64 = 30;
/// A ready node renews its lease every 10 s, and is lost after 40.
const LEASE_TOLERANCE_SECONDS: i64 = 90;
