use super::*;
use crate::parse;
use crate::weft::readiness::{Probe, ProbeTiming};

const WEB: &str = "\
apiVersion: weft.io/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {tier: front}}
spec:
  command: [python3, web.py, --fast]
  workingDir: web
  env: [{name: PAYMENTS, value: http://payments:8080}]
  ports: [{name: http, port: 8080, appProtocol: http, publish: 18080}, 9000]
  forward: [5432]
  replicas: 2
  restart: OnFailure
  readiness: {httpGet: {port: 8080, path: /healthz}}
  serviceAccount: front
  user: www-data
";

fn only(text: &str) -> Workload {
    let parsed = parse("shop.yaml", text.as_bytes());
    assert_eq!(parsed.problems, [], "{text}");
    assert_eq!(parsed.resources, []);
    let [workload] = parsed.workloads.as_slice() else { panic!("{:?}", parsed.workloads) };
    workload.clone()
}

#[test]
fn what_was_written_is_read() {
    let web = only(WEB);
    assert_eq!((web.namespace.as_str(), web.name.as_str(), web.file.as_str()), ("shop", "web", "shop.yaml"));
    assert_eq!((web.command.join(" ").as_str(), web.working_dir.as_deref()), ("python3 web.py --fast", Some("web")));
    assert_eq!(web.labels["tier"], "front");
    assert_eq!(web.env["PAYMENTS"], "http://payments:8080");
    assert_eq!(web.forward, [5432]);
    assert_eq!((web.replicas, web.restart), (2, Restart::OnFailure));
    assert_eq!(web.readiness, usual(Probe::Http { port: 8080, path: "/healthz".to_owned() }));
    assert_eq!(web.user.as_deref(), Some("www-data"));
    assert_eq!(web.ports[0].publish, Some("127.0.0.1:18080".parse().unwrap()));
    assert_eq!((web.ports[0].app_protocol.as_deref(), web.ports[1].port), (Some("http"), 9000));
    assert_eq!(web.service_account.as_deref(), Some("front"));
}

#[test]
fn little_needs_to_be_said() {
    let least = "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {name: web}\nspec: {command: [web]}\n";
    let web = only(least);
    assert_eq!((web.namespace.as_str(), web.replicas, web.restart), ("default", 1, Restart::Always));
    assert_eq!((web.readiness, web.service_account, web.ports), (None, None, Vec::new()));
    let mapping = only(&least.replace("[web]", "[web], env: {A: b}, readiness: {exec: {command: [test, -e, x]}}"));
    assert_eq!(mapping.env["A"], "b");
    assert_eq!(mapping.readiness, usual(Probe::Exec(["test", "-e", "x"].map(str::to_owned).to_vec())));
    let port = only(&least.replace("[web]", "[web], readiness: {tcpSocket: {port: 5432}}"));
    assert_eq!(port.readiness, usual(Probe::Port(5432)));
}

fn usual(probe: Probe) -> Option<Readiness> {
    Some(Readiness { probe, timing: ProbeTiming::default() })
}

#[test]
fn a_probe_has_kubernetess_times() {
    let times =
        "initialDelaySeconds: 5, periodSeconds: 10, timeoutSeconds: 2, successThreshold: 3, failureThreshold: 4";
    let web = only(&WEB.replace("{httpGet", &format!("{{{times}, httpGet")));
    let ProbeTiming { initial_delay_seconds, period_seconds, timeout_seconds, success_threshold, failure_threshold } =
        web.readiness.unwrap().timing;
    assert_eq!((initial_delay_seconds, period_seconds, timeout_seconds), (5, 10, 2));
    assert_eq!((success_threshold, failure_threshold), (3, 4));
}

/// Told with line and field, and left out.
#[test]
fn what_is_not_understood_is_told() {
    for (from, to, line, expected) in [
        ("command: [python3, web.py, --fast]", "command: python3 web.py", 5, "spec.command: expected a list such as"),
        ("  command: [python3, web.py, --fast]\n", "", 5, "spec.command: expected a program and its arguments"),
        ("command: [python3, web.py, --fast]", "command: []", 5, "spec.command: expected a program"),
        ("replicas: 2", "replicas: 2000", 10, "spec.replicas: expected a number of 0 to 256"),
        ("replicas", "replica", 10, "spec.replica: expected a known field (the nearest is replicas"),
        ("OnFailure", "onfailure", 11, "spec.restart: expected Always, OnFailure or Never"),
        ("/healthz", "healthz", 12, "spec.readiness.httpGet.path: expected a path such as /healthz"),
        (
            "httpGet: {port: 8080, path: /healthz}",
            "",
            12,
            "spec.readiness: expected one of tcpSocket, httpGet and exec",
        ),
        ("{httpGet", "{periodSeconds: 0, httpGet", 12, "spec.readiness.periodSeconds: expected a number of 1 to 3600"),
        (
            "{httpGet",
            "{periodSeconds: 3601, httpGet",
            12,
            "spec.readiness.periodSeconds: expected a number of 1 to 3600",
        ),
        ("{httpGet", "{period: 1, httpGet", 12, "spec.readiness.period: expected a known field (the nearest is "),
        ("user: www-data", "user: 33", 14, "spec.user: expected a text"),
        ("9000]", "8080]", 8, "spec.ports: expected each port once, found 8080 twice"),
        ("9000]", "{port: 90, publish: 18080}]", 8, "spec.ports: expected each port of the host once"),
        ("serviceAccount: front", "serviceAccount: fr ont", 13, "spec.serviceAccount: expected a letter or digit"),
        ("web.py, --fast]", "\"web\\0\"]", 5, "spec.command: expected a program and its arguments, without NUL"),
        ("name: http,", "name: a/b,", 8, "spec.ports[0].name: expected a name of a-z, 0-9 and '-'"),
        ("tier: front", "a=b: front", 3, "metadata.labels: expected a label's key, found \"a=b\""),
        ("9000]", "0]", 8, "spec.ports[1]: expected a port of 1 to 65535"),
        ("appProtocol: http,", "appProtocol: htttp,", 8, "spec.ports[0].appProtocol: expected one of http, http2"),
        ("publish: 18080", "publish: localhost", 8, "spec.ports[0].publish: expected a port of the host"),
        ("publish: 18080", "publish: 0", 8, "spec.ports[0].publish: expected a port of the host"),
        ("name: PAYMENTS", "name: A=B", 7, "spec.env: expected a variable's name"),
        ("name: web,", "name: web.shop,", 3, "metadata.name: expected at most 57"),
        ("name: web,", &format!("name: {},", "x".repeat(58)), 3, "metadata.name: expected at most 57"),
        ("v1alpha1", "v1", 1, "apiVersion: expected weft.io/v1alpha1"),
    ] {
        assert!(WEB.contains(from), "{from}");
        let parsed = parse("shop.yaml", WEB.replace(from, to).as_bytes());
        assert_eq!((parsed.workloads, parsed.resources), (Vec::new(), Vec::new()), "{to}");
        let said: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
        let beginning = format!("shop.yaml:{line}: ");
        assert!(said.iter().any(|text| text.starts_with(&beginning) && text.contains(expected)), "{to}: {said:?}");
    }
}
