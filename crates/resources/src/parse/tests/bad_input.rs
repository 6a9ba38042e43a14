//! Files that are no YAML, half of one, or too much of it.

use super::*;

/// Namespace and selector's presence of each broken resource, and the number of problems.
fn broken(bytes: &[u8]) -> (Vec<(Option<String>, bool)>, usize) {
    let parsed = parse("f", bytes);
    let scope = |resource: &Resource| {
        let selector = match resource {
            Resource::AuthorizationPolicy(policy) => &policy.selector,
            Resource::PeerAuthentication(policy) => &policy.selector,
        };
        assert!(resource.defect().is_some(), "{resource:?}");
        (resource.meta().namespace.clone(), selector.is_some())
    };
    (parsed.resources.iter().map(scope).collect(), parsed.problems.len())
}

#[test]
fn other_documents_survive_a_broken_one() {
    let good = policy("rules: [{}]");
    for bad in ["a: [\n", "a: 1\na: 2\n", "\t\n", "a: \"x\n", "a: b: c\n", "a: \0\n", "'"] {
        let text = format!("{good}---\n{bad}\n---\n{}", good.replace("name: p", "name: q"));
        let parsed = parse("f", text.as_bytes());
        let names: Vec<_> = parsed.resources.iter().filter_map(|r| r.meta().name.clone()).collect();
        assert_eq!(names, ["p", "q"], "{bad:?}");
        assert!(parsed.resources.iter().all(|r| r.defect().is_none()), "{bad:?}");
        let errors: Vec<_> = parsed.problems.iter().filter(|p| p.severity == Severity::Error).collect();
        assert_eq!(errors.len(), usize::from(bad != "\t\n"), "{bad:?} {errors:?}");
        assert!(errors.iter().all(|p| p.line >= 8 && p.line <= 11), "{bad:?} {errors:?}");
    }
}

#[test]
fn what_is_no_yaml_closes_what_it_tells() {
    let text = WHOLE.replace("  action: DENY", "  action: DENY: x");
    assert_eq!(broken(text.as_bytes()).0, [(Some("shop".to_owned()), false)]);
    let text = text.replace("{app: checkout}", "\n      app: checkout");
    assert_eq!(broken(text.as_bytes()), (vec![(Some("shop".to_owned()), true)], 1));
    let text = text.replace("namespace: shop", "namespace: &x shop");
    assert_eq!(broken(text.as_bytes()).0, [(None, true)]);
    assert_eq!(broken(b"a: [\n"), (vec![], 1));
}

#[test]
fn a_lone_carriage_return_ends_a_line_and_hides_nothing() {
    let text = format!("kind: ConfigMap\napiVersion: v1\n---\n# x\n{WHOLE}a: [");
    for text in [text.clone(), text.replace("---", "...")] {
        let expected = parse("f", text.as_bytes());
        assert_eq!(expected.resources.len(), 1);
        assert_eq!(parse("f", text.replace('\n', "\r").as_bytes()), expected);
    }
}

#[test]
fn a_fault_at_the_end_stands_on_the_last_line() {
    for (text, expected) in
        [("a: b\nkind", (2, 5)), ("a: b\nkind\n", (2, 5)), ("a: [", (1, 5)), ("a: b\n\nk\n\n", (4, 1))]
    {
        let problem = &parse("f", text.as_bytes()).problems[0];
        assert_eq!((problem.line, problem.column), expected, "{text:?}: {problem}");
    }
}

#[test]
fn invalid_utf8_is_told_and_closes() {
    let mut bytes = WHOLE.as_bytes().to_vec();
    let at = WHOLE.find("cluster.local").unwrap();
    bytes[at] = 0xff;
    let parsed = parse("f", &bytes);
    assert_eq!(parsed.problems[0].to_string(), "f:16: expected UTF-8, found the byte 0xFF");
    assert_eq!(parsed.problems[0].column, 23);
    assert_eq!(broken(&bytes).0, [(Some("shop".to_owned()), false)]);
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(WHOLE.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(broken(&wide).0.len(), 1);
}

#[test]
fn what_is_no_resource_but_names_a_policy_closes() {
    for text in [
        "- kind: AuthorizationPolicy\n",
        "kind: [AuthorizationPolicy]\n",
        "knd: AuthorizationPolicy\n",
        "kind: List\nitems: AuthorizationPolicy\n",
        "kind: List\nitems:\n- foo\n- knd: AuthorizationPolicy\n",
        "kind AuthorizationPolicy\n",
    ] {
        assert_eq!(broken(text.as_bytes()).0, [(None, false)], "{text}");
    }
    for text in ["- a\n", "x\n", "a: b\n", "5\n", "kind: List\nitems: 5\n", "kind: List\nitems: [5, {a: b}]\n"] {
        let (resources, problems) = broken(text.as_bytes());
        assert!(resources.is_empty() && problems > 0, "{text}");
    }
}

#[test]
fn versions_in_doubt_close() {
    let text = policy("rules: [{}]").replace("io/v1", "io/v7");
    let expected = "f:1: apiVersion: expected security.istio.io/v1 with this kind, found \"security.istio.io/v7\" (AuthorizationPolicy default/p)";
    assert_eq!(problems(&text), [expected]);
    assert_eq!(broken(text.as_bytes()).0.len(), 1);
}

#[test]
fn half_a_file_closes_at_every_byte() {
    let whole = WHOLE.replace("{app: checkout}", "\n      app: checkout");
    let kind_ends = whole.find("metadata").unwrap();
    let spec_begins = whole.find("  selector").unwrap();
    for end in 0..whole.len() {
        let parsed = parse("f", &whole.as_bytes()[..end]);
        let text = &whole[..end];
        assert!(end < kind_ends || parsed.resources.len() == 1, "{text}");
        let Some(resource) = parsed.resources.first() else { continue };
        let namespace = resource.meta().namespace.as_deref();
        assert!(matches!(namespace, None | Some("shop")), "{namespace:?} {text}");
        assert!(end > spec_begins || resource.defect().is_some(), "{text}");
        assert!(resource.defect().is_none() || !parsed.problems.is_empty(), "{text}");
    }
}

#[test]
fn sizes_are_bounded() {
    let mut large = policy("rules: [{}]");
    large += &format!("# {}\n", "x".repeat(10_000_000));
    let parsed = parse("f", large.as_bytes());
    assert!(parsed.problems[0].to_string().starts_with("f:1: expected a file of at most 4 MiB, found 10000"));
    assert_eq!(broken(large.as_bytes()).0, [(Some("default".to_owned()), false)]);
    assert_eq!(broken("x: y\n".repeat(2_500_000).as_bytes()), (vec![], 1));
    let deep = format!("a: {}\n", "[".repeat(1_000_000));
    assert_eq!(broken(deep.as_bytes()), (vec![], 1));
    let wide = format!("a: [{}]\n", "0, ".repeat(900_000));
    assert_eq!(broken(wide.as_bytes()), (vec![], 1));
    let many = parse("f", "- \n---\n".repeat(5_000).as_bytes());
    assert_eq!(many.problems.len(), MAX_PROBLEMS + 1);
    assert!(many.problems[MAX_PROBLEMS].to_string().contains("found 4800 more in this file"));
}

#[test]
fn damaged_files_never_panic() {
    let pieces: [&[u8]; 16] = [
        b"\n", b"---\n", b"...\n", b"\t", b"\"", b"'", b": ", b"- ", b"? ", b"{", b"]", b"&a ", b"*a", b"|\n", b"\xff",
        b"<<: ",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % bound as u64).unwrap()
    };
    for _ in 0..3_000 {
        let mut bytes = WHOLE.as_bytes().to_vec();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            let end = (at + next(12)).min(bytes.len());
            let piece = pieces[next(pieces.len())].to_vec();
            bytes.splice(at..end, piece);
        }
        for problem in parse("f", &bytes).problems {
            assert_eq!(problem.to_string().lines().count(), 1);
        }
    }
}
