use serde_json::Value;

use super::*;

fn plan(settings: &[Setting]) -> Plan {
    Plan {
        namespace: "weft".to_owned(),
        values: Values::of(settings).unwrap(),
        root_namespace: RootNamespace::Ours,
        meshed: Vec::new(),
    }
}

fn set(pair: &str) -> Setting {
    Setting::Set(pair.to_owned())
}

fn file(text: &str) -> Setting {
    Setting::File { name: "my.yaml".to_owned(), text: text.to_owned() }
}

fn refused(setting: Setting) -> String {
    Values::of(&[setting]).unwrap_err().to_string()
}

/// The only object of this kind and name.
fn object<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = all.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let object = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none());
    object
}

#[test]
fn the_text_reads_back_as_the_objects_and_is_the_same_each_time() {
    let all = manifests(&plan(&[]));
    let text = render(&all, Form::Yaml);
    assert_eq!(text, render(&manifests(&plan(&[])), Form::Yaml));
    let documents = text.split("---\n").filter(|document| !document.is_empty());
    let read: Vec<Value> = documents.map(|document| serde_saphyr::from_str(document).unwrap()).collect();
    assert_eq!(read, all);
    let list: Value = serde_json::from_str(&render(&all, Form::Json)).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"].as_array()), (Some("List"), Some(&all)));
}

/// What YAML 1.1, which kubectl reads, would take for something else than a string.
#[test]
fn strings_stay_strings_for_readers_of_older_yaml() {
    for text in ["yes", "on", "y", "N", "0x10", "1e3", "1_000", "null", "~", "*", "", "\u{e9}"] {
        let yaml = render::yaml(&json!({"a": text}));
        let scalar = yaml.trim_end().strip_prefix("a: ").unwrap();
        let quoted = scalar.starts_with(['"', '\'']);
        assert!(quoted || text == "\u{e9}", "{text:?} became {scalar}");
    }
}

#[test]
fn namespaces_come_first_and_what_needs_the_controller_last() {
    let all = manifests(&plan(&[]));
    let kinds: Vec<&str> = all.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "Namespace",
            "Namespace",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "ConfigMap",
            "Service",
            "Deployment",
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration"
        ]
    );
    for object in &all {
        let namespaced = !object["metadata"]["namespace"].is_null();
        let cluster = ["Namespace", "ClusterRole", "ClusterRoleBinding"].contains(&object["kind"].as_str().unwrap())
            || object["kind"].as_str().unwrap().ends_with("Configuration");
        assert_ne!(namespaced, cluster, "{object}");
    }
}

#[test]
fn no_secret_is_printed() {
    let text = render(&manifests(&plan(&[])), Form::Yaml);
    assert!(!text.contains("kind: Secret\n") && !text.contains("PRIVATE KEY"), "{text}");
}

#[test]
fn the_root_namespace_is_made_only_where_it_is_absent() {
    let made = |root_namespace| {
        let all = manifests(&Plan { root_namespace, ..plan(&[]) });
        let found = all.iter().find(|object| object["metadata"]["name"] == ROOT_NAMESPACE).cloned();
        found.map(|namespace| namespace["metadata"]["labels"][MANAGED_BY] == MANAGER)
    };
    assert_eq!(made(RootNamespace::Ours), Some(true));
    assert_eq!(made(RootNamespace::Unknown), Some(false));
    assert_eq!(made(RootNamespace::Theirs), None);
}

#[test]
fn values_reach_the_controller() {
    let all = manifests(&plan(&[
        set("trustDomain=example.org"),
        set("images.proxy=registry.example/p:2"),
        set("images.pullPolicy=Always"),
        set("certLifetime=1h30m"),
        set("defaultInboundPolicy=deny"),
        set("controller.resources.limits.memory="),
    ]));
    let container = &object(&all, "Deployment", "weft-controller")["spec"]["template"]["spec"]["containers"][0];
    let env = |name: &str| {
        let all = container["env"].as_array().unwrap();
        all.iter().find(|env| env["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(env("WEFT_NAMESPACE"), "weft");
    assert_eq!(env("WEFT_TRUST_DOMAIN"), "example.org");
    assert_eq!(env("WEFT_PROXY_IMAGE"), "registry.example/p:2");
    assert_eq!(env("WEFT_IMAGE_PULL_POLICY"), "Always");
    assert_eq!(env("WEFT_CERT_LIFETIME"), "1h30m");
    assert_eq!(env("WEFT_DEFAULT_INBOUND_POLICY"), "deny");
    assert_eq!(env("WEFT_PROXY_RESOURCES"), r#"{"requests":{"cpu":"10m","memory":"20Mi"}}"#);
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["resources"], json!({"requests": {"cpu": "50m", "memory": "50Mi"}}));
    let config = object(&all, "ConfigMap", "weft-config")["data"]["values.yaml"].as_str().unwrap();
    assert_eq!(
        Values::of(&[file(config)]),
        Ok(plan(&[
            set("trustDomain=example.org"),
            set("images.proxy=registry.example/p:2"),
            set("images.pullPolicy=Always"),
            set("certLifetime=1h30m"),
            set("defaultInboundPolicy=deny"),
            set("controller.resources.limits.memory="),
        ])
        .values)
    );
}

#[test]
fn later_settings_win_and_files_may_say_a_part() {
    let values = Values::of(&[
        file("trustDomain: a.example\nproxy:\n  resources:\n    requests: {cpu: 20m}\n"),
        set("trustDomain=b.example"),
        Setting::SetString("proxy.resources.limits.cpu=2".to_owned()),
        file(""),
    ]);
    let values = values.unwrap();
    assert_eq!(values.trust_domain, "b.example");
    assert_eq!(values.proxy.resources.requests, Quantities { cpu: "20m".to_owned(), memory: "20Mi".to_owned() });
    assert_eq!(values.proxy.resources.limits.cpu, "2");
}

#[test]
fn amounts_may_be_numbers_and_filters_lists() {
    let values = Values::of(&[
        file("proxy: {resources: {limits: {cpu: 2, memory: 100000000}}, logLevel: 'WARN,weft_proxy::http1=debug'}"),
        set("controller.resources.requests.cpu=0.5"),
        set("certLifetime=3s"),
        set("logLevel=info,weft_kube=debug"),
    ]);
    let values = values.unwrap();
    assert_eq!(values.proxy.resources.limits, Quantities { cpu: "2".to_owned(), memory: "100000000".to_owned() });
    assert_eq!(values.controller.resources.requests.cpu, "0.5");
    assert!(
        refused(set("proxy.resources.limits.cpu=-1"))
            .ends_with("expected an amount such as 100m or 20Mi, found \"-1\"")
    );
}

#[test]
fn what_an_installation_changes_is_told() {
    let values = |settings: &[Setting]| Values::of(settings).unwrap();
    let installed = values(&[set("trustDomain=a.example"), set("images.pullPolicy=Always")]);
    assert_eq!(installed.changes(&installed), Vec::<String>::new());
    assert_eq!(
        values(&[set("images.pullPolicy=Never")]).changes(&installed),
        [r#"trustDomain: "a.example" → "cluster.local""#, r#"images.pullPolicy: "Always" → "Never""#]
    );
}

#[test]
fn an_unknown_key_names_the_nearest() {
    assert_eq!(refused(set("trustdomian=x")), "--set: no value \"trustdomian\"; the nearest is \"trustDomain\"");
    assert_eq!(
        refused(set("images.pulPolicy=Always")),
        "--set: no value \"images.pulPolicy\"; the nearest is \"images.pullPolicy\""
    );
    assert_eq!(
        refused(file("proxy: {resource: {}}")),
        "my.yaml: no value \"proxy.resource\"; the nearest is \"proxy.resources\""
    );
}

#[test]
fn a_wrong_value_names_its_key_and_what_it_expects() {
    for (setting, expected) in [
        (set("trustDomain"), "expected KEY=VALUE, found \"trustDomain\""),
        (set("=x"), "expected KEY=VALUE, found \"=x\""),
        (set("images=x"), "images: expected a mapping, found \"x\""),
        (file("- a"), "my.yaml: expected a mapping, found [\"a\"]"),
        (
            set("images.pullPolicy=Sometimes"),
            "images.pullPolicy: expected Always, IfNotPresent or Never, found \"Sometimes\"",
        ),
        (set("certLifetime=24"), "certLifetime: expected a string, found 24"),
        (
            Setting::SetString("certLifetime=24".to_owned()),
            "certLifetime: expected a duration of 3s or more, such as 24h or 90m, found \"24\"",
        ),
        (set("certLifetime=2s"), "certLifetime: expected a duration of 3s or more, such as 24h or 90m, found \"2s\""),
        (
            set("proxy.logLevel=verbose"),
            "proxy.logLevel: expected a level such as warn, or a list such as info,weft_kube=debug, found \"verbose\"",
        ),
        (
            set("logLevel=a=b=info"),
            "logLevel: expected a level such as warn, or a list such as info,weft_kube=debug, found \"a=b=info\"",
        ),
        (set("clusterDomain=a..b"), "clusterDomain: expected a DNS domain such as cluster.local, found \"a..b\""),
        (set("trustDomain=Ex ample"), "trustDomain: expected a trust domain such as cluster.local, found \"Ex ample\""),
        (
            set("proxy.resources.requests.cpu=lots"),
            "proxy.resources.requests.cpu: expected an amount such as 100m or 20Mi, found \"lots\"",
        ),
    ] {
        assert_eq!(refused(setting), expected);
    }
    assert!(
        refused(set("defaultInboundPolicy=all")).starts_with("defaultInboundPolicy: expected all-unauthenticated,")
    );
    assert!(refused(file("a: [")).starts_with("my.yaml: "));
}

/// The restricted Pod Security level, as Kubernetes' documents define it.
#[test]
fn the_controllers_pod_is_restricted() {
    let all = manifests(&plan(&[]));
    let pod = &object(&all, "Deployment", "weft-controller")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["readOnlyRootFilesystem"], true);
    for key in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
        assert!(pod[key].is_null(), "{key}");
    }
    assert_eq!(
        object(&all, "Namespace", "weft")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
}

#[test]
fn no_right_is_wider_than_a_name_a_kind_and_a_verb() {
    for rule in cluster_rules().as_array().unwrap().iter().chain(namespace_rules().as_array().unwrap()) {
        for key in ["apiGroups", "resources", "verbs"] {
            let words = rule[key].as_array().unwrap();
            assert!(!words.is_empty() && words.iter().all(|word| word != "*"), "{rule}");
        }
        let writes = rule["verbs"].as_array().unwrap().iter().any(|verb| verb == "patch" || verb == "update");
        let resources = rule["resources"].to_string();
        assert!(
            !writes
                || rule["resourceNames"].is_array()
                || resources.contains("/status")
                || resources.contains("events"),
            "{rule}"
        );
        let root = rule["resourceNames"].to_string().contains("weft-root");
        assert!(!root || rule["verbs"] == json!(["get"]), "{rule}: nobody changes the root");
        let anchors = rule["resourceNames"].to_string().contains("weft-anchors");
        assert!(!(anchors && writes), "{rule}: people alone say whom to trust");
        let secrets = resources.contains("secrets") && !rule["resourceNames"].is_array();
        assert!(!secrets || rule["verbs"] == json!(["create"]), "{rule}");
    }
}

#[test]
fn webhooks_say_what_a_failure_may_do() {
    let all = manifests(&Plan { meshed: vec!["shop".to_owned()], ..plan(&[]) });
    let injector = object(&all, "MutatingWebhookConfiguration", "weft-injector");
    let told: Vec<(&str, &str)> = injector["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|webhook| (webhook["name"].as_str().unwrap(), webhook["failurePolicy"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("meshed.inject.weft.io", "Fail"),
            ("asked.inject.weft.io", "Fail"),
            ("labelled.inject.weft.io", "Fail"),
            ("rest.inject.weft.io", "Ignore"),
        ]
    );
    let first = &injector["webhooks"][0]["namespaceSelector"]["matchExpressions"];
    assert_eq!(first[0]["values"], json!(["shop"]));
    for webhook in injector["webhooks"].as_array().unwrap() {
        let last = webhook["namespaceSelector"]["matchExpressions"].as_array().unwrap().last().unwrap();
        assert_eq!(last["operator"], "NotIn");
        assert_eq!(
            last["values"],
            json!(["kube-system", "kube-public", "kube-node-lease", "local-path-storage", "weft"])
        );
        assert!(webhook["clientConfig"]["caBundle"].is_null());
    }
    let empty = manifests(&plan(&[]));
    let first = &object(&empty, "MutatingWebhookConfiguration", "weft-injector")["webhooks"][0];
    assert_eq!(first["namespaceSelector"]["matchExpressions"][0]["values"], json!([NO_NAMESPACE]));
}

#[test]
fn an_upgrade_takes_images_of_the_old_version_alone() {
    let set = |pair: &str| Setting::Set(pair.to_owned());
    let values = Values::of(&[
        set("images.controller=registry.example:5000/weft/controller:0.0.9"),
        set("images.proxy=mine:0.0.9-fips"),
    ]);
    let images = values.unwrap().upgraded(Some("0.0.9")).images;
    assert_eq!(images.controller, format!("registry.example:5000/weft/controller:{VERSION}"));
    assert_eq!(images.proxy, "mine:0.0.9-fips");
}
