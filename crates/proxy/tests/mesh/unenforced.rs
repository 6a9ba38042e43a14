//! AUDIT and dry-run policies close nothing; the callee's log and counters tell what they say.

use std::io::{Read, Write};

use serde_json::{Value, json};
use weft_mesh::record::{Action, Enforcement, Origin, Pattern, Policy, Rule};

use crate::harness::*;
use crate::http1_policy::{answering, ask, path};
use crate::policy::{allow_only, api};

fn named(name: &str, policy: Policy) -> Policy {
    Policy { origin: Origin { name: name.to_owned(), ..policy.origin }, ..policy }
}

fn audit(rule: Rule) -> Policy {
    named("watch", crate::http1_policy::policy(Action::Audit, rule))
}

fn dry(policy: Policy) -> Policy {
    named("rehearsal", Policy { enforcement: Enforcement::DryRun, ..policy })
}

/// Its keys, save those that every line has.
fn told(line: &Value) -> Value {
    let keys = ["audit", "dry_run"].into_iter().filter_map(|key| Some((key.to_owned(), line.get(key)?.clone())));
    Value::Object(keys.collect())
}

#[test]
fn requests_tell_what_is_only_reported() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    answering(listener);
    callee.tell(api(vec![
        audit(path(Pattern::Prefix("/admin".into()))),
        dry(crate::http1_policy::policy(Action::Deny, path(Pattern::Exact("/admin/keys".into())))),
    ]));
    let mut caller = web.connect();
    for path in ["/admin/keys", "/admin", "/"] {
        assert_eq!(ask(&mut caller, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")), 200, "{path}");
    }
    let line = |path: &str| callee.log.wait(|line| line["path"] == path && line["verdict"] == "allow");
    let place = |policy: &str| json!({"policy": policy, "index": 0, "file": "mesh.yaml", "line": 9});
    let reason = "denied: DENY rule 0 matches (default/rehearsal at mesh.yaml:9)";
    assert_eq!(
        told(&line("/admin/keys")),
        json!({
            "audit": [place("default/watch")],
            "dry_run": {"verdict": "deny", "rule": place("default/rehearsal"), "reason": reason}
        })
    );
    let allowed = json!({"verdict": "allow", "rule": null, "reason": null});
    assert_eq!(told(&line("/admin")), json!({"audit": [place("default/watch")], "dry_run": allowed}));
    assert_eq!(told(&line("/")), json!({"dry_run": allowed}));
    callee.wait_metric("weft_policy_audited_total 2");
    callee.wait_metric("weft_policy_dry_run_denied_total 1");
    callee.wait_metric("weft_policy_dry_run_allowed_total 2");
    callee.wait_metric("weft_denied_total 0");
    let line = web.log.wait(|line| line["path"] == "/admin/keys");
    assert_eq!(told(&line), json!({}), "the caller's side knows no policy");
}

#[test]
fn connections_tell_it_too_and_usually_there_is_nothing_to_tell() {
    let (listener, port) = program();
    let (web, callee) = Mesh::new().pair(port);
    let pass = || {
        let mut caller = web.connect();
        accept(&listener).write_all(b"x").unwrap();
        caller.read_exact(&mut [0]).unwrap();
    };
    callee.tell(api(vec![allow_only("web")]));
    pass();
    let line = callee.log.wait(|line| line["verdict"] == "allow");
    assert_eq!(told(&line), json!({}));
    callee.tell(api(vec![audit(Rule::default()), dry(allow_only("checkout"))]));
    pass();
    let line = callee.log.wait(|line| line.get("dry_run").is_some());
    assert_eq!((&line["verdict"], &line["audit"][0]["policy"]), (&"allow".into(), &"default/watch".into()));
    assert_eq!((&line["dry_run"]["verdict"], &line["dry_run"]["rule"]), (&"deny".into(), &Value::Null));
    let reason = line["dry_run"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("denied: no ALLOW rule of 1 policy matches (default/rehearsal"), "{reason}");
    callee.wait_metric("weft_policy_dry_run_denied_total 1");
}
