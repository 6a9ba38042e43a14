use super::*;

#[test]
fn a_usual_head_is_read_in_place() {
    let bytes = b"POST /a/b?c=d HTTP/1.1\r\nhOsT: Pay:8080\r\nX-Empty:\r\nX-Two: a \t \r\nx-two:b\r\nContent-Length: 5\r\n\r\nhello";
    with_request(bytes, |head| {
        assert_eq!((head.method, head.target_text, head.version), ("POST", "/a/b?c=d", Version::Http11));
        assert_eq!(head.target, Target::Origin { path: "/a/b", query: Some("c=d") });
        assert_eq!(head.authority, Some("Pay:8080"));
        assert_eq!((head.framing, head.persistence), (Framing::Length(5), Persistence::KeepAlive));
        assert_eq!((head.consumed, head.bytes), (bytes.len() - 5, &bytes[..bytes.len() - 5]));
        let names: Vec<&[u8]> = head.fields.iter().map(|field| field.name).collect();
        assert_eq!(names, [b"hOsT".as_slice(), b"X-Empty", b"X-Two", b"x-two", b"Content-Length"]);
        assert_eq!(head.fields.values("X-TWO").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(head.fields.values("x-empty").collect::<Vec<_>>(), [b""]);
        assert_eq!((head.expects_continue, head.upgrade), (false, Upgrade::None));
    });
}

#[test]
fn requests_have_facts() {
    type Facts = (Framing, Persistence, bool, Upgrade);
    use Framing::{Chunked, Empty, Length};
    use Persistence::{Close, KeepAlive};
    let cases: [(&str, Facts); 18] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", (Empty, KeepAlive, false, Upgrade::None)),
        ("GET / HTTP/1.0\r\n\r\n", (Empty, Close, false, Upgrade::None)),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", (Empty, KeepAlive, false, Upgrade::None)),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: , Close ,TE\r\n\r\n", (Empty, Close, false, Upgrade::None)),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
            (Empty, Close, false, Upgrade::None),
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Connection: close\r\n\r\n", (Empty, KeepAlive, false, Upgrade::None)),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", (Length(0), KeepAlive, false, Upgrade::None)),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
            (Length(i64::MAX as u64), KeepAlive, false, Upgrade::None),
        ),
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\r\n\r\n", (Chunked, KeepAlive, false, Upgrade::None)),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: \t ChunKed \t\r\n\r\n",
            (Chunked, KeepAlive, false, Upgrade::None),
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
            (Length(1), KeepAlive, true, Upgrade::None),
        ),
        (
            "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            (Length(1), Close, false, Upgrade::None),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
            (Empty, KeepAlive, false, Upgrade::Asked),
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", (Empty, KeepAlive, false, Upgrade::None)),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", (Empty, KeepAlive, false, Upgrade::None)),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: x, H2C\r\nHTTP2-Settings: AA\r\n\r\n",
            (Empty, KeepAlive, false, Upgrade::Withheld),
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: TLS/1.0\r\n\r\n", (Empty, KeepAlive, false, Upgrade::Withheld)),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", (Empty, KeepAlive, false, Upgrade::None)),
    ];
    for (text, facts) in cases {
        with_request(text.as_bytes(), |head| {
            assert_eq!((head.framing, head.persistence, head.expects_continue, head.upgrade), facts, "{text}");
        });
    }
}

#[test]
fn targets_have_four_forms() {
    let origin = |path, query| Target::Origin { path, query };
    let absolute = |scheme, authority, path, query| Target::Absolute { scheme, authority, path, query };
    let cases: [(&str, &str, &str, Target<'_>, &str); 11] = [
        ("GET", "/", "a", origin("/", None), "a"),
        ("GET", "//x/../%2e?a?b", "a", origin("//x/../%2e", Some("a?b")), "a"),
        ("GET", "/a#b?c", "a", origin("/a#b?c", None), "a"),
        ("GET", "/ä{|}\\", "a", origin("/ä{|}\\", None), "a"),
        ("OPTIONS", "*", "a", Target::Asterisk, "a"),
        ("GET", "http://A/x?y", "a:80", absolute("http", "A", "/x", Some("y")), "A"),
        ("GET", "HTTPS://a:443", "a", absolute("HTTPS", "a:443", "/", None), "a:443"),
        ("GET", "http://a:81?q", "a:81", absolute("http", "a:81", "/", Some("q")), "a:81"),
        ("GET", "http://[::1]:8/", "[::1]:8", absolute("http", "[::1]:8", "/", None), "[::1]:8"),
        ("CONNECT", "a:443", "a", Target::Authority("a:443"), "a:443"),
        ("CONNECT", "[::1]:443", "[::1]:443", Target::Authority("[::1]:443"), "[::1]:443"),
    ];
    for (method, text, host, target, authority) in cases {
        let bytes = format!("{method} {text} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        with_request(bytes.as_bytes(), |head| {
            assert_eq!((head.target, head.authority), (target, Some(authority)), "{text}");
        });
    }
    with_request(b"GET http://a/ HTTP/1.0\r\n\r\n", |head| assert_eq!(head.authority, Some("a")));
    with_request(b"GET / HTTP/1.0\r\n\r\n", |head| assert_eq!(head.authority, None));
}

#[test]
fn targets_take_another_path() {
    let with_path = |text: &str, method: &str| {
        let bytes = format!("{method} {text} HTTP/1.1\r\nHost: a:1\r\n\r\n");
        with_request(bytes.as_bytes(), |head| head.target.with_path("/p"))
    };
    assert_eq!(with_path("/x//y?q=/#f", "GET").as_deref(), Some("/p?q=/"));
    assert_eq!(with_path("/x#f?q", "GET").as_deref(), Some("/p"));
    assert_eq!(with_path("HTTP://A:1?q", "GET").as_deref(), Some("HTTP://A:1/p?q"));
    assert_eq!(with_path("*", "OPTIONS"), None);
    assert_eq!(with_path("a:1", "CONNECT"), None);
}

#[test]
fn one_empty_line_before_a_request_is_skipped() {
    let bytes = b"\r\nGET / HTTP/1.0\r\n\r\n";
    with_request(bytes, |head| {
        assert_eq!((head.consumed, head.bytes), (bytes.len(), &bytes[2..]));
    });
    for end in 0..bytes.len() {
        assert_eq!(outcome(&bytes[..end]), Ok(None), "{end}");
    }
}

#[test]
fn responses_have_facts() {
    use Framing::{Chunked, Empty, Length, UntilClose};
    use Persistence::{Close, KeepAlive};
    let old = Asked { version: Version::Http10, ..GET };
    let cases: [(&str, Asked, (Role, Framing, Persistence)); 22] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", GET, (Role::Final, Length(3), KeepAlive)),
        ("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", GET, (Role::Final, Length(3), KeepAlive)),
        ("HTTP/1.1 299 \r\nTransfer-Encoding: chunked\r\n\r\n", GET, (Role::Final, Chunked, KeepAlive)),
        ("HTTP/1.1 999 \u{e4} b\r\nContent-Length: 0\r\n\r\n", GET, (Role::Final, Length(0), KeepAlive)),
        ("HTTP/1.1 200 OK\r\n\r\n", GET, (Role::Final, UntilClose, Close)),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", GET, (Role::Final, UntilClose, Close)),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", GET, (Role::Final, Length(1), Close)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", GET, (Role::Final, Length(1), Close)),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
            GET,
            (Role::Final, Length(1), KeepAlive),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", old, (Role::Final, Length(1), Close)),
        (
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
            old,
            (Role::Final, Length(1), KeepAlive),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", HEAD, (Role::Final, Empty, KeepAlive)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD, (Role::Final, Empty, KeepAlive)),
        ("HTTP/1.1 200 OK\r\n\r\n", HEAD, (Role::Final, Empty, KeepAlive)),
        ("HTTP/1.1 204 No Content\r\n\r\n", GET, (Role::Final, Empty, KeepAlive)),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", GET, (Role::Final, Empty, KeepAlive)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", GET, (Role::Final, Empty, KeepAlive)),
        ("HTTP/1.1 100 Continue\r\n\r\n", GET, (Role::Interim, Empty, KeepAlive)),
        ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", HEAD, (Role::Interim, Empty, KeepAlive)),
        (
            "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            WEBSOCKET,
            (Role::Switched, Empty, Close),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", CONNECT, (Role::Switched, Empty, Close)),
        ("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\n", CONNECT, (Role::Final, Length(2), KeepAlive)),
    ];
    for (text, asked, facts) in cases {
        with_response(text.as_bytes(), asked, |head| {
            assert_eq!((head.role, head.framing, head.persistence), facts, "{text}");
            assert_eq!(head.bytes.len(), text.len());
        });
        for end in 0..text.len() {
            assert!(matches!(HeadParser::new().response(&text.as_bytes()[..end], asked), Ok(None)), "{text} {end}");
        }
    }
}

#[test]
fn what_was_asked_is_told() {
    let asked = |text: &str| with_request(text.as_bytes(), |head| head.asked());
    assert_eq!(asked("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), HEAD);
    assert_eq!(asked("head / HTTP/1.1\r\nHost: a\r\n\r\n"), GET);
    assert_eq!(asked("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), CONNECT);
    assert_eq!(asked("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), WEBSOCKET);
}

#[test]
fn many_fields_and_long_heads_fit() {
    let mut text = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
    for index in 0..MAX_FIELDS - 1 {
        text += &format!("X-{index}: {index}\r\n");
    }
    text += "\r\n";
    with_request(text.as_bytes(), |head| {
        assert_eq!(head.fields.len(), MAX_FIELDS);
        assert_eq!(head.fields.values("x-254").next(), Some(b"254".as_slice()));
    });
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let text = format!("{start}{}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES - start.len() - 4));
    assert_eq!(text.len(), MAX_HEAD_BYTES);
    with_request(text.as_bytes(), |head| assert_eq!(head.bytes.len(), MAX_HEAD_BYTES));
    with_request(&[text.as_bytes(), b"GET"].concat(), |head| assert_eq!(head.bytes.len(), MAX_HEAD_BYTES));
}
