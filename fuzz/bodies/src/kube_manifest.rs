//! Manifests that are edited as text.

use weft_kube::inject::{Config, Resources};
use weft_kube::manifest::{Annotations, Outcome, inject, render, uninject};

/// `weft_kube::manifest::inject`, `render` and `uninject`.
///
/// # Panics
/// When an edit loses a character of the input, isn't the same when it is made twice, changes what
/// JSON says beyond annotations and metadata, or is there without a report that says so.
pub fn kube_manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(edited) = inject(text, &Annotations::default()) {
        let has_changed = edited.reports.iter().any(|report| report.outcome != Outcome::Skipped);
        assert!(has_changed || edited.text == text, "changed, and nobody says so");
        // A switch that is there already may be set anew; all else is only added to.
        assert!(text.contains("inject") || is_subsequence(text, &edited.text), "{}", edited.text);
        let again = inject(&edited.text, &Annotations::default()).expect("what was injected can be again");
        assert_eq!(again.text, edited.text, "injected twice");
        check_json(text, &edited.text);
    }
    if let Ok(edited) = render(text, &Annotations::default(), &config()) {
        let once_more =
            |text: &str| render(text, &Annotations::default(), &config()).expect("it can be rendered again");
        // The place of a mapping may move once, where nothing was before.
        let again = once_more(&edited.text);
        assert_eq!(once_more(&again.text).text, again.text, "rendered twice");
        uninject(&edited.text).expect("what was rendered can be taken out");
    }
    // What a sidecar has replaced comes back.
    if let (Ok(edited), false) = (uninject(text), text.contains("weft")) {
        assert!(is_subsequence(&edited.text, text), "{}", edited.text);
        let again = uninject(&edited.text).expect("what was uninjected can be again");
        assert_eq!(again.text, edited.text, "uninjected twice");
        check_json(text, &edited.text);
    }
}

fn config() -> Config {
    Config {
        namespace: "weft".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        proxy_image: "localhost/weft/proxy:0.1.0".to_owned(),
        image_pull_policy: "IfNotPresent".to_owned(),
        control_address: ([10, 0, 0, 9], 15012).into(),
        trust_anchors: "PEM".to_owned(),
        resources: Resources::default(),
        log: "info".to_owned(),
    }
}

/// Whether `whole` has every character of `part`, in order.
fn is_subsequence(part: &str, whole: &str) -> bool {
    let mut rest = whole.chars();
    part.chars().all(|wanted| rest.any(|found| found == wanted))
}

/// JSON stays JSON, and without metadata it is the same.
fn check_json(before: &str, after: &str) {
    let Ok(before) = serde_json::from_str::<serde_json::Value>(before) else { return };
    let after: serde_json::Value = serde_json::from_str(after).expect("JSON");
    assert_eq!(without_metadata(before), without_metadata(after));
}

fn without_metadata(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(mut members) => {
            members.remove("metadata");
            members.into_iter().map(|(key, value)| (key, without_metadata(value))).collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(without_metadata).collect(),
        value => value,
    }
}
