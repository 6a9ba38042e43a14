use weft_mesh::record::{Action, Enforcement, MtlsMode};

use super::*;

mod authorization;
mod bad_input;
mod naive;
mod peer;

/// The set of a folder's files, and all problems.
fn set(files: &[(&str, &str)]) -> (PolicySet, Vec<Problem>) {
    set_with(&Settings::default(), files)
}

fn set_with(settings: &Settings, files: &[(&str, &str)]) -> (PolicySet, Vec<Problem>) {
    let (mut resources, mut problems) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let parsed = weft_resources::parse(name, text.as_bytes());
        resources.extend(parsed.resources);
        problems.extend(parsed.problems);
    }
    let (set, more) = PolicySet::new(settings, &resources);
    problems.extend(more);
    (set, problems)
}

/// A resource: kind, `namespace/name`, and a spec in flow style.
fn resource(kind: &str, name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{namespace: {namespace}, name: {name}}}\nspec: {spec}\n"
    )
}

fn authorization(name: &str, spec: &str) -> String {
    resource("AuthorizationPolicy", name, spec)
}

fn peer(name: &str, spec: &str) -> String {
    resource("PeerAuthentication", name, spec)
}

fn labels(text: &str) -> BTreeMap<String, String> {
    text.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// How many problems of each severity: errors, warnings, infos.
fn counts(problems: &[Problem]) -> [usize; 3] {
    [Severity::Error, Severity::Warning, Severity::Info]
        .map(|severity| problems.iter().filter(|problem| problem.severity == severity).count())
}

#[test]
fn a_resource_stands_once() {
    let first = authorization("shop/p", "{rules: [{}]}");
    let (set, problems) = set(&[("a.yaml", &first), ("b.yaml", &first), ("c.yaml", &first.replace("shop", "x"))]);
    assert_eq!(
        problems[0].to_string(),
        "b.yaml:2: metadata.name: expected each resource once, found it in a.yaml:2 already (AuthorizationPolicy shop/p)"
    );
    assert_eq!(counts(&problems), [1, 1, 0]);
    let (_, policies) = set.for_workload("shop", &labels(""));
    assert_eq!(
        policies.iter().map(|p| (p.rules.len(), p.defect.is_some())).collect::<Vec<_>>(),
        [(1, false), (0, true)]
    );
    let peers = peer("shop/p", "{mtls: {mode: PERMISSIVE}}");
    let (set, _) = super::tests::set(&[("a.yaml", &peers), ("b.yaml", &peers)]);
    assert_eq!(set.for_workload("shop", &labels("")).0.default.mode, MtlsMode::Strict);
}
