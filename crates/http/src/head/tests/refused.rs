use super::*;

#[test]
fn first_lines_are_strict() {
    use HeadError::{LineEnd, RequestLine, Target, Version};
    let cases: [(&str, HeadError); 34] = [
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", LineEnd),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", LineEnd),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", LineEnd),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", LineEnd),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", LineEnd),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", LineEnd),
        ("GET / HTTP/1.0\r\n\n", LineEnd),
        ("GET / HTTP/1.0\n\r\n", LineEnd),
        ("GET /\r\n\r\n", RequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("G\u{e4}T / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/1.1x\r\nHost: a\r\n\r\n", LineEnd),
        ("GET / HTTP/11\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("CONNECT http://a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", Target),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Target),
    ];
    for (text, error) in cases {
        assert_eq!(outcome(text.as_bytes()), Err(error), "{text:?}");
    }
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"] {
        let text = format!("GET / {version}\r\nHost: a\r\n\r\n");
        assert_eq!(outcome(text.as_bytes()), Err(Version), "{text}");
    }
    assert_eq!(outcome(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(Version));
    assert_eq!(outcome(b"GET /\xff HTTP/1.1\r\n\r\n"), Err(RequestLine));
}

#[test]
fn field_lines_are_strict() {
    use HeadError::{FieldName, FieldValue, LineEnd};
    let cases: [(&[u8], HeadError); 22] = [
        (b"Host: a\r\n X: b\r\n\r\n", FieldName),
        (b"Host: a\r\nX: b\r\n c\r\n\r\n", FieldName),
        (b"Host: a\r\nX: b\r\n\tc\r\n\r\n", FieldName),
        (b" Host: a\r\n\r\n", FieldName),
        (b"Host : a\r\n\r\n", FieldName),
        (b"Host\t: a\r\n\r\n", FieldName),
        (b"Host\x0b: a\r\n\r\n", FieldName),
        (b": a\r\nHost: a\r\n\r\n", FieldName),
        (b"Host: a\r\nX\r\n\r\n", FieldName),
        (b"Host: a\r\nX Y: z\r\n\r\n", FieldName),
        (b"Host: a\r\nX\0: z\r\n\r\n", FieldName),
        (b"Host: a\r\n\xc3\xa4: z\r\n\r\n", FieldName),
        (b"Host: a\r\nX: a\0b\r\n\r\n", FieldValue),
        (b"Host: a\r\nX: a\rb\r\n\r\n", FieldValue),
        (b"Host: a\r\nX: a\x7fb\r\n\r\n", FieldValue),
        (b"Host: a\r\nX: \x0bb\r\n\r\n", FieldValue),
        (b"Host: a\r\nX: b\x1b\r\n\r\n", FieldValue),
        (b"Host: a\r\nX:\r\r\n\r\n", FieldValue),
        (b"Host: a\nX: b\r\n\r\n", LineEnd),
        (b"Host: a\r\nX: b\n\r\n", LineEnd),
        (b"Host: a\r\nX: b\r\n\n", LineEnd),
        (b"Host: a\r\nX:\n\r\n", LineEnd),
    ];
    for (fields, error) in cases {
        refuse(&[b"GET / HTTP/1.1\r\n", fields].concat(), error);
    }
    for control in (0..32).chain([127]).filter(|byte| *byte != b'\t') {
        for value in [vec![control], vec![b'a', control], [vec![b'a'; 40], vec![control, b'a']].concat()] {
            let head = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", value.as_slice(), b"\r\n\r\n"].concat();
            assert!(outcome(&head).is_err(), "{control:#x}");
        }
    }
}

#[test]
fn framing_is_never_guessed() {
    use HeadError::{ConnectionOption, ContentLength, FieldName, FieldValue, TransferEncoding, TwoFramings};
    let cases: [(&str, HeadError); 53] = [
        // Content-Length: repeated, listed, signed, spaced, in other bases, too large.
        ("Content-Length: 5\r\nContent-Length: 5", ContentLength),
        ("Content-Length: 5\r\nContent-Length: 6", ContentLength),
        ("Content-Length: 5\r\ncontent-length: 0", ContentLength),
        ("Content-Length: 5, 5", ContentLength),
        ("Content-Length: 5,", ContentLength),
        ("Content-Length:", ContentLength),
        ("Content-Length: +5", ContentLength),
        ("Content-Length: -5", ContentLength),
        ("Content-Length: 0x5", ContentLength),
        ("Content-Length: 5 5", ContentLength),
        ("Content-Length: 5\t5", ContentLength),
        ("Content-Length: 5.0", ContentLength),
        ("Content-Length: 1e1", ContentLength),
        ("Content-Length: 5_0", ContentLength),
        ("Content-Length: \"5\"", ContentLength),
        ("Content-Length: 5;a", ContentLength),
        ("Content-Length: \u{665}", ContentLength),
        ("Content-Length: 9223372036854775808", ContentLength),
        ("Content-Length: 18446744073709551616", ContentLength),
        ("Content-Length: 99999999999999999999999999", ContentLength),
        ("Content-Length : 5", FieldName),
        ("Content-Length\r\n: 5", FieldName),
        ("Content-Length: 5\0", FieldValue),
        // Transfer-Encoding: repeated, listed, disguised.
        ("Transfer-Encoding: chunked, chunked", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", TransferEncoding),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", TransferEncoding),
        ("Transfer-Encoding: chunked, gzip", TransferEncoding),
        ("Transfer-Encoding: chunked, identity", TransferEncoding),
        ("Transfer-Encoding: identity", TransferEncoding),
        ("Transfer-Encoding: gzip", TransferEncoding),
        ("Transfer-Encoding:", TransferEncoding),
        ("Transfer-Encoding: ,chunked", TransferEncoding),
        ("Transfer-Encoding: chunked,", TransferEncoding),
        ("Transfer-Encoding: chunked;q=1", TransferEncoding),
        ("Transfer-Encoding: \"chunked\"", TransferEncoding),
        ("Transfer-Encoding: xchunked", TransferEncoding),
        ("Transfer-Encoding: chunke", TransferEncoding),
        ("Transfer-Encoding: chunked x", TransferEncoding),
        ("Transfer-Encoding: c\u{130}unked", TransferEncoding),
        ("Transfer-Encoding: \x0bchunked", FieldValue),
        ("Transfer-Encoding: chunked\x0b", FieldValue),
        ("Transfer-Encoding: x\r chunked", FieldValue),
        ("Transfer-Encoding : chunked", FieldName),
        ("Transfer_Encoding: chunked", FieldName),
        ("content_length: 5", FieldName),
        ("Transfer-Encoding\t: chunked", FieldName),
        ("Transfer-Encoding:\r\n chunked", TransferEncoding),
        // Both at once, and options that would take the framing away.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", TwoFramings),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", TwoFramings),
        ("Content-Length: 5\r\nConnection: close, Content-Length", ConnectionOption),
        ("Connection: transfer-encoding\r\nTransfer-Encoding: chunked", ConnectionOption),
    ];
    for (fields, error) in cases {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let found = outcome(text.as_bytes());
        // A folded line is refused for its fold, whatever else is wrong.
        let error = if fields.contains("\r\n ") { FieldName } else { error };
        assert_eq!(found, Err(error), "{text:?}");
        assert_eq!(HeadError::status(error).as_u16(), 400);
    }
    refuse(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::TransferEncoding);
    refuse(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", HeadError::Content);
    refuse(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::Content);
}

#[test]
fn hosts_are_one_and_whole() {
    use HeadError::{ConnectionOption, Host, HostMismatch, NoHost, RepeatedHost};
    let cases: [(&str, &str, HeadError); 20] = [
        ("GET /", "", NoHost),
        ("GET http://a/", "", NoHost),
        ("GET /", "Host: a\r\nHost: a\r\n", RepeatedHost),
        ("GET /", "Host: a\r\nhost: b\r\n", RepeatedHost),
        ("GET /", "Host:\r\n", Host),
        ("GET /", "Host: a b\r\n", Host),
        ("GET /", "Host: a,b\r\n", Host),
        ("GET /", "Host: a/b\r\n", Host),
        ("GET /", "Host: a@b\r\n", Host),
        ("GET /", "Host: a:b\r\n", Host),
        ("GET /", "Host: http://a\r\n", Host),
        ("GET /", "Host: a\\b\r\n", Host),
        ("GET /", "Host: [::1\r\n", Host),
        ("GET /", "Host: \u{e4}\r\n", Host),
        ("GET http://a/", "Host: b\r\n", HostMismatch),
        ("GET http://a/", "Host: a:81\r\n", HostMismatch),
        ("GET https://a/", "Host: a:80\r\n", HostMismatch),
        ("CONNECT a:1", "Host: a:2\r\n", HostMismatch),
        ("CONNECT a:1", "Host: b\r\n", HostMismatch),
        ("GET /", "Host: a\r\nConnection: host\r\n", ConnectionOption),
    ];
    for (line, fields, error) in cases {
        refuse(format!("{line} HTTP/1.1\r\n{fields}\r\n").as_bytes(), error);
    }
    refuse(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", RepeatedHost);
    let options = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", "x,".repeat(513));
    assert_eq!(outcome(options.as_bytes()), Err(ConnectionOption));
    for option in ["a b", "close;q", "\"close\"", "close\u{e4}"] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {option}\r\n\r\n");
        refuse(text.as_bytes(), ConnectionOption);
    }
}

#[test]
fn bounds_are_kept() {
    let mut many = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
    many.extend((0..MAX_FIELDS).map(|_| "X: y\r\n"));
    assert_eq!(outcome(format!("{many}\r\n").as_bytes()), Err(HeadError::TooManyFields));
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let long = format!("{start}{}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES - start.len() - 3));
    assert_eq!(outcome(long.as_bytes()), Err(HeadError::TooLarge));
    assert_eq!(outcome(&long.as_bytes()[..MAX_HEAD_BYTES]), Err(HeadError::TooLarge));
    assert_eq!(outcome(&long.as_bytes()[..MAX_HEAD_BYTES - 1]), Ok(None));
    assert_eq!(HeadError::TooLarge.status().as_u16(), 431);
    assert_eq!(HeadError::TooManyFields.status().as_u16(), 431);
    assert_eq!(HeadError::Version.status().as_u16(), 505);
}

#[test]
fn responses_are_strict() {
    use HeadError::{
        Content, ContentLength, FieldName, LineEnd, StatusLine, Switch, TransferEncoding, TwoFramings, Version,
    };
    let cases: [(&str, Asked, HeadError); 29] = [
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", GET, LineEnd),
        ("HTTP/1.1 200 OK\n\r\n", GET, LineEnd),
        ("HTTP/1.1 200 OK\r\n\n", GET, LineEnd),
        ("HTTP/1.1 200\n\r\n", GET, LineEnd),
        ("HTTP/1.1  200 OK\r\n\r\n", GET, StatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", GET, StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", GET, StatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", GET, StatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n", GET, StatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n", GET, StatusLine),
        ("HTTP/1.1 200 O\rK\r\n\r\n", GET, StatusLine),
        ("HTTP/2.0 200 OK\r\n\r\n", GET, Version),
        ("HTTP/1.2 200 OK\r\n\r\n", GET, Version),
        ("ICY 200 OK\r\n\r\n", GET, Version),
        ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", GET, FieldName),
        ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", GET, FieldName),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", GET, ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", GET, TwoFramings),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD, TwoFramings),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", GET, TransferEncoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", GET, TransferEncoding),
        ("HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n", GET, Content),
        ("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", GET, Content),
        ("HTTP/1.1 100 Go\r\nContent-Length: 1\r\n\r\n", GET, Content),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", CONNECT, Content),
        ("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", GET, Switch),
        ("HTTP/1.1 101 S\r\n\r\n", WEBSOCKET, Switch),
        ("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", WEBSOCKET, Switch),
        ("HTTP/1.0 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", WEBSOCKET, Switch),
    ];
    for (text, asked, error) in cases {
        assert_eq!(HeadParser::new().response(text.as_bytes(), asked).err(), Some(error), "{text:?}");
    }
}
