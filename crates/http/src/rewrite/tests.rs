use proptest::prelude::*;

use super::*;
use crate::head::{Asked, AskedMethod, HeadParser, Persistence};

/// The head after `edits`, or `None` when its bytes are passed on as they are.
fn request(head: &str, edits: Edits<'_>) -> Option<String> {
    let mut parser = HeadParser::new();
    let head = parser.request(head.as_bytes()).unwrap().unwrap();
    let mut out = b"before".to_vec();
    match head.rewrite(&edits, &mut out).unwrap() {
        Rewritten::AsIs(bytes) => {
            assert_eq!((bytes, out.as_slice()), (head.bytes, b"before".as_slice()));
            None
        }
        Rewritten::Appended => Some(String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()),
    }
}

fn response(head: &str, edits: Edits<'_>) -> Option<String> {
    let asked = Asked {
        method: AskedMethod::Other,
        version: Version::Http11,
        upgrade: Upgrade::Asked,
        persistence: Persistence::KeepAlive,
    };
    let mut parser = HeadParser::new();
    let head = parser.response(head.as_bytes(), asked).unwrap().unwrap();
    let mut out = Vec::new();
    match head.rewrite(&edits, &mut out).unwrap() {
        Rewritten::AsIs(_) => None,
        Rewritten::Appended => Some(String::from_utf8(out).unwrap()),
    }
}

fn hop(hop: Hop) -> Edits<'static> {
    Edits { hop, ..Edits::default() }
}

#[test]
fn nothing_to_edit_copies_nothing() {
    let odd = "GET /a HTTP/1.1\r\nhOST:  a\r\nConnection: close,  foo\r\nKeep-Alive: 5\r\nfoo:\r\nProxy-Connection: x\r\n\r\n";
    assert_eq!(request(odd, Edits::default()), None);
    assert_eq!(request(odd, Edits { target: Some("/a"), remove: &["x-a"], ..Edits::default() }), None);
    assert_eq!(request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", hop(Hop::Close)), None);
    assert_eq!(request("GET / HTTP/1.1\r\nHost: a\r\nTE: Trailers\r\nConnection: TE\r\n\r\n", hop(Hop::Renew)), None);
    assert_eq!(response("HTTP/1.1 200 Fine\r\nX:y\r\n\r\n", hop(Hop::Renew)), None);
}

#[test]
fn edits_leave_all_else_alone() {
    let edits = Edits {
        target: Some("/b?c"),
        remove: &["x-forwarded-client-cert", "l5d-client-id"],
        append: &[("traceparent", b"00-1-2-01"), ("X-Peer", b"")],
        hop: Hop::Keep,
    };
    let head = "GET /a//b HTTP/1.1\r\nX-Forwarded-Client-Cert: me\r\nhOST:  a \r\nx_forwarded_client_cert: me\r\nZ:z\r\nL5D-CLIENT-ID: x\r\n\r\n";
    assert_eq!(
        request(head, edits).unwrap(),
        "GET /b?c HTTP/1.1\r\nhOST:  a \r\nZ:z\r\ntraceparent: 00-1-2-01\r\nX-Peer: \r\n\r\n"
    );
    assert_eq!(request("GET /b?c HTTP/1.0\r\n\r\n", Edits { append: &[], ..edits }), None);
    assert_eq!(
        request(
            "\r\nGET * HTTP/1.0\r\n\r\n".replace("GET", "OPTIONS").as_str(),
            Edits { target: Some("/"), ..hop(Hop::Keep) }
        ),
        Some("OPTIONS / HTTP/1.0\r\n\r\n".to_owned())
    );
}

#[test]
fn connections_are_kept_renewed_or_closed() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\n";
    let cases: [(&str, Hop, Option<&str>); 16] = [
        ("Connection: close\r\n", Hop::Renew, Some("")),
        ("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nX: y\r\n", Hop::Renew, Some("X: y\r\n")),
        ("A: b\r\nConnection: X-A, close\r\nx-a: c\r\nX-AB: d\r\n", Hop::Renew, Some("A: b\r\nX-AB: d\r\n")),
        ("Proxy-Connection: close\r\nUpgrade: websocket\r\n", Hop::Renew, Some("")),
        (
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
            Hop::Renew,
            Some("Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        ),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", Hop::Renew, None),
        ("X: y\r\n", Hop::Close, Some("X: y\r\nConnection: close\r\n")),
        ("connection: Keep-Alive\r\nKeep-Alive: 5\r\nX: y\r\n", Hop::Close, Some("X: y\r\nConnection: close\r\n")),
        (
            "connection: Keep-Alive, TE\r\nTE: trailers\r\n",
            Hop::Close,
            Some("connection: TE\r\nTE: trailers\r\nConnection: close\r\n"),
        ),
        ("Connection: keep-alive, close\r\n", Hop::Close, Some("Connection: close\r\n")),
        ("TE: gzip\r\nConnection: TE\r\n", Hop::Keep, Some("Connection: TE\r\n")),
        ("tE: gzip, Trailers\r\nConnection: TE\r\n", Hop::Keep, Some("tE: trailers\r\nConnection: TE\r\n")),
        ("TE: gzip\r\nConnection: TE\r\n", Hop::Renew, Some("")),
        (
            "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nX: y\r\n",
            Hop::Keep,
            Some("Connection: close\r\nX: y\r\n"),
        ),
        ("Upgrade: h2c\r\nX: y\r\n", Hop::Keep, Some("X: y\r\n")),
        ("Connection: upgrade\r\nUpgrade: websocket, TLS/1.2\r\n", Hop::Close, Some("Connection: close\r\n")),
    ];
    for (fields, mode, expected) in cases {
        let expected = expected.map(|fields| format!("{start}{fields}\r\n"));
        assert_eq!(request(&format!("{start}{fields}\r\n"), hop(mode)), expected, "{fields:?}");
    }
    let old = "GET / HTTP/1.0\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n";
    assert_eq!(request(old, hop(Hop::Renew)).unwrap(), "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
}

#[test]
fn responses_are_rewritten_likewise() {
    let head = "HTTP/1.1 200 It's fine\r\nSet-Cookie: a\r\nset-cookie: b\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(
        response(head, Edits { append: &[("x", b"y")], ..hop(Hop::Close) }).unwrap(),
        "HTTP/1.1 200 It's fine\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 1\r\nConnection: close\r\nx: y\r\n\r\n"
    );
    let advert = "HTTP/1.1 200 OK\r\nUpgrade: h2,h2c\r\nConnection: Upgrade\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(response(advert, Edits::default()).unwrap(), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
    let switch = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(response(switch, hop(Hop::Renew)), None);
}

#[test]
fn edits_that_break_a_head_are_refused() {
    let mut parser = HeadParser::new();
    let head = parser.request(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
    let mut out = Vec::new();
    for target in ["", "/a b", "/\r\nX: y", "/\0", "/\x7f"] {
        let edits = Edits { target: Some(target), ..Edits::default() };
        assert_eq!(head.rewrite(&edits, &mut out), Err(EditError::Target), "{target:?}");
    }
    for (name, value) in
        [("", "a"), ("a b", "c"), ("a:", "c"), ("a", "b\r\nc: d"), ("a", "b\0"), ("a", "\n"), ("a", " b")]
    {
        let append = [(name, value.as_bytes())];
        let edits = Edits { append: &append, ..Edits::default() };
        assert_eq!(head.rewrite(&edits, &mut out), Err(EditError::Field), "{name:?} {value:?}");
    }
    assert!(out.is_empty());
}

/// Some fields of the kinds that matter, and others.
fn some_fields() -> impl Strategy<Value = String> {
    let name =
        prop::sample::select(vec!["X-A", "x-b", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "Accept", "x_a"]);
    let value = prop::sample::select(vec!["", "a", "trailers", "gzip, trailers", "websocket", "h2c", " spaced\t"]);
    let option = prop::sample::select(vec!["close", "keep-alive", "upgrade", "TE", "x-a", "Accept", "x-c"]);
    let connection =
        prop::collection::vec(option, 0..4).prop_map(|options| format!("Connection: {}\r\n", options.join(",")));
    let field = (name, value).prop_map(|(name, value)| format!("{name}:{value}\r\n"));
    prop::collection::vec(prop_oneof![3 => field, 1 => connection], 0..8).prop_map(|fields| fields.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// What was rewritten reads as the same request; its other fields are the same, in order; and
    /// rewriting it once more changes nothing.
    #[test]
    fn rewritten_heads_read_alike(
        fields in some_fields(),
        mode in prop::sample::select(vec![Hop::Keep, Hop::Renew, Hop::Close]),
        version in prop::sample::select(vec!["1.0", "1.1"]),
    ) {
        let text = format!("PUT /a HTTP/{version}\r\nHost: a\r\nContent-Length: 3\r\n{fields}\r\n");
        let edits = Edits { target: Some("/b"), remove: &["x-a"], ..hop(mode) };
        let once = request(&text, edits).unwrap();
        prop_assert_eq!(request(&once, edits), None);
        let (mut left, mut right) = (HeadParser::new(), HeadParser::new());
        let before = left.request(text.as_bytes()).unwrap().unwrap();
        let after = right.request(once.as_bytes()).unwrap().unwrap();
        prop_assert_eq!((after.method, after.framing, after.target_text), (before.method, before.framing, "/b"));
        prop_assert_ne!(after.upgrade, Upgrade::Withheld);
        if before.upgrade == Upgrade::Asked {
            prop_assert_eq!(after.upgrade, Upgrade::Asked);
        }
        match mode {
            Hop::Keep => prop_assert_eq!(after.persistence, before.persistence),
            Hop::Renew => prop_assert!(after.version == Version::Http10 || after.persistence == Persistence::KeepAlive),
            Hop::Close => prop_assert_eq!(after.persistence, Persistence::Close),
        }
        prop_assert_eq!(after.fields.values("x-a").count() + after.fields.values("x_a").count(), 0);
        if mode != Hop::Renew {
            prop_assert_eq!(after.fields.values("accept").collect::<Vec<_>>(), before.fields.values("accept").collect::<Vec<_>>());
        }
        prop_assert_eq!(after.fields.values("x-b").collect::<Vec<_>>(), before.fields.values("x-b").collect::<Vec<_>>());
    }
}
