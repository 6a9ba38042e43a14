use super::*;

fn injected(text: &str) -> String {
    inject(text, &Annotations::default()).unwrap().text
}

const DEPLOYMENT: &str = "\
# The shop's front.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web   # stays
spec:
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: web:1
";

#[test]
fn an_annotation_is_put_into_the_template() {
    insta::assert_snapshot!(injected(DEPLOYMENT), @r"
    # The shop's front.
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: web   # stays
    spec:
      template:
        metadata:
          annotations:
            linkerd.io/inject: enabled
          labels: {app: web}
        spec:
          containers:
          - name: web
            image: web:1
    ");
}

/// Each form in which annotations can be there, or not.
#[test]
fn every_form_takes_annotations_and_gives_them_back() {
    let pod = |metadata: &str| format!("kind: Pod\n{metadata}spec: {{}}\n");
    for (metadata, expected) in [
        ("", "metadata:\n  annotations:\n    linkerd.io/inject: enabled\nkind: Pod\nspec: {}\n"),
        ("metadata:\n", "kind: Pod\nmetadata: {\"annotations\": {\"linkerd.io/inject\": \"enabled\"}}\nspec: {}\n"),
        ("metadata: {}\n", "kind: Pod\nmetadata: {\"annotations\": {\"linkerd.io/inject\": \"enabled\"}}\nspec: {}\n"),
        (
            "metadata: {name: x}\n",
            "kind: Pod\nmetadata: {\"annotations\": {\"linkerd.io/inject\": \"enabled\"}, name: x}\nspec: {}\n",
        ),
        (
            "metadata:\n  annotations: # none\n  name: x\n",
            "kind: Pod\nmetadata:\n  annotations: {\"linkerd.io/inject\": \"enabled\"} # none\n  name: x\nspec: {}\n",
        ),
        (
            "metadata:\n    annotations:\n        # first\n        a: b\n",
            "kind: Pod\nmetadata:\n    annotations:\n        # first\n        linkerd.io/inject: enabled\n        a: b\nspec: {}\n",
        ),
        (
            "metadata:\n  annotations:\n    linkerd.io/inject: 'enabled'\n",
            "kind: Pod\nmetadata:\n  annotations:\n    linkerd.io/inject: 'enabled'\nspec: {}\n",
        ),
    ] {
        let text = pod(metadata);
        assert_eq!(injected(&text), expected, "{text}");
        let back = uninject(expected).unwrap();
        assert!(!back.text.contains("linkerd.io"), "{}", back.text);
        assert_eq!(injected(expected), expected, "injected twice");
    }
}

#[test]
fn line_ends_and_other_letters_are_kept() {
    let text = DEPLOYMENT.replace("web:1", "wéb:1").replace("shop", "Käufer").replace('\n', "\r\n");
    let edited = injected(&text);
    assert_eq!(edited.matches("\r\n").count(), edited.matches('\n').count());
    assert_eq!(edited.replace("      annotations:\r\n        linkerd.io/inject: enabled\r\n", ""), text);
    assert_eq!(uninject(&edited).unwrap().text, text);
}

#[test]
fn lists_documents_and_json_are_worked_on() {
    let text = "---\n# nothing\n---\nkind: List\nitems:\n- kind: ConfigMap\n  metadata: {name: c}\n- metadata:\n    name: p\n  kind: Pod\n---\n{\"kind\": \"Job\", \"metadata\": {\"name\": \"j\"}, \"spec\": {\"template\": {\"spec\": {}}}}\n";
    let edited = inject(text, &Annotations::default()).unwrap();
    let reports: Vec<String> = edited.reports.iter().map(ToString::to_string).collect();
    assert_eq!(reports, ["configmap \"c\" skipped", "pod \"p\" injected", "job \"j\" injected"]);
    assert!(edited.text.contains("- metadata:\n    annotations:\n      linkerd.io/inject: enabled\n    name: p\n"));
    let json = edited.text.rsplit("---\n").next().unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["spec"]["template"]["metadata"]["annotations"]["linkerd.io/inject"], "enabled");
    let back = uninject(&edited.text).unwrap();
    assert_eq!(back.text, text);
}

#[test]
fn settings_are_written_and_quoted() {
    let settings = vec![("config.linkerd.io/skip-inbound-ports".to_owned(), "80,443".to_owned())];
    let annotations = Annotations { ingress: true, settings };
    let edited =
        inject("kind: Pod\nmetadata:\n  annotations:\n    linkerd.io/inject: enabled\n", &annotations).unwrap();
    assert_eq!(
        edited.text,
        "kind: Pod\nmetadata:\n  annotations:\n    config.linkerd.io/skip-inbound-ports: \"80,443\"\n    linkerd.io/inject: ingress\n"
    );
}

#[test]
fn what_cannot_have_a_proxy_is_refused_or_skipped() {
    let pod = |spec: &str, value: &str| {
        format!("kind: Pod\nmetadata: {{name: x, annotations: {{linkerd.io/inject: {value}}}}}\nspec: {spec}\n")
    };
    let refused = |spec: &str| inject(&pod(spec, "enabled"), &Annotations::default()).unwrap_err().to_string();
    assert_eq!(refused("{hostNetwork: true}"), "failed to inject pod/x: hostNetwork is enabled");
    assert_eq!(
        refused("{containers: [{name: a, image: 'docker.io/istio/proxyv2:1.2'}]}"),
        "failed to inject pod/x: a sidecar is there already"
    );
    let text = pod("{hostNetwork: true}", "disabled");
    let edited = inject(&text, &Annotations::default()).unwrap();
    assert_eq!(edited.text, text);
    insta::assert_snapshot!(Report::lines(&edited.reports).join("\n"), @r#"

    ‼ "hostNetwork: true" detected in pod/x
    ‼ "linkerd.io/inject: disabled" annotation set on pod/x
    ‼ no supported objects found

    pod "x" skipped
    "#);
}

/// What would change at two places, or hide something, is left to its author.
#[test]
fn what_cannot_be_edited_safely_is_refused() {
    for text in [
        "kind: Pod\nmetadata: &m\n  name: x\nother: *m\n",
        "base: &b {metadata: {name: x}}\nkind: Pod\n<<: *b\n",
        "kind: Pod\nmetadata: &m\n",
        "kind: Pod\nmetadata: !!null\n",
        "x: &a {annotations: {}}\nkind: Pod\nmetadata: *a\n",
    ] {
        assert!(matches!(inject(text, &Annotations::default()), Err(ManifestError::Form { .. })), "{text}");
    }
    assert!(matches!(inject("a: [", &Annotations::default()), Err(ManifestError::Syntax { .. })));
    let deep = "[".repeat(100_000);
    assert!(matches!(inject(&deep, &Annotations::default()), Err(ManifestError::Syntax { .. })));
}

fn config() -> Config {
    Config {
        namespace: "weft".into(),
        trust_domain: "cluster.local".into(),
        cluster_domain: "cluster.local".into(),
        proxy_image: "localhost/weft/proxy:0.1.0".into(),
        image_pull_policy: "IfNotPresent".into(),
        control_address: "10.0.0.9:15012".parse().unwrap(),
        trust_anchors: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into(),
        resources: crate::inject::Resources::default(),
        log: "info".into(),
    }
}

fn rendered(text: &str) -> Edited {
    render(text, &Annotations::default(), &config()).unwrap()
}

/// Probes, a scrape, init containers and volumes of its own, and comments between them.
const BUSY: &str = "\
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: shop} # nightly
spec:
  schedule: '0 3 * * *'
  jobTemplate:
    spec:
      template:
        metadata:
          annotations:
            prometheus.io/scrape: \"true\"
            prometheus.io/port: '9090' # its own
        spec:
          initContainers:
          # first of all
          - name: migrate
            image: migrate:1
          - name: cache
            restartPolicy: Always
            startupProbe: {tcpSocket: {port: 6379}, periodSeconds: 2}
          containers:
            - name: web
              ports:
              - containerPort: 8080
                name: http
              livenessProbe: # must answer
                httpGet:
                  path: /live   # cheap
                  port: http

                periodSeconds: 5
              readinessProbe:
                grpc: {port: 9000}
          volumes:
          - name: data
            emptyDir: {}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec: {ports: [{port: 80}]}
";

/// What the text means, as the API server reads it.
fn value(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn a_sidecar_is_written_as_the_injector_would() {
    let edited = rendered(DEPLOYMENT);
    insta::assert_snapshot!(edited.text);
    let mut pod = value(DEPLOYMENT)["spec"]["template"].clone();
    let operations = crate::inject::patch(&pod, &crate::inject::Settings::default(), &config()).operations;
    crate::inject::apply(&mut pod, &operations);
    assert_eq!(value(&edited.text)["spec"]["template"], pod);
}

#[test]
fn everything_comes_back_as_it_was_written() {
    let json = serde_json::to_string_pretty(&value(BUSY.split("---").next().unwrap())).unwrap();
    let bare = "kind: Pod\nmetadata:\n  name: x\nspec:\n  containers: []\n".to_owned();
    let list = "kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n  spec:\n    containers:\n    - {name: a, livenessProbe: {exec: {command: [a]}}}\n".to_owned();
    let lines = BUSY.replace('\n', "\r\n");
    for text in [DEPLOYMENT.to_owned(), BUSY.to_owned(), BUSY.trim_end().to_owned(), json, bare, list, lines] {
        let edited = rendered(&text);
        assert!(edited.text.contains("weft-proxy"), "{}", edited.text);
        assert_eq!(rendered(&edited.text).text, edited.text, "written twice");
        assert_eq!(uninject(&edited.text).unwrap().text, text, "{}", edited.text);
    }
}

#[test]
fn what_was_asked_for_with_a_sidecar_goes_with_it() {
    let settings = vec![("config.linkerd.io/skip-outbound-ports".to_owned(), "4222".to_owned())];
    let edited = render(BUSY, &Annotations { ingress: true, settings }, &config()).unwrap();
    assert!(edited.text.contains("config.linkerd.io/skip-outbound-ports: \"4222\""), "{}", edited.text);
    assert!(
        edited.text.contains("\n            - \"--skip-outbound-ports\"\n            - \"4222\"\n"),
        "{}",
        edited.text
    );
    assert_eq!(uninject(&edited.text).unwrap().text, BUSY);
    assert!(
        edited.reports[0].remarks[0].starts_with("linkerd.io/inject: ingress means enabled"),
        "{:?}",
        edited.reports
    );
}

/// kubectl writes what it has read in another form.
#[test]
fn a_sidecar_is_taken_out_of_another_form_too() {
    let text = BUSY.split("---").next().unwrap();
    let yaml = serde_saphyr::to_string(&value(&rendered(text).text)).unwrap();
    let json = value(&rendered(text).text).to_string();
    for other in [yaml, json] {
        let edited = uninject(&other).unwrap_or_else(|error| panic!("{error}: {other}"));
        assert_eq!(value(&edited.text), value(text), "{other}");
    }
}

#[test]
fn a_sidecar_of_the_injector_is_taken_out_and_its_probes_are_told() {
    let pod = "kind: Pod\nmetadata: {name: a, labels: {app: a, weft.io/injected: \"true\"}}\nspec:\n  initContainers:\n  - {name: weft-init}\n  - {name: weft-proxy}\n  containers:\n  - {name: a, livenessProbe: {httpGet: {path: /app-health/a/livez, port: 15020}}}\n";
    let edited = uninject(pod).unwrap();
    assert!(!edited.text.contains("weft"), "{}", edited.text);
    assert_eq!(edited.reports[0].warnings, [Warning::Probes]);
}

#[test]
fn what_says_no_stays_so_in_whichever_words_and_whatever_it_is() {
    let pod = |marks: &str| format!("kind: Pod\nmetadata: {{name: x, {marks}}}\nspec: {{}}\n");
    let namespace = |marks: &str| format!("kind: Namespace\nmetadata: {{name: x, {marks}}}\n");
    let kept_out = [
        (pod("labels: {sidecar.istio.io/inject: 'false'}"), Warning::KeptOut),
        (pod("annotations: {sidecar.istio.io/inject: 'no'}"), Warning::KeptOut),
        (pod("labels: {weft.io/inject: disabled}"), Warning::KeptOut),
        (pod("annotations: {weft.io/inject: perhaps}"), Warning::KeptOut),
        (namespace("annotations: {linkerd.io/inject: disabled}"), Warning::Disabled),
        (namespace("labels: {istio-injection: disabled}"), Warning::KeptOut),
    ];
    for (text, warning) in kept_out {
        let edited = inject(&text, &Annotations::default()).unwrap();
        assert_eq!(edited.text, text);
        assert_eq!(
            (edited.reports[0].outcome, &*edited.reports[0].warnings),
            (Outcome::Skipped, &[warning][..]),
            "{text}"
        );
    }
    for text in [pod("annotations: {linkerd.io/inject: maybe}"), namespace("labels: {istio-injection: enabled}")] {
        assert!(inject(&text, &Annotations::default()).unwrap().text.contains("enabled"), "{text}");
    }
}

#[test]
fn what_can_have_no_sidecar_is_refused_or_left_alone() {
    let left = DEPLOYMENT.replace("labels: {app: web}", "annotations: {linkerd.io/inject: disabled}");
    assert_eq!(rendered(&left).text, left);
    let refused = |text: &str| render(text, &Annotations::default(), &config()).unwrap_err().to_string();
    let host = DEPLOYMENT.replace("      containers:", "      hostNetwork: true\n      containers:");
    assert_eq!(refused(&host), "failed to inject deployment/web: hostNetwork is enabled");
    let system = DEPLOYMENT.replace("name: web   # stays", "name: web\n  namespace: kube-system");
    assert!(refused(&system).starts_with("failed to inject deployment/web: "), "{}", refused(&system));
    let wrong = DEPLOYMENT.replace("- name: web", "- name: [web]");
    assert!(
        refused(&wrong).starts_with("line 2: deployment/web: expected a pod template, found "),
        "{}",
        refused(&wrong)
    );
    let alias = DEPLOYMENT.replace("image: web:1", "image: &image web:1\n        env: *image");
    assert!(refused(&alias).contains("a form that can't be edited"), "{}", refused(&alias));
    let nested = |lists: usize| format!("x: {}{}\n{DEPLOYMENT}", "[".repeat(lists), "]".repeat(lists));
    assert!(render(&nested(127), &Annotations::default(), &config()).is_ok());
    assert!(refused(&nested(128)).contains("nested too deeply"), "{}", refused(&nested(128)));
}

#[test]
fn nothing_stands_where_a_sidecar_is_written() {
    let text =
        "kind: Pod\nmetadata:\n  labels: {app: web}\n  annotations:\n    # none\nspec:\n  containers:\n  - name: web\n";
    let edited = rendered(text);
    // Where nothing was, the place of a mapping may move; what it says doesn't.
    assert_eq!(value(&rendered(&edited.text).text), value(&edited.text), "written twice");
    assert_eq!(value(&uninject(&edited.text).unwrap().text)["spec"], value(text)["spec"]);
}
