//! `weft authz test -f DIR CASES.yaml`.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use crate::room::{PAYMENTS, Room, STRICT};

const CASES: &str = "\
cases:
- name: checkout charges
  from: {principal: cluster.local/ns/checkout/sa/checkout-service, ip: 10.0.0.7}
  to: {namespace: payments, labels: {app: payments-api}, port: 8080, protocol: http}
  request: {method: POST, path: /charge, host: payments, headers: {x-a: b}}
  expect: allow
- name: a stranger <doesn't> & \"never\"
  source: the threat model
  x-ticket: 7
  from: {principal: cluster.local/ns/default/sa/stranger}
  to: {namespace: payments, labels: {app: payments-api}}
  expect: allow
- name: plaintext is refused
  to: {namespace: payments, labels: {app: ledger}, protocol: tcp}
  expect: deny
- name: the ledger is closed
  from: {principal: spiffe://cluster.local/ns/checkout/sa/checkout-service}
  to: {namespace: payments, labels: {app: ledger}, protocol: grpc}
  expect: deny
";

fn room() -> Room {
    Room::new().file("p/payments.yaml", PAYMENTS).file("p/mtls.yaml", STRICT).file("cases.yaml", CASES)
}

#[test]
fn what_differs_is_told_with_the_rule_that_decided() {
    assert_snapshot!(room().run("authz test -f p cases.yaml"), @r#"
    exit 1
    differs  a stranger <doesn't> & "never" (cases.yaml:7)
             expected allow, found deny: no rule
             denied: no ALLOW rule of 1 policy matches (payments/payments-policy at payments.yaml:1)
    differs  the ledger is closed (cases.yaml:16)
             expected deny, found allow: no rule
             allowed: no policy selects the workload payments/ledger
    4 cases, 2 differ
    "#);
}

#[test]
fn a_rule_that_decided_against_expectation_is_named() {
    let room = room().file("one.yaml", CASES.replace("expect: allow", "expect: deny"));
    assert_snapshot!(room.run("authz test -f p one.yaml"), @r#"
    exit 1
    differs  checkout charges (one.yaml:2)
             expected deny, found allow: payments/payments-policy rule 0 at payments.yaml:12
             allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)
    differs  the ledger is closed (one.yaml:16)
             expected deny, found allow: no rule
             allowed: no policy selects the workload payments/ledger
    4 cases, 2 differ
    "#);
}

#[test]
fn json_has_every_case() {
    assert_snapshot!(room().run("authz test -f p cases.yaml -o json"), @r#"
    exit 1
    {
      "cases": [
        {
          "name": "checkout charges",
          "expect": "allow",
          "verdict": "allow",
          "ok": true,
          "rule": {
            "policy": "payments/payments-policy",
            "index": 0,
            "file": "payments.yaml",
            "line": 12
          },
          "reason": "allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)"
        },
        {
          "name": "a stranger <doesn't> & \"never\"",
          "expect": "allow",
          "verdict": "deny",
          "ok": false,
          "rule": null,
          "reason": "denied: no ALLOW rule of 1 policy matches (payments/payments-policy at payments.yaml:1)"
        },
        {
          "name": "plaintext is refused",
          "expect": "deny",
          "verdict": "deny",
          "ok": true,
          "rule": null,
          "reason": "denied: PeerAuthentication is STRICT (istio-system/default at mtls.yaml:1) and the caller proved no identity by mTLS"
        },
        {
          "name": "the ledger is closed",
          "expect": "deny",
          "verdict": "allow",
          "ok": false,
          "rule": null,
          "reason": "allowed: no policy selects the workload payments/ledger"
        }
      ],
      "problems": []
    }
    "#);
}

#[test]
fn junit_has_every_case() {
    let room = room().file("p/odd.yaml", "kind: <Odd> & \"Policy\"\n");
    assert_snapshot!(room.run("authz test -f p cases.yaml -o junit"), @r#"
    exit 1
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="weft authz test" tests="4" failures="2" errors="0" skipped="0">
      <testsuite name="cases.yaml" tests="4" failures="2" errors="0" skipped="0">
        <testcase name="checkout charges" classname="payments/payments-api" file="cases.yaml" line="2"/>
        <testcase name="a stranger &lt;doesn't&gt; &amp; &quot;never&quot;" classname="payments/payments-api" file="cases.yaml" line="7">
          <failure type="verdict" message="expected allow, found deny: no rule">denied: no ALLOW rule of 1 policy matches (payments/payments-policy at payments.yaml:1)</failure>
        </testcase>
        <testcase name="plaintext is refused" classname="payments/ledger" file="cases.yaml" line="13"/>
        <testcase name="the ledger is closed" classname="payments/ledger" file="cases.yaml" line="16">
          <failure type="verdict" message="expected deny, found allow: no rule">allowed: no policy selects the workload payments/ledger</failure>
        </testcase>
        <system-err>odd.yaml:1: warning: expected a kind of the core group (the nearest is Endpoints), found &quot;&lt;Odd&gt; &amp; \&quot;Policy\&quot;&quot; (&lt;Odd&gt; &amp; &quot;Policy&quot; ?/?)</system-err>
      </testsuite>
    </testsuites>
    --- stderr
    odd.yaml:1: warning: expected a kind of the core group (the nearest is Endpoints), found "<Odd> & \"Policy\"" (<Odd> & "Policy" ?/?)
    "#);
}

#[test]
fn a_broken_file_is_told_and_the_verdicts_come_all_the_same() {
    let cases = "cases:\n- name: closed until mended\n  to: {namespace: shop, labels: {app: web}}\n  expect: deny\n\
                 - name: open\n  to: {namespace: other, labels: {app: web}}\n  expect: allow\n";
    let broken = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: web\n  namespace: shop\n\
                  spec:\n  action: DENY\n  rules:\n  - from: {}\n";
    let room = Room::new().file("p/web.yaml", broken).file("cases.yaml", cases);
    assert_snapshot!(room.run("authz test -f p cases.yaml"), @r#"
    exit 0
    2 cases, all as expected
    --- stderr
    web.yaml:9: spec.rules[0].from: expected a list (each item begins with '-'), found a mapping (AuthorizationPolicy shop/web)
    web.yaml:1: warning: expected a policy that is understood: until then, for every workload in namespace shop, it denies every call that it might deny (AuthorizationPolicy shop/web)
    "#);
    assert_snapshot!(room.run("authz test -f p cases.yaml -o json"), @r#"
    exit 0
    {
      "cases": [
        {
          "name": "closed until mended",
          "expect": "deny",
          "verdict": "deny",
          "ok": true,
          "rule": {
            "policy": "shop/web",
            "index": 0,
            "file": "web.yaml",
            "line": 9
          },
          "reason": "denied: policy shop/web at web.yaml:9 can't be understood and denies what it might have denied: web.yaml:9: spec.rules[0].from: expected a list (each item begins with '-'), found a mapping (AuthorizationPolicy shop/web)"
        },
        {
          "name": "open",
          "expect": "allow",
          "verdict": "allow",
          "ok": true,
          "rule": null,
          "reason": "allowed: no policy selects the workload other/web"
        }
      ],
      "problems": [
        "web.yaml:9: spec.rules[0].from: expected a list (each item begins with '-'), found a mapping (AuthorizationPolicy shop/web)",
        "web.yaml:1: warning: expected a policy that is understood: until then, for every workload in namespace shop, it denies every call that it might deny (AuthorizationPolicy shop/web)"
      ]
    }
    --- stderr
    web.yaml:9: spec.rules[0].from: expected a list (each item begins with '-'), found a mapping (AuthorizationPolicy shop/web)
    web.yaml:1: warning: expected a policy that is understood: until then, for every workload in namespace shop, it denies every call that it might deny (AuthorizationPolicy shop/web)
    "#);
}

#[test]
fn an_unknown_key_in_a_case_is_no_case() {
    let cases = CASES
        .replace("principal: cluster.local/ns/default", "principle: cluster.local/ns/default")
        .replace("x-ticket", "ticket");
    assert_snapshot!(room().file("cases.yaml", cases).run("authz test -f p cases.yaml -o json"), @r#"
    exit 2
    --- stderr
    error: cases.yaml:9: cases[1].ticket: expected a known key (the nearest is name) or one that begins with x-, found "ticket"
    cases.yaml:10: cases[1].from.principle: expected a known key (the nearest is principal) or one that begins with x-, found "principle"
    hint: the form of a case: weft authz test --help
    "#);
}

#[test]
fn cases_that_cannot_be_used_are_no_verdicts() {
    let room = room()
        .file("yaml.yaml", "cases:\n- name: [\n")
        .file("utf.yaml", b"cases:\n- name: caf\xe9\n")
        .file("none.yaml", "cases: []\n");
    for (file, expected) in [
        ("yaml.yaml", "error: yaml.yaml:2: expected YAML"),
        ("utf.yaml", "error: utf.yaml:2: expected UTF-8, found the byte 0xE9"),
        ("none.yaml", "error: none.yaml:1: cases: expected at least one case, found none"),
        ("nowhere.yaml", "error: nowhere.yaml: No such file or directory"),
    ] {
        let said = room.run(&format!("authz test -f p {file}"));
        assert!(said.starts_with(&format!("exit 2\n--- stderr\n{expected}")), "{said}");
    }
    assert_snapshot!(room.run("authz test -f nowhere cases.yaml"), @r#"
    exit 2
    --- stderr
    error: folder nowhere: No such file or directory (os error 2)
    "#);
}

#[test]
fn cases_may_lie_among_the_policies() {
    let room = room().file("p/cases.yaml", CASES.replace("expect: allow", "expect: deny"));
    assert_snapshot!(room.run("authz test -f p p/cases.yaml -o json --trust-domain other"), @r#"
    exit 1
    {
      "cases": [
        {
          "name": "checkout charges",
          "expect": "deny",
          "verdict": "deny",
          "ok": true,
          "rule": null,
          "reason": "denied: no ALLOW rule of 1 policy matches (payments/payments-policy at payments.yaml:1)"
        },
        {
          "name": "a stranger <doesn't> & \"never\"",
          "expect": "deny",
          "verdict": "deny",
          "ok": true,
          "rule": null,
          "reason": "denied: no ALLOW rule of 1 policy matches (payments/payments-policy at payments.yaml:1)"
        },
        {
          "name": "plaintext is refused",
          "expect": "deny",
          "verdict": "deny",
          "ok": true,
          "rule": null,
          "reason": "denied: PeerAuthentication is STRICT (istio-system/default at mtls.yaml:1) and the caller proved no identity by mTLS"
        },
        {
          "name": "the ledger is closed",
          "expect": "deny",
          "verdict": "allow",
          "ok": false,
          "rule": null,
          "reason": "allowed: no policy selects the workload payments/ledger"
        }
      ],
      "problems": []
    }
    "#);
}

#[test]
fn the_example_holds() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/authz");
    let mut room = Room::new().file("cases.yaml", fs::read(example.join("cases.yaml")).unwrap());
    for file in ["mesh.yaml", "payments.yaml"] {
        room = room.file(&format!("policies/{file}"), fs::read(example.join("policies").join(file)).unwrap());
    }
    assert_snapshot!(room.run("authz test -f policies cases.yaml"), @r#"
    exit 0
    5 cases, all as expected
    "#);
}
