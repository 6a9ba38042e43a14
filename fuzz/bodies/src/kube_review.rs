//! What the API server asks, and what pods are made of it.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use weft_kube::inject::{Config, Marks, NamespaceMarks, Resources, Verdict, decide, patch};
use weft_kube::webhook::read_review;

/// `weft_kube::webhook::read_review`, and on a pod `decide` and `patch`.
///
/// # Panics
/// When a question without a uid is read, a pod is skipped without a reason, or a patch lacks the proxy.
pub fn kube_review(data: &[u8]) {
    let object = match read_review(data) {
        Ok(request) => {
            assert!(!request.uid.is_empty());
            request.object
        }
        // So that mutations needn't keep the envelope whole.
        Err(_) => match serde_json::from_slice::<Value>(data) {
            Ok(object) => object,
            Err(_) => return,
        },
    };
    let Ok(pod) = serde_json::from_value::<Pod>(object.clone()) else { return };
    let mut marks = Marks::default();
    marks.labels.insert("istio-injection".to_owned(), "enabled".to_owned());
    let namespace = NamespaceMarks { name: "shop".to_owned(), marks };
    match decide(&namespace, &pod, "weft") {
        Verdict::Skip(reasons) => assert!(!reasons.is_empty()),
        Verdict::Inject(settings) => {
            let patch = patch(&object, &settings, &config());
            let text = serde_json::to_string(&patch.operations).expect("operations are JSON");
            assert!(text.contains("\"/weft-proxy\"") && text.contains("weft-token"), "{text}");
        }
    }
}

fn config() -> Config {
    Config {
        namespace: "weft".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        proxy_image: "localhost/weft/proxy:1".to_owned(),
        image_pull_policy: "IfNotPresent".to_owned(),
        control_address: ([10, 0, 0, 1], 15012).into(),
        trust_anchors: String::new(),
        resources: Resources::default(),
        log: "info".to_owned(),
    }
}
