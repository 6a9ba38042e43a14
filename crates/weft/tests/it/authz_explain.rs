//! `weft authz explain -f DIR`.

use insta::assert_snapshot;

use crate::room::{PAYMENTS, Room, STRICT, policy};

const CHECKOUT: &str = "--from cluster.local/ns/checkout/sa/checkout-service";

fn istio() -> Room {
    Room::new().file("policies/payments.yaml", PAYMENTS).file("policies/mesh/mtls.yml", STRICT)
}

/// A folder `p` with one file.
fn only(content: impl AsRef<[u8]>) -> Room {
    Room::new().file("p/a.yaml", content)
}

#[test]
fn the_verified_caller_is_allowed() {
    let explained =
        istio().run(&format!("authz explain -f policies {CHECKOUT} --to payments/payments-api --port 8080"));
    assert_snapshot!(explained, @r#"
    exit 0
    allow payments/payments-policy rule 0 at payments.yaml:12
          allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)
    "#);
}

#[test]
fn an_id_may_carry_its_scheme_and_a_target_its_labels() {
    let line = "authz explain -f policies --from spiffe://cluster.local/ns/checkout/sa/checkout-service \
                --to payments/tier=back,app=payments-api --method GET --path / --port 8080 -o json";
    assert_snapshot!(istio().run(line), @r#"
    exit 0
    {
      "verdict": "allow",
      "rule": {
        "policy": "payments/payments-policy",
        "index": 0,
        "file": "payments.yaml",
        "line": 12
      },
      "reason": "allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)",
      "problems": []
    }
    "#);
}

/// As it would run: what is selected by its labels governs it under its name.
#[test]
fn a_program_of_the_folder_has_its_own_labels() {
    let program = "apiVersion: weft.io/v1alpha1\nkind: Workload\n\
                   metadata: {name: till, namespace: payments, labels: {app: payments-api}}\nspec: {command: [till]}\n";
    let room = istio().file("policies/till.yaml", program);
    assert_snapshot!(room.run(&format!("authz explain -f policies {CHECKOUT} --to payments/till --port 8080")), @r#"
    exit 0
    allow payments/payments-policy rule 0 at payments.yaml:12
          allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)
    "#);
    let stranger = "--from cluster.local/ns/default/sa/stranger";
    assert_snapshot!(room.run(&format!("authz explain -f policies {stranger} --to payments/till --port 8080")), @r#"
    exit 0
    deny  no rule
          denied: no ALLOW rule of 1 policy matches (payments/payments-policy at payments.yaml:1)
    "#);
}

#[test]
fn a_stranger_is_denied_by_no_rule() {
    let line =
        "authz explain -f policies --from cluster.local/ns/checkout/sa/default --to payments/payments-api -o json";
    assert_snapshot!(istio().run(line), @r#"
    exit 0
    {
      "verdict": "deny",
      "rule": null,
      "reason": "denied: no ALLOW rule of 1 policy matches (payments/payments-policy at payments.yaml:1)",
      "problems": []
    }
    "#);
}

#[test]
fn strict_peer_authentication_refuses_a_plaintext_caller() {
    assert_snapshot!(istio().run("authz explain -f policies --to payments/payments-api -o json"), @r#"
    exit 0
    {
      "verdict": "deny",
      "rule": null,
      "reason": "denied: PeerAuthentication is STRICT (istio-system/default at mesh/mtls.yml:1) and the caller proved no identity by mTLS",
      "problems": []
    }
    "#);
}

#[test]
fn the_same_place_is_told_of_json_manifests() {
    let json = r#"{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
 "metadata": {"name": "closed", "namespace": "shop"},
 "spec": {"action": "DENY",
  "rules": [{}]}}"#;
    assert_snapshot!(Room::new().file("p/a.json", json).run("authz explain -f p --to shop/web"), @r#"
    exit 0
    deny  shop/closed rule 0 at a.json:4
          denied: DENY rule 0 matches (shop/closed at a.json:4); the caller is plaintext and has no identity
    "#);
}

#[test]
fn a_path_is_judged_as_it_is_forwarded() {
    let room = only(policy(
        "no-admin",
        "action: DENY\nrules:\n- to:\n  - operation: {paths: [/admin, /admin/*], ports: ['80']}",
    ));
    let first = |path: &str| {
        let said = room.weft(["authz", "explain", "-f", "p", "--to", "default/web", "--path", path]);
        let lines: Vec<&str> = said.lines().skip(1).map(str::trim).collect();
        format!(
            "{path}: {}{}\n",
            lines[0][..5].trim(),
            lines.get(2).map(|note| format!(", {note}")).unwrap_or_default()
        )
    };
    let paths = [
        "/admin",
        "/a/../admin",
        "/a/%2e%2E/admin/x",
        "/./%61dmin",
        "/a\\..\\admin",
        "/admin?next=/",
        "/admin#top",
        "//admin",
        "/admin%2f",
        "/ADMIN",
        "/public?to=/admin",
    ];
    assert_snapshot!(paths.map(first).concat(), @r#"
    /admin: deny
    /a/../admin: deny, the path is judged and forwarded as /admin
    /a/%2e%2E/admin/x: deny, the path is judged and forwarded as /admin/x
    /./%61dmin: deny, the path is judged and forwarded as /admin
    /a\..\admin: deny, the path is judged and forwarded as /admin
    /admin?next=/: deny
    /admin#top: deny, the path is judged and forwarded as /admin
    //admin: allow
    /admin%2f: allow
    /ADMIN: allow
    /public?to=/admin: allow
    "#);
}

#[test]
fn what_a_proxy_answers_with_400_is_denied() {
    let room = only(policy("open", "rules: [{}]"));
    assert_snapshot!(room.run("authz explain -f p --to default/web --path /a%00b"), @r#"
    exit 0
    deny  no rule
          denied: the request gets 400 before any policy is asked: expected a path without NUL, found one
    "#);
}

#[test]
fn methods_headers_and_hosts_are_judged_with_their_case_or_without() {
    let spec = "rules:
- to:
  - operation: {methods: [POST], hosts: [Web.Example.com]}
  when:
  - {key: 'request.headers[X-Team]', values: [red]}
  - {key: 'request.headers[:path]', values: ['/a?b']}
";
    let room = only(policy("web", spec));
    let line =
        "authz explain -f p --to default/web --host WEB.example.COM --header x-tEAM=red --path /x/../a?b --method";
    assert_snapshot!(room.run(&format!("{line} POST")), @r#"
    exit 0
    allow default/web rule 0 at a.yaml:7
          allowed: ALLOW rule 0 matches (default/web at a.yaml:7)
          the path is judged and forwarded as /a?b
    "#);
    assert_snapshot!(room.run(&format!("{line} post")), @r#"
    exit 0
    deny  no rule
          denied: no ALLOW rule of 1 policy matches (default/web at a.yaml:1); the caller is plaintext and has no identity
          the path is judged and forwarded as /a?b
    "#);
}

#[test]
fn without_a_request_it_is_a_connection() {
    let room = only(policy("read", "rules:\n- to:\n  - operation: {methods: [GET, POST]}"));
    assert_snapshot!(room.run("authz explain -f p --to default/web"), @r#"
    exit 0
    deny  no rule
          denied: no ALLOW rule of 1 policy matches (default/read at a.yaml:1); this is TCP, where ALLOW rules with HTTP fields admit nothing; the caller is plaintext and has no identity
          asked about the connection alone; --method or --path asks about a request
    "#);
    assert_snapshot!(room.run("authz explain -f p --to default/web --protocol http"), @r#"
    exit 0
    allow default/read rule 0 at a.yaml:7
          allowed: ALLOW rule 0 matches (default/read at a.yaml:7)
    "#);
}

#[test]
fn grpc_is_post() {
    let spec = "rules:\n- to:\n  - operation: {methods: [POST], paths: [/pay.v1.Payments/*]}";
    let line = "authz explain -f p --to default/web --protocol grpc --path /pay.v1.Payments/Charge";
    assert_snapshot!(only(policy("grpc", spec)).run(line), @r#"
    exit 0
    allow default/grpc rule 0 at a.yaml:7
          allowed: ALLOW rule 0 matches (default/grpc at a.yaml:7)
    "#);
}

#[test]
fn what_is_only_reported_is_told() {
    let trial = policy("trial", "action: DENY\nrules: [{}]")
        .replace("trial\n", "trial\n  annotations: {istio.io/dry-run: \"true\"}\n");
    let watch = policy("watch", "action: AUDIT\nrules:\n- to:\n  - operation: {ports: ['80']}");
    let room = only(format!("{trial}---\n{watch}"));
    assert_snapshot!(room.run("authz explain -f p --to default/web"), @r#"
    exit 0
    allow no rule
          allowed: no policy selects the workload default/web
          with dry-run policies enforced: denied: DENY rule 0 matches (default/trial at a.yaml:8); the caller is plaintext and has no identity
          AUDIT rule 0 matches (default/watch at a.yaml:17)
    "#);
    assert_snapshot!(room.run("authz explain -f p --to default/web -o json"), @r#"
    exit 0
    {
      "verdict": "allow",
      "rule": null,
      "reason": "allowed: no policy selects the workload default/web; with dry-run policies enforced: denied: DENY rule 0 matches (default/trial at a.yaml:8); the caller is plaintext and has no identity; AUDIT rule 0 matches (default/watch at a.yaml:17)",
      "problems": []
    }
    "#);
}

#[test]
fn a_broken_file_closes_what_it_might_have_closed_and_no_more() {
    let broken = PAYMENTS.replace("principals: [", "principals: [[").replace("name: payments-policy", "name: broken");
    let room = istio().file("policies/broken.yaml", broken);
    assert_snapshot!(room.run(&format!("authz explain -f policies {CHECKOUT} --to payments/payments-api -o json")), @r#"
    exit 0
    {
      "verdict": "allow",
      "rule": {
        "policy": "payments/payments-policy",
        "index": 0,
        "file": "payments.yaml",
        "line": 12
      },
      "reason": "allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)",
      "problems": [
        "broken.yaml:14: expected ',' or ']' in a list that began with '[', found neither",
        "broken.yaml:14: warning: expected a policy that is understood: until then, for workloads with app=payments-api in namespace payments, it allows no call (AuthorizationPolicy payments/broken)"
      ]
    }
    --- stderr
    broken.yaml:14: expected ',' or ']' in a list that began with '[', found neither
    broken.yaml:14: warning: expected a policy that is understood: until then, for workloads with app=payments-api in namespace payments, it allows no call (AuthorizationPolicy payments/broken)
    "#);
    assert_snapshot!(room.run(&format!("authz explain -f policies {CHECKOUT} --to payments/ledger")), @r#"
    exit 0
    allow no rule
          allowed: no policy selects the workload payments/ledger
    --- stderr
    broken.yaml:14: expected ',' or ']' in a list that began with '[', found neither
    broken.yaml:14: warning: expected a policy that is understood: until then, for workloads with app=payments-api in namespace payments, it allows no call (AuthorizationPolicy payments/broken)
    "#);
}

#[test]
fn a_field_that_is_not_understood_closes_its_policy() {
    let room = only(PAYMENTS.replace("principals:", "principal:").replace("ALLOW", "DENY"));
    assert_snapshot!(room.run(&format!("authz explain -f p {CHECKOUT} --to payments/payments-api")), @r#"
    exit 0
    deny  payments/payments-policy rule 0 at a.yaml:12
          denied: policy payments/payments-policy at a.yaml:12 can't be understood and denies what it might have denied: a.yaml:14: warning: spec.rules[0].from[0].source.principal: expected a known field (the nearest is principals), found "principal" (AuthorizationPolicy payments/payments-policy)
    --- stderr
    a.yaml:14: warning: spec.rules[0].from[0].source.principal: expected a known field (the nearest is principals), found "principal" (AuthorizationPolicy payments/payments-policy)
    a.yaml:1: warning: expected a policy that is understood: until then, for workloads with app=payments-api in namespace payments, it denies every call that it might deny (AuthorizationPolicy payments/payments-policy)
    "#);
}

#[test]
fn a_file_that_is_not_utf_8_closes_its_workload() {
    let mut bytes = PAYMENTS.replace("ALLOW", "DENY").into_bytes();
    bytes.extend_from_slice(b"# caf\xe9\n");
    assert_snapshot!(only(bytes).run("authz explain -f p --to payments/payments-api"), @r#"
    exit 0
    deny  payments/payments-policy rule 0 at a.yaml:15
          denied: policy payments/payments-policy at a.yaml:15 can't be understood and denies what it might have denied: a.yaml:15: expected UTF-8, found the byte 0xE9
    --- stderr
    a.yaml:15: expected UTF-8, found the byte 0xE9
    a.yaml:15: warning: expected a policy that is understood: until then, for workloads with app=payments-api in namespace payments, it denies every call that it might deny (AuthorizationPolicy payments/payments-policy)
    "#);
}

#[test]
fn what_cannot_be_read_might_have_closed_everything() {
    let room = only("");
    nix::unistd::mkfifo(&room.path().join("p/b.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_snapshot!(room.run(&format!("authz explain -f p {CHECKOUT} --to default/web")), @r#"
    exit 0
    deny  ?/? rule 0 at b.yaml
          denied: policy ?/? at b.yaml can't be understood and denies what it might have denied: b.yaml: expected a regular file, found another kind
    --- stderr
    b.yaml: expected a regular file, found another kind
    b.yaml: warning: expected a policy that is understood: until then, for every workload of the mesh, it denies every call that it might deny (AuthorizationPolicy ?/?)
    b.yaml: warning: expected a policy that is understood: until then, for every workload of the mesh, only mutual TLS is taken (PeerAuthentication ?/?)
    "#);
}

#[test]
fn cluster_local_is_an_alias_of_the_meshs_domain() {
    let line = "authz explain -f policies --trust-domain example.org --from example.org/ns/checkout/sa/checkout-service \
                --to payments/payments-api";
    assert_snapshot!(istio().run(line), @r#"
    exit 0
    allow payments/payments-policy rule 0 at payments.yaml:12
          allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)
    "#);
}

#[test]
fn wrong_arguments_are_told() {
    let room = istio();
    assert_snapshot!(room.run("authz explain -f policies --from checkout --to default/web"), @r#"
    exit 2
    --- stderr
    error: invalid value 'checkout' for '--from <ID>': expected TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT, found "spiffe://checkout"

    For more information, try '--help'.
    "#);
    assert_snapshot!(room.run("authz explain -f policies --to payments"), @r#"
    exit 2
    --- stderr
    error: invalid value 'payments' for '--to <NS/NAME>': expected NAMESPACE/NAME or NAMESPACE/KEY=VALUE,…, found "payments"

    For more information, try '--help'.
    "#);
    assert_snapshot!(room.run("authz explain -f policies --to a/b --path admin"), @r#"
    exit 2
    --- stderr
    error: invalid value 'admin' for '--path <PATH>': expected a path that begins with '/', without spaces, found "admin"

    For more information, try '--help'.
    "#);
    assert_snapshot!(room.run("authz explain --trust-domain td --to a/b"), @r#"
    exit 2
    --- stderr
    error: the following required arguments were not provided:
      --folder <DIR>

    Usage: weft authz explain --to <NS/NAME> --folder <DIR> --trust-domain <TRUST_DOMAIN>

    For more information, try '--help'.
    "#);
    assert_snapshot!(room.run("authz explain -f nowhere --to a/b"), @r#"
    exit 1
    --- stderr
    error: folder nowhere: No such file or directory (os error 2)
    "#);
}

#[test]
fn a_server_name_can_be_asked_about() {
    let spec = "action: DENY\nrules:\n- when:\n  - key: connection.sni\n    values: [\"*.bad.example\"]";
    let room = only(policy("names", spec));
    let ask = |more: &str| room.run(&format!("authz explain -f p --to default/web --port 443 {more}"));
    let denied = ask("--sni A.Bad.example");
    assert!(denied.starts_with("exit 0\ndeny  default/names rule 0 at a.yaml:"), "{denied}");
    assert!(ask("--sni good.example").starts_with("exit 0\nallow"));
    let nameless = ask("");
    assert!(nameless.starts_with("exit 0\nallow") && nameless.contains("--sni asks about TLS"), "{nameless}");
    assert!(!ask("--method GET").contains("--sni"), "a request has no name");
}
