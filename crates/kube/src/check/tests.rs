mod data_plane;

use std::time::{Duration, UNIX_EPOCH};

use k8s_openapi::ByteString;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use weft_identity::{Authority, AuthorityLifetimes};

use super::*;
use crate::crds::DEFINITIONS;
use crate::install::{Plan, RootNamespace, Values, manifests};

const NOW: i64 = 1_800_000_000;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn asked(scope: Scope) -> Asked {
    Asked { scope, namespace: None, expected_version: None }
}

fn base64(bytes: &[u8]) -> Value {
    serde_json::to_value(ByteString(bytes.to_vec())).unwrap()
}

/// An authority that was made `age` before now.
fn authority(age: Duration) -> weft_identity::AuthorityPem {
    let made = identity::moment(NOW) - age;
    let domain = "cluster.local".parse().unwrap();
    Authority::generate(&domain, made, AuthorityLifetimes::default()).unwrap().to_pem().unwrap()
}

/// A webhook's certificate for this name, and the bundle that it is judged by.
fn webhook(host: &str, days: u64) -> (String, String) {
    let date = |seconds: u64| time::OffsetDateTime::from(UNIX_EPOCH + Duration::from_secs(seconds));
    let now = u64::try_from(NOW).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (authority.not_before, authority.not_after) = (date(now - 86_400), date(now + 8_640_000));
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let mut leaf = CertificateParams::new(vec![host.to_owned()]).unwrap();
    (leaf.not_before, leaf.not_after) = (date(now - 86_400), date(now + days * 86_400 - 1));
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    (leaf.pem(), issuer.pem())
}

fn pod(namespace: &str, name: &str, labels: Value) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// A pod with a proxy that is ready.
fn meshed(namespace: &str, name: &str, labels: Value) -> Value {
    let mut pod = pod(namespace, name, labels);
    pod["metadata"]["annotations"] = json!({"weft.io/proxy-version": crate::install::VERSION});
    pod["spec"]["initContainers"] = json!([{"name": "weft-proxy", "env": [{"name": "WEFT_NODE_NAME", "value": "n1"}]}]);
    pod["status"]["initContainerStatuses"] =
        json!([{"name": "weft-proxy", "ready": true, "image": "", "imageID": "", "restartCount": 0}]);
    pod
}

/// What the injector gives a proxy of the anchors.
fn anchored(pem: &str) -> Value {
    json!({"name": "WEFT_TRUST_ANCHORS", "value": pem})
}

/// A cluster in which all is well.
fn healthy() -> Observed {
    let plan = Plan {
        namespace: "weft".to_owned(),
        values: Values::default(),
        root_namespace: RootNamespace::Theirs,
        meshed: vec!["shop".to_owned()],
    };
    let (certificate, bundle) = webhook("weft-controller.weft.svc", 60);
    let mut objects = manifests(&plan);
    for object in &mut objects {
        for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
            webhook["clientConfig"]["caBundle"] = base64(bundle.as_bytes());
        }
    }
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap().clone();
    let authority = authority(Duration::from_secs(86_400));
    let mut seen = Observed::nothing("weft", NOW);
    seen.api = Ok((1, 33));
    seen.server_now = Some(NOW);
    seen.nodes = Ok(vec![read(json!({
        "metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }))]);
    seen.leases = Ok(vec![lease(NOW - 5)]);
    seen.own_namespace =
        Ok(read(json!({"metadata": {"name": "weft", "labels": {"kubernetes.io/metadata.name": "weft"}}})));
    seen.definitions = DEFINITIONS.iter().map(|definition| Ok(definition.manifest())).collect();
    seen.values = Ok(read(json!({"metadata": {"name": "weft-config"}})));
    seen.anchors = Ok(read(json!({"metadata": {}, "data": {"ca.crt": authority.root_certificate}})));
    seen.issuer = Ok(read(json!({"metadata": {}, "data": {
        "tls.crt": base64(authority.issuer_certificate.as_bytes()), "tls.key": base64(authority.issuer_key.as_bytes()),
    }})));
    seen.webhook_certificate = Ok(read(json!({"metadata": {}, "data": {"tls.crt": base64(certificate.as_bytes())}})));
    let mut running = deployment;
    running["status"] = json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
    seen.deployment = Ok(read(running));
    seen.controllers = Ok(vec![read(pod("weft", "c", json!({"weft.io/component": "controller"})))]);
    seen.objects = objects.into_iter().map(|object| (object.clone(), Ok(object))).collect();
    seen.reach = Reach::Injected;
    seen.namespaces =
        Ok(vec![read(json!({"metadata": {"name": "shop", "annotations": {"linkerd.io/inject": "enabled"}}}))]);
    seen.pods = Ok(vec![read(meshed("shop", "p", json!({"app": "till"})))]);
    seen.services = Ok(Vec::new());
    seen.network_policies = Ok(Vec::new());
    seen
}

fn lease(renewed: i64) -> k8s_openapi::api::coordination::v1::Lease {
    let time = k8s_openapi::jiff::Timestamp::from_second(renewed).unwrap();
    read(json!({"metadata": {"name": "n1"}, "spec": {"renewTime": format!("{time:.6}")}}))
}

/// What isn't fine: `result description: error`.
fn wrong(seen: &Observed, asked: &Asked) -> Vec<String> {
    let report = conclude(seen, asked);
    let checks = report.categories.iter().flat_map(|category| &category.checks);
    let told = checks.filter_map(|check| {
        let problem = check.finding.problem()?;
        assert!(!problem.hint.is_empty());
        Some(format!("{} {}: {}", check.finding.result(), check.description, problem.error))
    });
    told.collect()
}

/// All that is wrong after a change to what was healthy.
fn after(change: impl FnOnce(&mut Observed)) -> Vec<String> {
    let mut seen = healthy();
    change(&mut seen);
    wrong(&seen, &asked(Scope::Proxies))
}

fn secret(entries: &[(&str, &str)]) -> Seen<k8s_openapi::api::core::v1::Secret> {
    let data: serde_json::Map<String, Value> =
        entries.iter().map(|(key, text)| ((*key).to_owned(), base64(text.as_bytes()))).collect();
    Ok(read(json!({"metadata": {}, "data": data})))
}

#[test]
fn a_healthy_cluster_has_nothing_wrong() {
    assert_eq!(after(|_| {}), Vec::<String>::new());
    assert!(conclude(&healthy(), &asked(Scope::Installed)).success());
    assert!(conclude(&healthy(), &asked(Scope::Definitions)).success());
}

#[test]
fn without_an_api_nothing_else_is_judged() {
    let mut seen = Observed::nothing("weft", NOW);
    seen.api = Err(Unseen::Failed("ask for its version: refused".to_owned()));
    assert_eq!(wrong(&seen, &asked(Scope::Pre)), ["error can query the Kubernetes API: ask for its version: refused"]);
}

#[test]
fn an_old_cluster_and_a_missing_installation_are_told() {
    assert_eq!(
        after(|seen| seen.api = Ok((1, 28))),
        ["error is running the minimum Kubernetes API version: the cluster runs 1.28; Weft needs 1.29 or later"]
    );
    assert_eq!(
        after(|seen| seen.values = Err(Unseen::Absent)),
        ["error 'weft-config' config map exists: Weft isn't installed in the namespace weft"]
    );
}

#[test]
fn before_an_installation_rights_and_the_namespace_count() {
    let mut seen = healthy();
    let right = |resource, in_namespace, allowed| Right { verb: "create", resource, group: "", in_namespace, allowed };
    seen.rights = vec![
        right("namespaces", false, Ok(false)),
        right("secrets", true, Err(Unseen::Failed("timeout".to_owned()))),
        right("services", true, Ok(true)),
    ];
    assert_eq!(
        wrong(&seen, &asked(Scope::Pre)),
        [
            "error control plane namespace does not already exist: the namespace weft already exists",
            "error can create non-namespaced resources: no right to create namespaces",
            "error can create Secrets: no right to create secrets",
        ]
    );
}

#[test]
fn definitions_that_lack_a_version_fail() {
    let found = after(|seen| {
        seen.definitions[0].as_mut().unwrap()["spec"]["versions"][0]["served"] = json!(false);
        seen.definitions[1] = Err(Unseen::Absent);
    });
    assert_eq!(
        found,
        [
            "error control plane CustomResourceDefinitions exist: peerauthentications.security.istio.io doesn't serve v1, \
          authorizationpolicies.security.istio.io is missing"
        ]
    );
}

#[test]
fn rights_that_were_taken_away_are_named() {
    let found = after(|seen| {
        for (expected, found) in &mut seen.objects {
            let found = found.as_mut().unwrap();
            match expected["kind"].as_str() {
                Some("ClusterRole") => found["rules"][0]["verbs"] = json!(["get"]),
                Some("RoleBinding") => found["subjects"] = json!([]),
                _ => {}
            }
        }
    });
    assert_eq!(
        found,
        [
            "error control plane has the rights that it needs: weft-controller has no right to list/watch namespaces, use its \
          role (the RoleBinding names another)"
        ]
    );
}

#[test]
fn a_controller_that_only_starts_is_waited_for_and_a_broken_one_is_not() {
    let waiting = |reason: &str| {
        let mut seen = healthy();
        seen.controllers = Ok(vec![read(json!({"metadata": {"namespace": "weft", "name": "c"}, "status": {
            "containerStatuses": [{"name": "controller", "ready": false, "image": "", "imageID": "", "restartCount": 0,
                                   "state": {"waiting": {"reason": reason}}}],
        }}))]);
        conclude(&seen, &asked(Scope::Installed))
    };
    assert!(waiting("ContainerCreating").only_waits());
    assert_eq!(waiting("ContainerCreating").first_failure(), Some("control plane pods are ready"));
    assert!(!waiting("CrashLoopBackOff").only_waits() && !waiting("CrashLoopBackOff").success());
    assert!(!waiting("ImagePullBackOff").only_waits());
}

#[test]
fn a_rollout_that_goes_no_further_is_told_beside_an_old_pod_that_serves() {
    let mut seen = healthy();
    let new = json!({"metadata": {"namespace": "weft", "name": "new"}, "status": {
        "containerStatuses": [{"name": "controller", "ready": false, "image": "", "imageID": "", "restartCount": 3,
                               "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
    }});
    let deployment = seen.deployment.as_mut().unwrap().status.as_mut().unwrap();
    deployment.replicas = Some(2);
    assert_eq!(
        wrong(&seen, &asked(Scope::Installed)),
        [
            "error control plane replica sets are ready: 1 of 1 replicas are available, 1 of the newest version, 1 of others"
        ]
    );
    assert!(conclude(&seen, &asked(Scope::Installed)).only_waits());
    seen.controllers.as_mut().unwrap().push(read(new));
    let told = wrong(&seen, &asked(Scope::Installed));
    assert_eq!(told[1], "error control plane pods are ready: weft/new: controller: CrashLoopBackOff");
    assert!(!conclude(&seen, &asked(Scope::Installed)).only_waits());
}

#[test]
fn what_may_not_be_read_is_a_warning_and_not_called_missing() {
    let no_right = || Unseen::Forbidden("no right".to_owned());
    let mut seen = healthy();
    seen.objects.iter_mut().for_each(|(_, found)| *found = Err(no_right()));
    seen.definitions.iter_mut().for_each(|found| *found = Err(no_right()));
    let told = wrong(&seen, &asked(Scope::Proxies));
    assert!(told.len() >= 12 && told.iter().all(|line| line.starts_with("warning ")), "{told:#?}");
    assert!(told.iter().all(|line| line.ends_with(": no right")), "{told:#?}");
}

#[test]
fn broken_keys_and_expired_issuers_are_told_from_each_other() {
    let good = authority(Duration::ZERO);
    let (issuer, key) = (good.issuer_certificate.as_str(), good.issuer_key.as_str());
    let first = |issuer| after(|seen| seen.issuer = issuer).remove(0);
    let valid = "error certificate config is valid: the Secret weft-issuer";
    assert_eq!(
        first(secret(&[("tls.key", key)])),
        format!("{valid}: expected the key tls.crt, found none or no text in it")
    );
    assert_eq!(
        first(secret(&[("tls.crt", "hello"), ("tls.key", key)])),
        format!("{valid}, tls.crt: expected certificates in PEM, found none")
    );
    let fits = "error issuer cert fits its key and is issued by the trust anchor: the Secret weft-issuer: ";
    let strange = first(secret(&[("tls.crt", issuer), ("tls.key", key)]));
    assert!(strange.starts_with(fits), "{strange}");
    let no_key = after(|seen| {
        seen.anchors = Ok(read(json!({"metadata": {}, "data": {"ca.crt": good.root_certificate}})));
        seen.issuer = secret(&[("tls.crt", issuer), ("tls.key", "hello")]);
    });
    assert!(no_key[0].starts_with(fits) && no_key[0].contains("key"), "{no_key:?}");
    assert_ne!(strange, no_key[0]);
    let old = authority(Duration::from_secs(364 * 86_400));
    let fits = |seen: &mut Observed, authority: &weft_identity::AuthorityPem| {
        seen.anchors = Ok(read(json!({"metadata": {}, "data": {"ca.crt": authority.root_certificate}})));
        seen.issuer = secret(&[("tls.crt", &authority.issuer_certificate), ("tls.key", &authority.issuer_key)]);
    };
    let soon = after(|seen| fits(seen, &old));
    assert!(soon[0].starts_with("warning issuer cert is valid for at least 60 days: "), "{soon:?}");
    let expired = after(|seen| fits(seen, &authority(Duration::from_secs(367 * 86_400))));
    assert!(expired[0].starts_with("error issuer cert is within its validity period: "), "{expired:?}");
    assert!(
        first(Err(Unseen::Forbidden("no right".to_owned())))
            .starts_with("warning certificate config is valid: no right")
    );
    let leaf = after(|seen| {
        seen.anchors = Ok(read(json!({"metadata": {}, "data": {"ca.crt": webhook("x", 1).0}})));
    });
    assert!(leaf[0].contains("may not sign others"), "{leaf:?}");
}

#[test]
fn what_the_controller_makes_as_it_starts_is_waited_for_only_then() {
    let mut seen = healthy();
    seen.issuer = Err(Unseen::Absent);
    assert!(!conclude(&seen, &asked(Scope::Installed)).only_waits(), "it runs, and won't make it");
    seen.controllers = Ok(Vec::new());
    assert!(conclude(&seen, &asked(Scope::Installed)).only_waits());
}

#[test]
fn a_webhook_that_was_changed_is_told() {
    let told = |change: fn(&mut Vec<Value>)| {
        after(|seen| {
            let injector =
                seen.objects.iter_mut().find(|(expected, _)| expected["metadata"]["name"] == "weft-injector");
            change(injector.unwrap().1.as_mut().unwrap()["webhooks"].as_array_mut().unwrap());
        })
    };
    assert_eq!(
        told(|webhooks| drop(webhooks.remove(0))),
        ["error webhooks are as they were installed: missing: meshed.inject.weft.io"]
    );
    assert_eq!(
        told(|webhooks| webhooks[0]["failurePolicy"] = json!("Ignore")),
        ["warning webhooks are as they were installed: changed: meshed.inject.weft.io (failurePolicy \"Ignore\")"]
    );
    assert_eq!(told(|webhooks| webhooks[0]["timeoutSeconds"] = json!(30)), [""; 0]);
}

#[test]
fn a_webhooks_certificate_is_judged_as_the_api_server_does() {
    let told = |certificate: &str| {
        let mut found = after(|seen| seen.webhook_certificate = secret(&[("tls.crt", certificate)]));
        assert_eq!(found.len(), 2, "{found:?}");
        found.remove(0)
    };
    let prefix = "error weft-injector webhook has valid cert: weft-webhook, tls.crt: ";
    assert_eq!(
        told(&webhook("weft-controller.weft.svc", 60).0),
        format!("{prefix}it was signed by another authority than the caBundle's")
    );
    assert_eq!(told(""), format!("{prefix}it holds no certificate"));
    let fits = |host: &str, days| {
        after(|seen| {
            let (certificate, bundle) = webhook(host, days);
            seen.webhook_certificate = secret(&[("tls.crt", &certificate)]);
            for (_, found) in &mut seen.objects {
                for webhook in found.as_mut().unwrap()["webhooks"].as_array_mut().into_iter().flatten() {
                    webhook["clientConfig"]["caBundle"] = base64(bundle.as_bytes());
                }
            }
        })
    };
    assert_eq!(fits("weft-controller.other.svc", 60)[0], format!("{prefix}it isn't for weft-controller.weft.svc"));
    assert_eq!(fits("weft-controller.weft.svc", 0)[0], format!("{prefix}it has expired"));
    let missing = after(|seen| {
        for (_, found) in &mut seen.objects {
            for webhook in found.as_mut().unwrap()["webhooks"].as_array_mut().into_iter().flatten() {
                webhook["clientConfig"] = json!({});
            }
        }
    });
    assert!(missing[0].ends_with("meshed.inject.weft.io has no caBundle yet"), "{missing:?}");
}

#[test]
fn what_the_api_server_says_of_the_webhook_is_passed_on() {
    let found = after(|seen| seen.reach = Reach::Failed("failed calling webhook: timeout".to_owned()));
    assert_eq!(found, ["error webhooks can be reached by the Kubernetes API: failed calling webhook: timeout"]);
    assert!(after(|seen| seen.reach = Reach::Unknown("no right".to_owned()))[0].starts_with("warning "));
    assert!(after(|seen| seen.reach = Reach::NotInjected)[0].starts_with("error "));
}

#[test]
fn clocks_that_differ_warn() {
    assert_eq!(
        after(|seen| seen.server_now = Some(NOW + 60))[0],
        "warning no clock skew detected: this machine's clock is 60 s behind of the API server's"
    );
    assert_eq!(
        after(|seen| seen.leases = Ok(vec![lease(NOW + 300)]))[0],
        "warning no clock skew detected: the clock of the node n1 is 300 s ahead of the API server's"
    );
    assert_eq!(after(|seen| seen.leases = Ok(vec![lease(NOW - 300)])).len(), 1);
    // A node that is lost renews nothing, whatever its clock.
    assert_eq!(
        after(|seen| {
            seen.leases = Ok(vec![lease(NOW - 300)]);
            seen.nodes = Ok(vec![read(json!({"metadata": {"name": "n1"}}))]);
        }),
        Vec::<String>::new()
    );
}

#[test]
fn the_json_form_is_linkerds() {
    let mut seen = healthy();
    seen.values = Err(Unseen::Absent);
    let report = serde_json::to_value(conclude(&seen, &asked(Scope::Installed))).unwrap();
    assert_eq!(report["success"], false);
    assert_eq!(report["categories"][0]["categoryName"], "kubernetes-api");
    assert_eq!(
        report["categories"][0]["checks"][1],
        json!({"description": "can query the Kubernetes API", "result": "success"})
    );
    let last = &report["categories"][2]["checks"][0];
    assert_eq!(last["result"], "error");
    assert!(last["hint"].is_string() && last["error"].is_string());
}

#[test]
fn what_the_controller_says_is_told_line_by_line() {
    let said = |lines: &[&str]| {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        after(|seen| seen.problems = Ok(lines))
    };
    assert_eq!(said(&[]), [""; 0]);
    assert_eq!(
        said(&[
            "AuthorizationPolicy shop/web: spec.rulez: expected a known field",
            "PeerAuthentication shop/a: warning: the same as b",
            "Pods: no right to list them",
            "the proxy of shop/web-1 refused the record inbound: too long",
        ]),
        [
            "error control plane is content with AuthorizationPolicy shop/web: spec.rulez: expected a known field",
            "warning control plane is content with PeerAuthentication shop/a: the same as b",
            "error control plane is content with Pods: no right to list them",
            "error control plane is content with the proxy of shop/web-1 refused the record inbound: too long",
        ]
    );
    assert_eq!(
        after(|seen| seen.problems = Err(Unseen::Failed("forward: no right".to_owned()))),
        ["warning control plane can be asked: forward: no right"]
    );
}

#[test]
fn keys_that_no_proxy_verifies_fail() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let good = params.clone().self_signed(&key).unwrap().pem();
    let found = |pem: &str| {
        let anchors = Ok(read(json!({"metadata": {}, "data": {"ca.crt": pem}})));
        let told = after(|seen| seen.anchors = anchors);
        told.into_iter().filter(|line| line.contains("crypto algorithm")).collect::<Vec<_>>()
    };
    assert_eq!(found(&good), [""; 0]);
    let weak = include_str!("tests/rsa1024.pem");
    assert_eq!(
        found(weak),
        [
            "error trust anchors are using supported crypto algorithm: \"CN=weak\" has a key of RSA with 1024 bits; proxies \
          know ECDSA (P-256, P-384, P-521), Ed25519, and RSA from 2048 bits on"
        ]
    );
}
