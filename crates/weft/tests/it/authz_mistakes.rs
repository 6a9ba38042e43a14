//! Mistakes that people make, and what they are told: each line names file, line, field, what was
//! expected and what was found. Lines about what a broken policy closes are left out here.

use insta::assert_snapshot;

use crate::room::{Room, policy};

/// What is told of a file: the mistake, then its lines.
fn told(mistake: &str, file: &str) -> String {
    let said = Room::new().file("p/a.yaml", file).run("authz explain -f p --to default/web");
    let lines = said.lines().skip_while(|line| *line != "--- stderr").skip(1);
    let lines = lines.filter(|line| !line.contains("expected a policy that is understood"));
    let line = |line: &str| {
        let resource = line.rfind(" (").filter(|at| line[*at..].contains('/') && line.ends_with(')'));
        format!("    {}\n", &line[..resource.unwrap_or(line.len())])
    };
    format!("{}\n{}", mistake.replace('\n', "\\n").replace('\t', "\\t"), lines.map(line).collect::<String>())
}

/// The `spec` of a `PeerAuthentication`.
const PEER: &[&str] = &[
    "mtls: STRICT",
    "mtls: {mode: strict}",
    "mtls: {mode: off}",
    "mtls:",
    "mode: STRICT",
    "mtls: {mdoe: STRICT}",
    "portLevelMtls: {8080: {mode: DISABLE}}",
    "{selector: {matchLabels: {app: web}}, portLevelMtls: {8080: DISABLE}}",
    "{selector: {matchLabels: {app: web}}, portLevelMtls: {http: {mode: DISABLE}}}",
    "{selector: {matchLabels: {app: web}}, portLevelMTLS: {8080: {mode: DISABLE}}}",
    "{selector: {matchLabels: {app: web}}, portLevelMtls: [{port: 8080}]}",
    "{selector: {app: web}, mtls: {mode: STRICT}}",
];

#[test]
fn mistakes_in_peer_authentications() {
    let told: String = PEER
        .iter()
        .map(|mistake| told(mistake, &policy("p", mistake).replace("AuthorizationPolicy", "PeerAuthentication")))
        .collect();
    assert_snapshot!(told, @r##"
    mtls: STRICT
        a.yaml:6: spec.mtls: expected a mapping such as {mode: STRICT}, found "STRICT"
    mtls: {mode: strict}
        a.yaml:6: spec.mtls.mode: expected UNSET, DISABLE, PERMISSIVE or STRICT, found "strict"
    mtls: {mode: off}
        a.yaml:6: spec.mtls.mode: expected UNSET, DISABLE, PERMISSIVE or STRICT, found the boolean false
    mtls:
        a.yaml:6: spec.mtls: expected a mapping such as {mode: STRICT}, found nothing
    mode: STRICT
        a.yaml:6: warning: spec.mode: expected this field inside of mtls, found it outside
    mtls: {mdoe: STRICT}
        a.yaml:6: warning: spec.mtls.mdoe: expected a known field (the nearest is mode), found "mdoe"
    portLevelMtls: {8080: {mode: DISABLE}}
        a.yaml:6: spec.portLevelMtls: expected a selector with labels beside it, found none
    {selector: {matchLabels: {app: web}}, portLevelMtls: {8080: DISABLE}}
        a.yaml:6: spec.portLevelMtls.8080: expected a mapping such as {mode: STRICT}, found "DISABLE"
    {selector: {matchLabels: {app: web}}, portLevelMtls: {http: {mode: DISABLE}}}
        a.yaml:6: spec.portLevelMtls.http: expected a port number of 1 to 65535, found "http"
    {selector: {matchLabels: {app: web}}, portLevelMTLS: {8080: {mode: DISABLE}}}
        a.yaml:6: warning: spec.portLevelMTLS: expected a known field (the nearest is portLevelMtls), found "portLevelMTLS"
    {selector: {matchLabels: {app: web}}, portLevelMtls: [{port: 8080}]}
        a.yaml:6: spec.portLevelMtls: expected a mapping, found a list
    {selector: {app: web}, mtls: {mode: STRICT}}
        a.yaml:6: warning: spec.selector.app: expected this field inside of matchLabels, found it outside
    "##);
}

/// The `spec` of an `AuthorizationPolicy`.
const AUTHORIZATION: &[&str] = &[
    "action: allow",
    "action: BLOCK",
    "action: DENY",
    "rules: {}",
    "rules:",
    "rule: [{}]",
    "enabled: true",
    "selector: app=web",
    "selector: {matchLabels: {version: 2}}",
    "selector: {matchExpressions: []}",
];

#[test]
fn mistakes_in_authorization_policies() {
    let told: String = AUTHORIZATION.iter().map(|mistake| told(mistake, &policy("p", mistake))).collect();
    assert_snapshot!(told, @r##"
    action: allow
        a.yaml:6: spec.action: expected ALLOW, DENY, AUDIT or CUSTOM, found "allow"
    action: BLOCK
        a.yaml:6: spec.action: expected ALLOW, DENY, AUDIT or CUSTOM, found "BLOCK"
    action: DENY
        a.yaml:6: spec.rules: expected at least one rule with this action, found none
    rules: {}
        a.yaml:6: spec.rules: expected a list (each item begins with '-'), found a mapping
    rules:
        a.yaml:6: spec.rules: expected a list, found nothing
    rule: [{}]
        a.yaml:6: warning: spec.rule: expected a known field (the nearest is rules), found "rule"
    enabled: true
        a.yaml:6: warning: spec.enabled: expected a known field (the nearest is rules, others are selector, targetRef, targetRefs, action, provider), found "enabled"
    selector: app=web
        a.yaml:6: spec.selector: expected a mapping, found "app=web"
    selector: {matchLabels: {version: 2}}
        a.yaml:6: spec.selector.matchLabels.version: expected a text (in quotes), found the number 2
    selector: {matchExpressions: []}
        a.yaml:6: warning: spec.selector.matchExpressions: expected a known field (the nearest is matchLabels), found "matchExpressions"
    "##);
}

/// The `rules` of one.
const RULES: &[&str] = &[
    "rules: [{action: DENY}]",
    "rules: [{from: {source: {namespaces: [a]}}}]",
    "rules: [{from: [{namespaces: [a]}]}]",
    "rules: [{to: [{methods: [GET]}]}]",
    "rules: [{from: [{source: {principal: cluster.local/ns/a/sa/b}}]}]",
    "rules: [{from: [{source: {principals: cluster.local/ns/a/sa/b}}]}]",
    r#"rules: [{from: [{source: {principals: ["spiffe://cluster.local/ns/a/sa/b"]}}]}]"#,
    "rules: [{from: [{source: {principals: [checkout]}}]}]",
    r#"rules: [{from: [{source: {principals: ["cluster.local/ns/*/sa/b"]}}]}]"#,
    r#"rules: [{from: [{source: {namespaces: ["a*b"]}}]}]"#,
    r#"rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]"#,
    "rules: [{from: [{source: {}}]}]",
    "rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]",
    "rules: [{to: [{operation: {ports: [8080]}}]}]",
    r#"rules: [{to: [{operation: {ports: ["http"]}}]}]"#,
    r#"rules: [{to: [{operation: {methods: [get], ports: ["80"]}}]}]"#,
    r#"rules: [{to: [{operation: {paths: [admin], ports: ["80"]}}]}]"#,
    r#"rules: [{to: [{operation: {paths: [/api/*/admin], ports: ["80"]}}]}]"#,
    r#"rules: [{to: [{operation: {paths: [/admin/.*], ports: ["80"]}}]}]"#,
    r#"rules: [{when: [{key: "request.header[x-a]", values: [b]}]}]"#,
    "rules: [{when: [{key: source.namespace, value: b}]}]",
    "{action: CUSTOM, provider: {name: opa}, rules: [{}]}",
];

#[test]
fn mistakes_in_rules() {
    let told: String = RULES.iter().map(|mistake| told(mistake, &policy("p", mistake))).collect();
    assert_snapshot!(told, @r##"
    rules: [{action: DENY}]
        a.yaml:6: warning: spec.rules[0].action: expected a known field (the nearest is to, others are from, when), found "action"
    rules: [{from: {source: {namespaces: [a]}}}]
        a.yaml:6: spec.rules[0].from: expected a list (each item begins with '-'), found a mapping
    rules: [{from: [{namespaces: [a]}]}]
        a.yaml:6: warning: spec.rules[0].from[0].namespaces: expected this field inside of source, found it outside
    rules: [{to: [{methods: [GET]}]}]
        a.yaml:6: warning: spec.rules[0].to[0].methods: expected this field inside of operation, found it outside
    rules: [{from: [{source: {principal: cluster.local/ns/a/sa/b}}]}]
        a.yaml:6: warning: spec.rules[0].from[0].source.principal: expected a known field (the nearest is principals), found "principal"
    rules: [{from: [{source: {principals: cluster.local/ns/a/sa/b}}]}]
        a.yaml:6: spec.rules[0].from[0].source.principals: expected a list such as ["cluster.local/ns/a/sa/b"], found "cluster.local/ns/a/sa/b"
    rules: [{from: [{source: {principals: ["spiffe://cluster.local/ns/a/sa/b"]}}]}]
        a.yaml:6: warning: spec.rules[0].from[0].source.principals[0]: expected "cluster.local/ns/a/sa/b" without spiffe://, found it with: it matches nobody
    rules: [{from: [{source: {principals: [checkout]}}]}]
        a.yaml:6: warning: spec.rules[0].from[0].source.principals[0]: expected TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, or a part with '*' at one end, found "checkout": it matches nobody
    rules: [{from: [{source: {principals: ["cluster.local/ns/*/sa/b"]}}]}]
        a.yaml:6: warning: spec.rules[0].from[0].source.principals[0]: expected TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, or a part with '*' at one end, found "cluster.local/ns/*/sa/b": it matches nobody
    rules: [{from: [{source: {namespaces: ["a*b"]}}]}]
        a.yaml:6: spec.rules[0]: expected what Weft can tell of a call, found "a*b" as namespace ('*' is understood at one end only)
    rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]
        a.yaml:6: spec.rules[0]: expected what Weft can tell of a call, found requestPrincipals (tokens are not supported yet)
    rules: [{from: [{source: {}}]}]
        a.yaml:6: spec.rules[0].from[0].source: expected at least one field with values, found none
    rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]
        a.yaml:6: spec.rules[0].from[0].source.ipBlocks[0]: expected an IP address or a block such as 10.0.0.0/8, found "10.0.0.0/33"
    rules: [{to: [{operation: {ports: [8080]}}]}]
        a.yaml:6: spec.rules[0].to[0].operation.ports[0]: expected a text (in quotes), found the number 8080
    rules: [{to: [{operation: {ports: ["http"]}}]}]
        a.yaml:6: spec.rules[0].to[0].operation.ports[0]: expected a port of 0 to 65535, found "http"
    rules: [{to: [{operation: {methods: [get], ports: ["80"]}}]}]
        a.yaml:6: warning: spec.rules[0].to[0].operation.methods[0]: expected GET in capital letters, found "get": it matches no usual request
    rules: [{to: [{operation: {paths: [admin], ports: ["80"]}}]}]
        a.yaml:6: warning: spec.rules[0].to[0].operation.paths[0]: expected a path that begins with '/' or '*', found "admin": it matches no path
    rules: [{to: [{operation: {paths: [/api/*/admin], ports: ["80"]}}]}]
        a.yaml:6: warning: spec.rules[0].to[0].operation.paths[0]: expected '*' at one end only, found "/api/*/admin": the others stand for themselves
    rules: [{to: [{operation: {paths: [/admin/.*], ports: ["80"]}}]}]
        a.yaml:6: warning: spec.rules[0].to[0].operation.paths[0]: expected no regular expression, found "/admin/.*": '.' stands for itself
    rules: [{when: [{key: "request.header[x-a]", values: [b]}]}]
        a.yaml:6: spec.rules[0].when[0].key: expected a known attribute (the nearest is request.headers[NAME]), found "request.header[x-a]"
    rules: [{when: [{key: source.namespace, value: b}]}]
        a.yaml:6: warning: spec.rules[0].when[0].value: expected a known field (the nearest is values), found "value"
    {action: CUSTOM, provider: {name: opa}, rules: [{}]}
        a.yaml:1: spec.action: expected ALLOW, DENY or AUDIT (CUSTOM is not supported yet), found CUSTOM
    "##);
}

/// What is no YAML, or not the YAML that was meant.
const YAML: &[&str] = &[
    "rules: [{from: [{source: {principals: [*]}}]}]",
    "action: ALLOW\naction: DENY",
    "action:DENY\nrules: []",
    "selector: {matchLabels: {app: {{ .Values.app }}}}",
    r#"rules: [{from: [{source: {namespaces: ["a]}}]}]"#,
];

#[test]
fn mistakes_in_yaml() {
    let told: String = YAML.iter().map(|mistake| told(mistake, &policy("p", mistake))).collect();
    assert_snapshot!(told, @r##"
    rules: [{from: [{source: {principals: [*]}}]}]
        a.yaml:6: expected quotes around a value that begins with '*' or '&' (such as "*"), found none
    action: ALLOW\naction: DENY
        a.yaml:7: expected each key once, found "action" again
    action:DENY\nrules: []
        a.yaml:7: expected KEY: VALUE, indented as its neighbours are, found a ':' where no key can stand
    selector: {matchLabels: {app: {{ .Values.app }}}}
        a.yaml:6: expected a text as key, found a mapping (a template such as {{ … }} must be rendered first)
    rules: [{from: [{source: {namespaces: ["a]}}]}]
        a.yaml:6: expected a text that ends with its quote, found none up to here
    "##);
}

/// Whole files.
const FILES: &[&str] = &[
    "apiVersion: security.istio.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\nspec: {}\n",
    "kind: AuthorizationPolicy\nmetadata:\n  name: p\nspec: {}\n",
    "apiVersion: security.istio.io/v1\nmetadata:\n  name: p\nspec: {}\n",
    "apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy\nmetadata:\n  name: p\nspec: {}\n",
    "apiVersion: security.istio.io/v1\nkind: AuthPolicy\nmetadata:\n  name: p\nspec: {}\n",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n  namspace: shop\nspec: {}\n",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: P_1\nspec: {}\n",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n  spec: {}\n",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\nrules: [{}]\n",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\nspec:\n\taction: DENY\n",
];

#[test]
fn mistakes_around_the_spec() {
    let told: String = FILES.iter().map(|mistake| told(mistake, mistake)).collect();
    assert_snapshot!(told, @r##"
    apiVersion: security.istio.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\nspec: {}\n
        a.yaml:1: apiVersion: expected security.istio.io/v1 with this kind, found "security.istio.io/v1alpha1"
    kind: AuthorizationPolicy\nmetadata:\n  name: p\nspec: {}\n
        a.yaml:1: apiVersion: expected security.istio.io/v1 with this kind, found none
    apiVersion: security.istio.io/v1\nmetadata:\n  name: p\nspec: {}\n
        a.yaml:1: expected a resource with apiVersion and kind, found no kind
    apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy\nmetadata:\n  name: p\nspec: {}\n
        a.yaml:2: kind: expected a kind of security.istio.io (the nearest is AuthorizationPolicy), found "AuthorisationPolicy"
    apiVersion: security.istio.io/v1\nkind: AuthPolicy\nmetadata:\n  name: p\nspec: {}\n
        a.yaml:1: expected a kind of security.istio.io (the nearest is AuthorizationPolicy), found "AuthPolicy"
    apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n  namspace: shop\nspec: {}\n
        a.yaml:5: metadata.namspace: expected a known field (the nearest is namespace), found "namspace"
    apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: P_1\nspec: {}\n
        a.yaml:4: metadata.name: expected a name of a-z, 0-9, '-' and '.', at most 253 characters, found "P_1"
    apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n  spec: {}\n
        a.yaml:5: warning: metadata.spec: expected this field beside metadata, found it inside
        a.yaml:4: spec: expected a mapping ({} where nothing is to be said), found nothing: half a file?
    apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\nrules: [{}]\n
        a.yaml:5: warning: rules: expected this field inside of spec, found it outside
        a.yaml:4: spec: expected a mapping ({} where nothing is to be said), found nothing: half a file?
    apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n
        a.yaml:4: spec: expected a mapping ({} where nothing is to be said), found nothing: half a file?
    apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\nspec:\n\taction: DENY\n
        a.yaml:6: expected spaces for indentation, found a tab
    "##);
}
