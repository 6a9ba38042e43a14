//! Manifests, from their bytes to verdicts: what can't be understood opens nothing.

use std::collections::BTreeMap;

use weft_compile::{PolicySet, Settings};
use weft_mesh::record::{Inbound, MtlsMode};
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};
use weft_resources::{Parsed, Problem, Resource, Severity, parse};

use crate::support::calls;
use crate::support::input::hash;

/// `weft_resources::parse`, `PolicySet::new` and `decide` on a file.
///
/// # Panics
/// When a problem has no place in the file, when other line ends hide a policy, when a folder admits
/// more for a file of broken policies, or when half a file admits more than the whole.
pub fn resources_policy(data: &[u8]) {
    let parsed = parse("f.yaml", data);
    check_problems(&parsed, data);
    let beside = parse("beside.yaml", BESIDE).resources;
    let before = verdicts(&beside);
    let after = verdicts(&[beside.clone(), parsed.resources.clone()].concat());
    if parsed.resources.iter().all(|resource| resource.defect().is_some()) {
        check_no_wider(&before, &after, "broken policies");
    }
    check_line_ends(data, &parsed);
    if let Some(half) = half(data, &parsed) {
        let parsed = parse("f.yaml", half);
        if parsed.problems.iter().any(|problem| problem.severity == Severity::Error) {
            let now = verdicts(&[beside, parsed.resources].concat());
            check_no_wider(&after, &now, &String::from_utf8_lossy(half));
        }
    }
}

fn check_problems(parsed: &Parsed, data: &[u8]) {
    let ends_line = |pair: &[u8]| pair[0] == b'\n' || (pair[0] == b'\r' && pair.get(1) != Some(&b'\n'));
    let lines = (0..data.len()).filter(|at| ends_line(&data[*at..])).count() as u32 + 1;
    let is_placed = |problem: &Problem| problem.line <= lines && problem.file == "f.yaml";
    assert!(parsed.problems.iter().all(is_placed), "a place beyond the file's {lines} lines: {:?}", parsed.problems);
    assert!(parsed.problems.iter().all(|problem| !problem.to_string().contains('\n')));
    assert!(parsed.problems.len() <= MAX_PROBLEMS);
    let is_broken = parsed.resources.iter().any(|resource| resource.defect().is_some());
    let is_told = parsed.problems.iter().any(|problem| problem.severity > Severity::Info);
    assert!(!is_broken || is_told, "a policy is broken, and nobody is told");
}

/// Line ends of other systems hide no policy, and mend none.
fn check_line_ends(data: &[u8], parsed: &Parsed) {
    if data.contains(&b'\r') {
        return;
    }
    let told = |parsed: &Parsed| -> Vec<_> {
        parsed.resources.iter().map(|resource| (resource.reference(), resource.defect().is_some())).collect()
    };
    for end in ["\r", "\r\n"] {
        let other: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
        let other = other.join(end.as_bytes());
        assert_eq!(told(&parse("f.yaml", &other)), told(parsed), "with {end:?} for line ends");
    }
}

/// The file, cut somewhere after its last `kind`, if it holds one policy and no mistake. Before its
/// kind is told, half a file is no policy. Not one with DISABLE: whoever proves an identity there is
/// judged without it, and a broken policy demands identities.
fn half<'d>(data: &'d [u8], parsed: &Parsed) -> Option<&'d [u8]> {
    let is_clean = parsed.problems.iter().all(|problem| problem.severity == Severity::Info);
    let [resource] = parsed.resources.as_slice() else { return None };
    if let Resource::PeerAuthentication(policy) = resource
        && policy.ports.values().copied().chain(policy.mode).any(|mode| mode == MtlsMode::Disable)
    {
        return None;
    }
    let kind = data.windows(4).rposition(|window| window == b"kind")?;
    let begin = kind + data[kind..].iter().position(|byte| *byte == b'\n')?;
    let end = begin + hash(data) as usize % (data.len() - begin);
    is_clean.then(|| &data[..end])
}

/// What the policies admit: the fixed calls to four workloads.
fn verdicts(resources: &[Resource]) -> Vec<bool> {
    let set = PolicySet::new(&Settings::default(), resources).0;
    let workloads = [("shop", "web"), ("shop", "api"), ("other", "web"), ("istio-system", "web")];
    workloads.iter().flat_map(|(namespace, app)| calls::verdicts(&inbound(&set, namespace, app))).collect()
}

fn inbound(set: &PolicySet, namespace: &str, app: &str) -> Inbound {
    let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
    let (peer_authentication, policies) = set.for_workload(namespace, &labels);
    Inbound {
        workload: WorkloadId::new(namespace, app).expect("good names"),
        identity: SpiffeId::new(&TrustDomain::default(), namespace, app).expect("good names"),
        service: app.to_owned(),
        addresses: Vec::new(),
        ports: Vec::new(),
        peer_authentication,
        policies,
    }
}

fn check_no_wider(before: &[bool], now: &[bool], what: &str) {
    let opened = before.iter().zip(now).position(|(before, now)| *now && !before);
    assert_eq!(opened, None, "a call that was denied is admitted now by {what}");
}

/// Another file of the folder, which admits a caller everywhere.
const BESIDE: &[u8] = b"apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {namespace: istio-system, name: beside}
spec: {rules: [{from: [{source: {principals: [\"cluster.local/ns/shop/sa/a\"]}}]}]}
";
/// Those that `parse` keeps, and the one that tells how many more there are.
const MAX_PROBLEMS: usize = 201;
