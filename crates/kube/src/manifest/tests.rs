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
