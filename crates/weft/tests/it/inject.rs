//! `weft inject` and `weft uninject`: manifests on standard output, the report on standard error.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::room::Room;

const WEB: &str = "\
# The shop's front.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers: [{name: web, ports: [{containerPort: 53, protocol: UDP}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
";

#[test]
fn a_manifest_is_injected_and_reported_on() {
    let room = Room::new().file("web.yaml", WEB);
    insta::assert_snapshot!(room.run("inject --ingress --skip-outbound-ports 4222 --opaque-ports 3306 web.yaml"), @r#"
    exit 0
    # The shop's front.
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      template:
        metadata:
          annotations:
            linkerd.io/inject: ingress
            config.linkerd.io/skip-outbound-ports: "4222"
            config.linkerd.io/opaque-ports: "3306"
        spec:
          containers: [{name: web, ports: [{containerPort: 53, protocol: UDP}]}]
    ---
    apiVersion: v1
    kind: Service
    metadata: {"annotations": {"config.linkerd.io/opaque-ports": "3306"}, name: web}
    --- stderr

    ‼ deployment/web uses "protocol: UDP"

    deployment "web" injected
    service "web" annotated

    "#);
}

#[test]
fn a_folder_is_one_stream_of_documents() {
    let room =
        Room::new().file("m/b.yml", "kind: Pod\nmetadata: {name: b}\n").file("m/a/a.json", "{\"kind\": \"Job\"}");
    let room = room.file("m/notes.txt", "{{ no YAML");
    insta::assert_snapshot!(room.run("inject m"), @r#"
    exit 0
    {"kind": "Job"}
    ---
    kind: Pod
    metadata: {"annotations": {"linkerd.io/inject": "enabled"}, name: b}
    --- stderr

    job "" skipped
    pod "b" injected

    "#);
}

#[test]
fn what_was_injected_is_uninjected() {
    let injected = "kind: Pod\nmetadata:\n  name: p\n  annotations:\n    linkerd.io/inject: enabled # in\n";
    let room = Room::new().file("p.yaml", injected);
    insta::assert_snapshot!(room.run("uninject p.yaml"), @r#"
    exit 0
    kind: Pod
    metadata:
      name: p
    --- stderr

    pod "p" uninjected

    "#);
}

#[test]
fn json_is_one_object_or_a_list() {
    let room =
        Room::new().file("p.yaml", "kind: Pod # one\nmetadata: {name: p, annotations: {linkerd.io/inject: enabled}}\n");
    insta::assert_snapshot!(room.run("uninject -o json p.yaml"), @r#"
    exit 0
    {
      "kind": "Pod",
      "metadata": {
        "name": "p"
      }
    }
    --- stderr

    pod "p" uninjected

    "#);
    let text = room.run("inject -o json p.yaml p.yaml");
    assert!(
        text.starts_with("exit 0\n{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"List\",\n  \"items\": [\n"),
        "{text}"
    );
    assert_eq!(text.matches("\"linkerd.io/inject\": \"enabled\"").count(), 2, "{text}");
}

#[test]
fn an_address_of_the_web_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let asked: Vec<String> =
            BufReader::new(&stream).lines().map(Result::unwrap).take_while(|it| !it.is_empty()).collect();
        let body = "kind: Pod\nmetadata:\n  name: p\n";
        write!(&stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        asked
    });
    let text = Room::new().run(&format!("inject http://{address}/web.yaml"));
    assert!(
        text.starts_with("exit 0\nkind: Pod\nmetadata:\n  annotations:\n    linkerd.io/inject: enabled\n"),
        "{text}"
    );
    assert_eq!(server.join().unwrap()[0], "GET /web.yaml HTTP/1.1");
}

/// Each says what failed and why; nothing is printed that could be applied.
#[test]
fn mistakes_are_told() {
    let room = Room::new()
        .file("host.yaml", "kind: Pod\nmetadata: {name: p}\nspec: {hostNetwork: true}\n")
        .file("broken.yaml", "kind: Pod\nmetadata: {{ name }\n")
        .file("alias.yaml", "x: &m {name: p}\nkind: Pod\nmetadata: *m\n");
    let lines = [
        "inject host.yaml",
        "inject broken.yaml",
        "inject alias.yaml",
        "inject nothing.yaml",
        "inject http://127.0.0.1:1/web.yaml",
        "inject --skip-inbound-ports http host.yaml",
    ];
    insta::assert_snapshot!(lines.map(|line| room.run(line)).join(""), @r#"
    exit 1
    --- stderr
    error: host.yaml: failed to inject pod/p: hostNetwork is enabled
    hint: leave it out with the annotation linkerd.io/inject: disabled on its pod template
    exit 1
    --- stderr
    error: broken.yaml: line 3: expected YAML, found a mistake in it: while parsing a flow mapping, did not find expected ',' or '}'
    exit 1
    --- stderr
    error: alias.yaml: line 1: pod is written in a form that can't be edited, such as an alias: write it out
    exit 1
    --- stderr
    error: read nothing.yaml: No such file or directory (os error 2)
    exit 1
    --- stderr
    error: read http://127.0.0.1:1/web.yaml: Connection refused (os error 111)
    hint: fetch it by other means, and pipe it in: curl -sSfL http://127.0.0.1:1/web.yaml | weft inject -
    exit 1
    --- stderr
    error: --skip-inbound-ports http: expected ports such as 80,90-95, found "http"
    "#);
}
