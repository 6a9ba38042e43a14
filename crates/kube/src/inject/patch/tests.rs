use super::super::{Marks, NamespaceMarks, Resources, Verdict, decide};
use super::*;
use crate::inject::operation::apply;

fn config() -> Config {
    Config {
        namespace: "weft".into(),
        trust_domain: "cluster.local".into(),
        cluster_domain: "cluster.local".into(),
        proxy_image: "localhost/weft/proxy:0.1.0".into(),
        image_pull_policy: "IfNotPresent".into(),
        control_address: "10.0.0.9:15012".parse().unwrap(),
        trust_anchors: "PEM $(A)".into(),
        resources: Resources::default(),
        log: "info".into(),
    }
}

fn injected(pod: &Value, annotations: &[(&str, &str)]) -> Value {
    let mut marks = Marks::default();
    marks.annotations.extend(annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    marks.labels.insert("weft.io/inject".into(), "enabled".into());
    let namespace = NamespaceMarks { name: "shop".into(), marks };
    let typed = serde_json::from_value(pod.clone()).unwrap();
    let Verdict::Inject(settings) = decide(&namespace, &typed, "weft") else { panic!("skipped") };
    let mut injected = pod.clone();
    apply(&mut injected, &patch(pod, &settings, &config()).operations);
    injected
}

#[test]
fn a_bare_pod_gets_everything() {
    let pod = injected(&json!({"metadata": {}, "spec": {"containers": [{"name": "web"}]}}), &[]);
    insta::assert_snapshot!(serde_saphyr::to_string(&pod).unwrap());
}

#[test]
fn what_a_pod_has_stays_behind_what_it_gets() {
    let pod = json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"a/b~c": "d", "prometheus.io/scrape": "true", "prometheus.io/port": "9"}},
        "spec": {
            "containers": [{"name": "web", "readinessProbe": {"httpGet": {"port": 80}}}],
            "initContainers": [{"name": "first"}, {"name": "side", "restartPolicy": "Always", "livenessProbe": {"grpc": {"port": 1}}}],
            "volumes": [{"name": "v"}],
        },
    });
    let pod = injected(&pod, &[("config.linkerd.io/opaque-ports", "1"), ("config.linkerd.io/proxy-uid", "7")]);
    let names: Vec<&Value> = pod["spec"]["initContainers"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["weft-init", "weft-proxy", "first", "side"]);
    assert_eq!(pod["spec"]["volumes"][0]["name"], "weft-token");
    assert_eq!(pod["spec"]["volumes"][1]["name"], "v");
    assert_eq!(pod["spec"]["initContainers"][3]["livenessProbe"]["httpGet"]["path"], "/app-health/side/livez");
    assert_eq!(pod["metadata"]["annotations"]["a/b~c"], "d");
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], "15020");
    assert_eq!(pod["metadata"]["annotations"]["config.linkerd.io/opaque-ports"], "1");
    assert_eq!(
        pod["metadata"]["labels"],
        json!({"app": "web", "weft.io/injected": "true", "weft.io/control-plane-ns": "weft"})
    );
    let environment = pod["spec"]["initContainers"][1]["env"].as_array().unwrap();
    let value = |name: &str| environment.iter().find(|it| it["name"] == name).unwrap()["value"].as_str().unwrap();
    assert_eq!(value("WEFT_SCRAPE"), r#"{"port":9,"path":"/metrics"}"#);
    assert_eq!(value("WEFT_TRUST_ANCHORS"), "PEM $$(A)", "the kubelet must expand nothing");
    assert_eq!(pod["spec"]["initContainers"][0]["args"][1], "7");
    assert_eq!(pod["spec"]["initContainers"][1]["securityContext"]["runAsUser"], 7);
}

/// What the proxy's user sends isn't redirected.
#[test]
fn the_proxy_has_a_user_of_its_own() {
    let pod = json!({"metadata": {}, "spec": {"securityContext": {"runAsUser": 2102},
        "containers": [{"name": "web", "securityContext": {"runAsUser": 2103}}]}});
    let injected = injected(&pod, &[]);
    let init = &injected["spec"]["initContainers"];
    assert_eq!(init[1]["securityContext"]["runAsUser"], 2104);
    assert_eq!(init[0]["args"][1], "2104");
    let remarks = patch(&pod, &Settings::default(), &config()).remarks;
    assert_eq!(remarks, ["a container runs as the user 2102, so the proxy runs as 2104"]);
}

#[test]
fn a_pod_is_injected_once() {
    let pod = injected(&json!({"metadata": {}, "spec": {"containers": []}}), &[]);
    assert_eq!(patch(&pod, &Settings::default(), &config()), Patch::default());
}

#[test]
fn a_template_without_metadata_gets_some() {
    let mut template = json!({"spec": {"containers": []}});
    let patch = patch(&template, &Settings::default(), &config());
    apply(&mut template, &patch.operations);
    assert_eq!(template["metadata"]["labels"]["weft.io/injected"], "true");
}

#[test]
fn images_are_put_together() {
    let image = |image: Option<&str>, tag: Option<&str>| {
        let settings = Settings { image: image.map(Into::into), tag: tag.map(Into::into), ..Settings::default() };
        let pod = json!({"spec": {"containers": []}});
        let mut injected = pod.clone();
        apply(&mut injected, &patch(&pod, &settings, &config()).operations);
        injected["spec"]["initContainers"][1]["image"].as_str().unwrap().to_owned()
    };
    assert_eq!(image(None, None), "localhost/weft/proxy:0.1.0");
    assert_eq!(image(None, Some("2")), "localhost/weft/proxy:2");
    assert_eq!(image(Some("r:5000/p"), None), "r:5000/p:0.1.0");
    assert_eq!(image(Some("r:5000/p:3"), None), "r:5000/p:3");
    assert_eq!(image(Some("r:5000/p:3"), Some("4")), "r:5000/p:4");
    assert_eq!(image(Some("p@sha256:1"), None), "p@sha256:1");
}

#[test]
fn both_containers_have_the_resources_that_a_quota_may_ask_for() {
    let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "web"}]}});
    let limits = [("config.linkerd.io/proxy-cpu-limit", "1"), ("config.linkerd.io/proxy-memory-limit", "64Mi")];
    let pod = injected(&pod, &limits);
    for container in [&pod["spec"]["initContainers"][0], &pod["spec"]["initContainers"][1]] {
        assert_eq!(container["resources"]["limits"], json!({"cpu": "1", "memory": "64Mi"}), "{container}");
    }
}

/// The API server refuses a pod whose containers together ask for more than the pod.
#[test]
fn where_the_pod_has_resources_as_a_whole_the_proxy_shares_them() {
    let own = json!({"requests": {"cpu": "100m"}});
    let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "web", "resources": own}], "resources": own}});
    let proxys = |annotations| injected(&pod, annotations)["spec"]["initContainers"][1]["resources"].clone();
    assert_eq!(proxys(&[]), json!({"requests": {}}));
    assert_eq!(proxys(&[("config.linkerd.io/proxy-cpu-request", "1m")]), json!({"requests": {"cpu": "1m"}}));
}

/// A name alone makes no proxy: the API server refuses two containers of one.
#[test]
fn a_pod_with_a_container_of_our_init_containers_name_is_not_taken_for_injected() {
    let pod = json!({
        "metadata": {},
        "spec": {"containers": [{"name": "web"}], "initContainers": [{"name": "weft-init"}]},
    });
    let pod = injected(&pod, &[]);
    let names: Vec<&Value> = pod["spec"]["initContainers"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["weft-init", "weft-proxy", "weft-init"]);
}
