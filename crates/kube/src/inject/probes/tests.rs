use super::*;

fn pod(container: Value) -> Value {
    json!({"spec": {"containers": [container]}})
}

fn handlers(container: Value) -> Value {
    let rewritten = rewrite(&pod(container));
    assert_eq!(rewritten.remarks, [""; 0]);
    Value::Object(rewritten.handlers)
}

#[test]
fn every_kind_is_made_by_the_proxy() {
    let container = json!({
        "name": "web",
        "ports": [{"name": "http", "containerPort": 8080}],
        "livenessProbe": {"httpGet": {"port": "http", "path": "/live", "scheme": "HTTPS", "host": "127.0.0.1",
            "httpHeaders": [{"name": "X", "value": "y"}]}, "timeoutSeconds": 7, "periodSeconds": 3},
        "readinessProbe": {"tcpSocket": {"port": 9}},
        "startupProbe": {"grpc": {"port": 10, "service": "s"}, "terminationGracePeriodSeconds": 4},
        "lifecycle": {"preStop": {"httpGet": {"port": "80"}}, "postStart": {"exec": {"command": ["true"]}}},
    });
    assert_eq!(
        handlers(container.clone()),
        json!({
            "/app-health/web/livez": {"httpGet": {"port": 8080, "path": "/live", "scheme": "HTTPS", "host": "127.0.0.1",
                "headers": [["X", "y"]]}, "timeoutSeconds": 7},
            "/app-health/web/readyz": {"tcpSocket": {"port": 9}, "timeoutSeconds": 1},
            "/app-health/web/startupz": {"grpc": {"port": 10, "service": "s"}, "timeoutSeconds": 1},
            "/app-health/web/prestopz": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 30},
        })
    );
    let operations = serde_json::to_value(rewrite(&pod(container)).operations).unwrap();
    assert_eq!(
        operations[0],
        json!({"op": "replace", "path": "/spec/containers/0/livenessProbe", "value": {"periodSeconds": 3, "timeoutSeconds": 7,
            "httpGet": {"path": "/app-health/web/livez", "port": 15020, "scheme": "HTTP"}}})
    );
    assert_eq!(operations.as_array().unwrap().len(), 4);
}

#[test]
fn what_needs_no_network_stays() {
    assert_eq!(handlers(json!({"name": "web", "livenessProbe": {"exec": {"command": ["true"]}}})), json!({}));
    assert_eq!(handlers(json!({"name": "web", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}})), json!({}));
    assert_eq!(handlers(json!({"name": "web"})), json!({}));
}

#[test]
fn a_port_that_no_one_knows_is_left_to_the_kubelet() {
    for port in [json!("http"), json!(0), json!(70_000), json!(null)] {
        let rewritten = rewrite(&pod(json!({"name": "web", "readinessProbe": {"httpGet": {"port": port}}})));
        assert_eq!(
            rewritten.remarks,
            ["readinessProbe of the container \"web\" stays as it is: its port can't be resolved"]
        );
        assert!(rewritten.operations.is_empty() && rewritten.handlers.is_empty());
    }
}

#[test]
fn a_probe_of_another_host_is_the_kubelets() {
    let probe = json!({"httpGet": {"port": 80, "host": "example.com"}});
    let rewritten = rewrite(&pod(json!({"name": "web", "livenessProbe": probe})));
    assert_eq!(
        rewritten.remarks,
        ["livenessProbe of the container \"web\" stays as it is: its host is a name, and not the pod"]
    );
}

#[test]
fn native_sidecars_have_probes_too() {
    let probe = json!({"tcpSocket": {"port": 1}});
    let pod = json!({"spec": {"containers": [], "initContainers": [
        {"name": "job", "readinessProbe": probe},
        {"name": "side", "restartPolicy": "Always", "readinessProbe": probe},
    ]}});
    let rewritten = rewrite(&pod);
    let paths: Vec<&String> = rewritten.handlers.keys().collect();
    assert_eq!(paths, ["/app-health/side/readyz"]);
    let operations = serde_json::to_value(rewritten.operations).unwrap();
    assert_eq!(operations[0]["path"], "/spec/initContainers/1/readinessProbe");
}
