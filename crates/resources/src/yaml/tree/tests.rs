use super::*;

fn one(text: &str) -> Node {
    let (mut documents, fault) = read(text, 1, &mut Budget::default());
    assert_eq!(fault, None, "{text}");
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn fault(text: &str) -> Fault {
    read(text, 1, &mut Budget::default()).1.unwrap_or_else(|| panic!("expected a fault: {text}"))
}

#[test]
fn values_know_their_places() {
    let root = one("a: 1\nb:\n  - x\n  - {c: \"2\"}\nd:\ne: !!str 3\n");
    assert_eq!(root.child("a").unwrap().value, Value::Number("1".into()));
    let Value::List(items) = &root.child("b").unwrap().value else { panic!("{root:?}") };
    assert_eq!((items[0].at, items[0].text()), (Place { line: 3, column: 5 }, Some("x")));
    assert_eq!(items[1].child("c").unwrap().text(), Some("2"));
    let nothing = root.child("d").unwrap();
    assert_eq!((&nothing.value, nothing.at.line), (&Value::Null, 5));
    assert_eq!(root.child("e").unwrap().text(), Some("3"));
}

#[test]
fn lines_count_from_the_chunks_first() {
    let (documents, fault) = read("---\na: 1\nb: [\n", 40, &mut Budget::default());
    assert!(documents.is_empty());
    assert!(fault.unwrap().at.line >= 42);
}

#[test]
fn json_is_yaml() {
    let root = one("{\"a\": [1, true, null, \"x\\u0041\"], \"b\": {}}\n");
    let Value::List(items) = &root.child("a").unwrap().value else { panic!() };
    assert_eq!(items[3].text(), Some("xA"));
}

#[test]
fn documents_before_a_fault_are_kept() {
    let (documents, fault) = read("a: 1\n...\nb: [\n", 1, &mut Budget::default());
    assert_eq!(documents.len(), 1);
    assert_eq!(fault.unwrap().document_begin, 1);
}

#[test]
fn aliases_and_merges_are_resolved() {
    let root = one("base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\nagain: *b\n");
    assert_eq!(root.child("more").unwrap().child("x").unwrap().value, Value::Number("1".into()));
    assert_eq!(root.child("more").unwrap().child("y").unwrap().value, Value::Number("3".into()));
    assert!(root.child("again").unwrap().child("x").is_some());
}

#[test]
fn mistakes_are_told() {
    let deep = "[".repeat(MAX_DEPTH + 1);
    let deep_block = (0..80).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>();
    for (text, expected) in [
        ("a: 1\na: 2\n", "expected each key once, found \"a\" again"),
        ("a: 1\n\"a\": 2\n", "expected each key once"),
        ("? [a]\n: 1\n", "expected a text as key, found a list"),
        ("a: &x [*x]\n", "expected an alias of a finished value"),
        ("a: *nobody\n", "expected YAML"),
        ("a: b: c\n", "found a ':' where no key can stand"),
        ("a:\n\t- b\n", "expected spaces for indentation, found a tab"),
        ("a:\n- b\n\t- c\n", "expected spaces for indentation, found a tab"),
        ("a: [*]\n", "expected quotes around a value that begins with '*'"),
        ("a: [b\n", "expected ',' or ']'"),
        ("a: [b\nc: d\n", "found the next key"),
        ("a: {b\nc: d", "expected ',' or '}'"),
        ("a: 1\n<<<<<<< HEAD\nb: 2\n", "found a line without ':'"),
        ("a: {{ .Values.x }}\n", "must be rendered first"),
        ("a: `b`\n", "expected YAML, found a mistake in it"),
        ("a: \"b\n", "expected a text that ends with its quote"),
        ("a: 1\0\nb: 2\n", "found the control character U+0000"),
        ("a: \u{1b}\n", "found the control character U+001B"),
        ("x: 1\n<<: 5\n", "expected a mapping to merge, found the number 5"),
        (&deep, "levels of nesting"),
        (&deep_block, "levels of nesting"),
    ] {
        let fault = fault(text);
        assert!(fault.message.contains(expected), "{text:.40}: {}", fault.message);
        assert!(fault.at.line >= 1, "{text:.40}");
    }
    assert_eq!(fault("a: 1\nb: x\0\n").at, Place { line: 2, column: 5 });
}

#[test]
fn alias_bombs_end_at_the_bound() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{inner}]\n");
    }
    assert!(fault(&bomb).message.contains("aliases resolved"));
    let mut tower = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        tower += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(fault(&tower).message.contains("nesting"));
}
