//! Files of cases: whole, mistaken, damaged.

use super::*;

fn problems(text: &str) -> Vec<String> {
    parse("cases.yaml", text.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect()
}

fn one(fields: &str) -> Case {
    let text = format!("cases:\n- {{name: n, to: {{}}, expect: deny, {fields}}}\n");
    let mut cases = parse("cases.yaml", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

#[test]
fn what_is_left_out_is_as_usual() {
    let case = one("");
    let question = Question {
        caller: None,
        source_ip: LOOPBACK,
        port: 80,
        sni: None,
        protocol: Some(Protocol::Http),
        request: None,
    };
    let to = Target { namespace: "default".to_owned(), labels: BTreeMap::new() };
    assert_eq!(case, Case { name: "n".to_owned(), line: 2, to, question, expect: Decision::Deny });
    assert_eq!(one("from: {principal: null}, request:"), case);
}

#[test]
fn everything_can_be_told() {
    let cases = parse("cases.yaml", WHOLE.as_bytes()).unwrap();
    let question = &cases[0].question;
    assert_eq!(question.caller.as_ref().map(SpiffeId::principal), Some("td/ns/a/sa/b"));
    assert_eq!(
        (question.source_ip, question.port, question.protocol),
        ([10, 0, 0, 1].into(), 8080, Some(Protocol::Grpc))
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = Request {
        method: Some("PUT".to_owned()),
        target: Some("/a?b".to_owned()),
        host: Some("web".to_owned()),
        headers: vec![pair("X-A", "one"), pair("x-b", "two"), pair("x-b", "three")],
    };
    assert_eq!(question.request, Some(request));
    assert_eq!(cases[0].to, "shop/app=web,tier=back".parse().unwrap());
}

#[test]
fn an_unknown_key_is_a_mistake_wherever_it_stands() {
    let text = "cases:
- name: a
  form: {}
  from: {principle: x}
  to: {label: {}, protocoll: http}
  request: {header: {}}
  expected: allow
";
    let known = "or one that begins with x-, found";
    assert_eq!(
        problems(text),
        [
            "cases.yaml:2: cases[0].expect: expected this key, found none".to_owned(),
            format!("cases.yaml:3: cases[0].form: expected a known key (the nearest is from) {known} \"form\""),
            format!(
                "cases.yaml:4: cases[0].from.principle: expected a known key (the nearest is principal) {known} \"principle\""
            ),
            format!("cases.yaml:5: cases[0].to.label: expected a known key (the nearest is labels) {known} \"label\""),
            format!(
                "cases.yaml:5: cases[0].to.protocoll: expected a known key (the nearest is protocol) {known} \"protocoll\""
            ),
            format!(
                "cases.yaml:6: cases[0].request.header: expected a known key (the nearest is headers) {known} \"header\""
            ),
            format!(
                "cases.yaml:7: cases[0].expected: expected a known key (the nearest is expect) {known} \"expected\""
            ),
        ]
    );
}

#[test]
fn mistakes_are_told_with_their_places() {
    let check = |fields: &str, expected: &str| {
        let text = format!("cases:\n- {{name: n, expect: deny, to: {{}}}}\n- {{name: n,\n    {fields}}}\n");
        let found = problems(&text);
        assert_eq!(found, [format!("cases.yaml:4: cases[1].{expected}")], "{fields}");
    };
    check("expect: maybe, to: {}", "expect: expected allow or deny, found \"maybe\"");
    check("expect: true, to: {}", "expect: expected a text (in quotes), found the boolean true");
    check("expect: deny, to: []", "to: expected a mapping, found a list");
    check("expect: deny, to: {port: 0}", "to.port: expected a port of 1 to 65535, found the number 0");
    check("expect: deny, to: {port: 70000}", "to.port: expected a port of 1 to 65535, found the number 70000");
    check("expect: deny, to: {protocol: udp}", "to.protocol: expected http, grpc or tcp, found \"udp\"");
    check("expect: deny, to: {namespace: a b}", "to.namespace: expected a namespace, found \"a b\"");
    check("expect: deny, to: {labels: {a: 1}}", "to.labels.a: expected a text (in quotes), found the number 1");
    check("expect: deny, to: {}, from: {ip: x}", "from.ip: expected an IP address, found \"x\"");
    check(
        "expect: deny, to: {}, from: {principal: checkout}",
        "from.principal: expected TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT, found \"spiffe://checkout\"",
    );
    check(
        "expect: deny, to: {}, request: {path: admin}",
        "request.path: expected a path that begins with '/', without spaces, found \"admin\"",
    );
    check(
        "expect: deny, to: {}, request: {headers: {\":path\": /}}",
        "request.headers.:path: expected a header field's name (the host has a place of its own), found \":path\"",
    );
}

#[test]
fn a_file_without_cases_is_a_mistake() {
    for (text, expected) in [
        ("", "cases.yaml:1: expected one document, found none"),
        ("{}", "cases.yaml:1: expected a list of cases, found none"),
        ("cases: []", "cases.yaml:1: cases: expected at least one case, found none"),
        ("cases: {}", "cases.yaml:1: cases: expected a list, found a mapping"),
        ("- name: a", "cases.yaml:1: expected a mapping, found a list"),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn a_damaged_file_gives_cases_or_mistakes() {
    for at in 0..WHOLE.len() {
        for byte in *b"\0\n\t {}[]&*:\xff" {
            let mut bytes = WHOLE.as_bytes().to_vec();
            bytes[at] = byte;
            assert!(parse("c", &bytes).map_or_else(|problems| !problems.is_empty(), |cases| cases.len() == 1));
        }
        assert!(
            parse("c", &WHOLE.as_bytes()[..at]).map_or_else(|problems| !problems.is_empty(), |cases| cases.len() == 1)
        );
    }
}

const WHOLE: &str = "source: by hand
x-owner: {team: [red]}
cases:
  - name: whole
    source: [free, {text: true}]
    x-ticket: 7
    from: {principal: spiffe://td/ns/a/sa/b, ip: 10.0.0.1, x-a: b}
    to: {namespace: shop, labels: {app: web, tier: back}, port: '8080', protocol: grpc}
    request: {method: PUT, path: /a?b, host: web, headers: {X-A: one, x-b: [two, three]}}
    expect: allow
";
