//! The pods of the mesh, their proxies, and what stands between them.

use serde_json::{Value, json};

use super::*;

#[test]
fn other_versions_warn() {
    let found = after(|seen| {
        let mut old = meshed("shop", "old", json!({}));
        old["metadata"]["annotations"]["weft.io/proxy-version"] = json!("0.0.1");
        seen.pods.as_mut().unwrap().push(read(old.clone()));
        // One that has ended runs no version.
        old["status"]["phase"] = json!("Succeeded");
        seen.pods.as_mut().unwrap().push(read(old));
        let labels = seen.deployment.as_mut().unwrap().metadata.labels.as_mut().unwrap();
        labels.insert("app.kubernetes.io/version".to_owned(), "0.0.2".to_owned());
    });
    let version = crate::install::VERSION;
    assert_eq!(
        found,
        [
            format!("warning control plane and cli versions match: the control plane is 0.0.2, this weft is {version}"),
            format!("warning data plane is up-to-date: {version} is expected; shop/old run 0.0.1"),
            format!("warning data plane and cli versions match: {version} is expected; shop/old run 0.0.1"),
        ]
    );
    let expected = Asked { expected_version: Some("9.9.9".to_owned()), ..asked(Scope::Installed) };
    assert_eq!(
        wrong(&healthy(), &expected),
        [
            format!("warning control plane is up-to-date: the control plane is {version}, 9.9.9 is expected"),
            "warning data plane is up-to-date: 9.9.9 is expected; shop/p run 0.1.0".to_owned(),
            format!("warning cli is up-to-date: this weft is {version}, 9.9.9 is expected"),
        ]
    );
}

#[test]
fn proxies_that_are_not_ready_are_waited_for() {
    let found = after(|seen| {
        let mut pod = meshed("shop", "slow", json!({}));
        pod["status"]["initContainerStatuses"][0]["ready"] = json!(false);
        seen.pods = Ok(vec![read(pod)]);
    });
    assert_eq!(found, ["error data plane proxies are ready: the proxies of 1 pods aren't ready: shop/slow"]);
    let mut seen = healthy();
    seen.pods = Ok(Vec::new());
    let only = Asked { namespace: Some("shop".to_owned()), ..asked(Scope::Proxies) };
    assert_eq!(wrong(&seen, &only), ["error data plane proxies are ready: no pod of the namespace shop has a proxy"]);
    let none = Asked { namespace: Some("none".to_owned()), ..asked(Scope::Installed) };
    assert_eq!(wrong(&seen, &none), ["error data plane namespace exists: there is no namespace none"]);
}

#[test]
fn proxies_that_are_cut_off_are_told_though_they_are_ready() {
    let silent = |seen: &mut Observed| seen.unheard = Ok(vec!["shop/p".to_owned(), "elsewhere/q".to_owned()]);
    let line = "error data plane proxies follow the control plane:";
    assert_eq!(after(silent), [format!("{line} the control plane hears nothing of the proxies of shop/p")]);
    let mut seen = healthy();
    silent(&mut seen);
    assert!(conclude(&seen, &asked(Scope::Proxies)).only_waits(), "it may be on its way");

    let at = |address: &str, policy: &str, change: fn(&mut Observed)| {
        after(|seen| {
            change(seen);
            let mut pod = meshed("shop", "p", json!({}));
            pod["spec"]["initContainers"][0]["env"][0] = json!({"name": "WEFT_CONTROL_ADDRESS", "value": address});
            pod["spec"]["dnsPolicy"] = json!(policy);
            seen.pods = Ok(vec![read(pod)]);
            let (_, service) = seen.objects.iter_mut().find(|(expected, _)| expected["kind"] == "Service").unwrap();
            service.as_mut().unwrap()["spec"]["clusterIPs"] = json!(["10.96.0.7", "fd00::7"]);
        })
    };
    let unexplained = [format!("{line} the control plane hears nothing of the proxies of shop/p")];
    assert_eq!(at("10.96.0.7:15012", "ClusterFirst", silent), unexplained);
    assert_eq!(at("[fd00::7]:15012", "ClusterFirst", silent), unexplained);
    let lost = [format!("{line} the Service weft-controller has another address than shop/p were given")];
    assert_eq!(at("10.96.0.8:15012", "ClusterFirst", silent), lost);
    assert_eq!(at("10.96.0.8:15012", "ClusterFirst", |_| {}), Vec::<String>::new(), "it found the other");
    assert_eq!(at("10.96.0.8:15012", "Default", |_| {}), lost, "it can't find another once it is cut off");
}

#[test]
fn proxies_of_forgotten_anchors_warn() {
    let found = after(|seen| {
        let mut pod = meshed("shop", "p", json!({}));
        pod["spec"]["initContainers"][0]["env"][0] = anchored(&authority(Duration::ZERO).root_certificate);
        seen.pods = Ok(vec![read(pod)]);
    });
    let line = "warning data plane proxies certificate match CA: shop/p were injected with other anchors, and may not come \
                back when they start again";
    assert_eq!(found, [line]);
    let one_more = after(|seen| {
        let config = seen.anchors.as_mut().unwrap().data.as_mut().unwrap();
        let given = config["ca.crt"].clone();
        config.insert("ca.crt".to_owned(), format!("{given}{}", authority(Duration::ZERO).root_certificate));
        let mut pod = meshed("shop", "p", json!({}));
        pod["spec"]["initContainers"][0]["env"][0] = anchored(&given);
        seen.pods = Ok(vec![read(pod)]);
    });
    assert_eq!(one_more, [line], "an issuer may come from the new one next");
    let same = after(|seen| {
        let mut pod = meshed("shop", "p", json!({}));
        let config = seen.anchors.as_ref().unwrap();
        let written = format!("# ours\r\n{}", config.data.as_ref().unwrap()["ca.crt"].replace('\n', "\r\n"));
        pod["spec"]["initContainers"][0]["env"][0] = anchored(&written);
        seen.pods = Ok(vec![read(pod)]);
    });
    assert_eq!(same, Vec::<String>::new());
}

#[test]
fn marks_that_nothing_reads_warn() {
    let found = after(|seen| {
        seen.pods = Ok(vec![read(meshed("shop", "p", json!({"linkerd.io/inject": "enabled"})))]);
        seen.services = Ok(vec![read(json!({"metadata": {
            "namespace": "shop", "name": "s", "labels": {"config.linkerd.io/opaque-ports": "1"},
        }}))]);
        seen.namespaces = Ok(vec![read(json!({"metadata": {
            "name": "shop", "annotations": {"istio-injection": "enabled"},
            "labels": {"config.linkerd.io/admission-webhooks": "disabled"},
        }}))]);
    });
    assert_eq!(
        found,
        [
            "warning pod labels are configured correctly: nothing reads Pod shop/p: linkerd.io/inject",
            "warning service labels are configured correctly: nothing reads Service shop/s: config.linkerd.io/opaque-ports",
            "warning namespace labels and annotations are configured correctly: nothing reads Namespace shop: annotation \
             istio-injection",
        ]
    );
}

#[test]
fn pods_that_lack_their_proxy_and_namespaces_that_refuse_it_warn() {
    let found = after(|seen| {
        seen.pods = Ok(vec![
            read(pod("shop", "early", json!({}))),
            read(pod("shop", "out", json!({"sidecar.istio.io/inject": "false"}))),
            read(pod("other", "p", json!({}))),
        ]);
        let labels = seen.namespaces.as_mut().unwrap()[0].metadata.labels.get_or_insert_default();
        labels.insert("pod-security.kubernetes.io/enforce".to_owned(), "baseline".to_owned());
    });
    assert_eq!(
        found,
        [
            "warning pods that should have a proxy have one: 1 run without a proxy, outside of the mesh: shop/early",
            "warning meshed namespaces admit the proxy's init container: the Pod Security level refuses weft-init's \
             NET_ADMIN in shop (baseline)",
        ]
    );
}

/// What a policy with this spec, in the namespace `shop`, closes.
fn closes(spec: Value) -> Vec<String> {
    after(|seen| {
        seen.network_policies = Ok(vec![read(json!({"metadata": {"namespace": "shop", "name": "np"}, "spec": spec}))]);
    })
}

#[test]
fn policies_that_close_the_meshs_ports_warn() {
    let everything = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    assert_eq!(
        closes(everything),
        [
            "warning the mesh port 15008 is open into pods: shop/p (by np)",
            "warning the mesh port 15008 is open out of pods: shop/p (by np)",
            "warning the controller's port 15012 is open out of pods: shop/p (by np)",
        ]
    );
    let none = Vec::<String>::new();
    assert_eq!(closes(json!({"podSelector": {"matchLabels": {"app": "other"}}})), none);
    assert_eq!(closes(json!({"podSelector": {}, "ingress": [{}]})), none);
    assert_eq!(closes(json!({"podSelector": {}, "ingress": [{"ports": [{"port": 15008}]}]})), none);
    assert_eq!(closes(json!({"podSelector": {}, "ingress": [{"ports": [{"port": 15000, "endPort": 15010}]}]})), none);
    assert_eq!(
        closes(json!({"podSelector": {}, "ingress": [{"ports": [{"port": 15008, "protocol": "UDP"}, {"port": 80}]}]}))
            .len(),
        1
    );
    let out = |to: Value| closes(json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": to}]}));
    assert_eq!(
        out(json!([{"podSelector": {}}])),
        ["warning the controller's port 15012 is open out of pods: shop/p (by np)"]
    );
    let weft = json!([{"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["weft"]},
    ]}}]);
    assert_eq!(out(weft), none);
}

#[test]
fn a_policy_around_the_controller_warns() {
    let found = after(|seen| {
        let spec = json!({"podSelector": {}, "ingress": [{"ports": [{"port": 15012}]}]});
        seen.network_policies = Ok(vec![read(json!({"metadata": {"namespace": "weft", "name": "np"}, "spec": spec}))]);
    });
    assert_eq!(found, ["warning the webhooks' port 15017 is open into the controller: weft/c (by np)"]);
}

#[test]
fn opaque_ports_are_compared_between_service_pod_and_namespace() {
    let opaque = |list: &str| json!({"config.linkerd.io/opaque-ports": list});
    let told = |service: Value, pod: Value, namespace: Value| {
        after(|seen| {
            let mut meshed = meshed("shop", "db-0", json!({"app": "db"}));
            meshed["metadata"]["annotations"].as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
            meshed["spec"]["containers"] = json!([{"name": "db", "ports": [{"containerPort": 5432, "name": "pg"}]}]);
            seen.pods = Ok(vec![read(meshed)]);
            seen.services = Ok(vec![read(json!({
                "metadata": {"name": "db", "namespace": "shop", "annotations": service},
                "spec": {"selector": {"app": "db"}, "ports": [{"port": 15432, "targetPort": "pg"}, {"port": 53, "protocol": "UDP"}]},
            }))]);
            seen.namespaces.as_mut().unwrap()[0].metadata.annotations.as_mut().unwrap().extend(
                namespace
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())),
            );
        })
    };
    let none = || json!({});
    assert_eq!(told(none(), none(), none()), [""; 0]);
    assert_eq!(told(opaque("15432"), opaque("pg"), none()), [""; 0]);
    assert_eq!(told(none(), none(), opaque("15432,5432")), [""; 0]);
    assert_eq!(
        told(opaque("15432"), none(), none()),
        [
            "warning opaque ports are properly annotated: the Service db says that 15432 is opaque, shop/db-0 doesn't of 5432"
        ]
    );
    assert_eq!(
        told(none(), none(), opaque("5432")),
        [
            "warning opaque ports are properly annotated: shop/db-0 says that 5432 is opaque, the Service db doesn't of 15432"
        ]
    );
}

#[test]
fn pods_beyond_the_clusters_networks_are_told() {
    let found = after(|seen| {
        let mut pod = meshed("shop", "far", json!({}));
        pod["status"]["podIPs"] = json!([{"ip": "10.1.2.3"}, {"ip": "2001:db8::1"}]);
        seen.pods = Ok(vec![read(pod)]);
        seen.nodes.as_mut().unwrap()[0].spec = Some(read(json!({"podCIDRs": ["10.244.0.0/24", "203.0.113.0/24"]})));
    });
    assert_eq!(
        found,
        [
            "warning cluster networks contain all pods: outside of the private networks: shop/far has 2001:db8::1, the node n1 \
          gives 203.0.113.0/24"
        ]
    );
}
