use http::{HeaderMap, Request, Response};

use super::*;
use crate::head::{Asked, AskedMethod, Framing, HeadError, HeadParser, Persistence, Upgrade, Version};

const GET: Asked = Asked {
    method: AskedMethod::Other,
    version: Version::Http11,
    upgrade: Upgrade::None,
    persistence: Persistence::KeepAlive,
};
const HEAD: Asked = Asked { method: AskedMethod::Head, ..GET };
const CONNECT: Asked = Asked { method: AskedMethod::Connect, ..GET };

fn to_h2(head: &str) -> Result<Request<()>, BridgeError> {
    request_to_h2(&HeadParser::new().request(head.as_bytes()).unwrap().unwrap())
}

fn fields(map: &HeaderMap) -> Vec<(&str, &str)> {
    map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

/// A request as the `h2` crate hands it over.
fn h2_request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

fn h2_response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut builder = Response::builder().status(status).version(http::Version::HTTP_2);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

#[test]
fn requests_cross_to_h2() {
    let request = to_h2(
        "POST /a?b HTTP/1.1\r\nHost: Pay:80\r\nConnection: close, X-Hop\r\nx-hop: 1\r\nKeep-Alive: 5\r\nTE: gzip, trailers\r\n\
         Upgrade: websocket\r\nTransfer-Encoding: chunked\r\nCookie: a=b\r\nX-Two: 1\r\nx-two: 2\r\n\r\n",
    )
    .unwrap();
    assert_eq!((request.method().as_str(), request.uri().to_string()), ("POST", "http://Pay:80/a?b".to_owned()));
    assert_eq!(fields(request.headers()), [("te", "trailers"), ("cookie", "a=b"), ("x-two", "1"), ("x-two", "2")]);
    validate_h2_request(&request).unwrap();
}

#[test]
fn targets_cross_to_h2() {
    let uri = |head: &str| to_h2(head).map(|request| request.uri().clone().into_parts());
    let parts = uri("GET HTTPS://a:1/x?y HTTP/1.1\r\nHost: a:1\r\n\r\n").unwrap();
    assert_eq!(parts.scheme.unwrap().as_str(), "https");
    assert_eq!((parts.authority.unwrap().as_str(), parts.path_and_query.unwrap().as_str()), ("a:1", "/x?y"));
    let parts = uri("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(parts.path_and_query.unwrap().as_str(), "*");
    let parts = uri("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((parts.authority.unwrap().as_str(), parts.path_and_query, parts.scheme), ("a:443", None, None));
    assert_eq!(uri("GET / HTTP/1.0\r\n\r\n").err(), Some(BridgeError::Authority));
    for head in ["OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"] {
        validate_h2_request(&to_h2(head).unwrap()).unwrap();
    }
}

#[test]
fn responses_cross_to_h2() {
    let cross =
        |head: &str, asked| response_to_h2(&HeadParser::new().response(head.as_bytes(), asked).unwrap().unwrap());
    let head = "HTTP/1.1 200 Fine\r\nConnection: close\r\nContent-Length: 3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    let response = cross(head, GET).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(fields(response.headers()), [("content-length", "3"), ("set-cookie", "a"), ("set-cookie", "b")]);
    assert_eq!(cross("HTTP/1.1 103 E\r\nLink: x\r\n\r\n", GET).unwrap().status(), 103);
    assert_eq!(cross("HTTP/1.1 200 OK\r\n\r\n", CONNECT).unwrap().status(), 200);
    let switch = "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    assert_eq!(cross(switch, Asked { upgrade: Upgrade::Asked, ..GET }).err(), Some(BridgeError::Status));
}

#[test]
fn trailers_cross_to_h2() {
    let trailers = trailers_to_h2(b"Grpc-Status: 0\r\nX:\r\nhost: a\r\nConnection: x\r\n\r\n").unwrap();
    assert_eq!(fields(&trailers), [("grpc-status", "0")]);
    assert_eq!(trailers_to_h2(b"a : b\r\n\r\n"), Err(BridgeError::Trailers(BodyError::Trailers(HeadError::FieldName))));
    assert!(trailers_to_h2(b"a: b\r\n").is_err());
}

fn to_h1(request: &Request<()>, content: Content) -> Result<(String, Framing), BridgeError> {
    let mut out = Vec::new();
    let framing = request_to_h1(request, content, &mut out)?;
    let text = String::from_utf8(out).unwrap();
    // What is written is read, with the same framing.
    let read = HeadParser::new().request(text.as_bytes()).unwrap().unwrap().framing;
    assert!(read == framing || (read == Framing::Length(0) && framing == Framing::Empty), "{text}");
    Ok((text, framing))
}

#[test]
fn requests_cross_to_h1() {
    use Content::{Follows, None as Nothing};
    let get =
        h2_request("GET", "http://a:1/x?y", &[("cookie", "a=b"), ("x", "1"), ("cookie", "c=d"), ("te", "trailers")]);
    assert_eq!(
        to_h1(&get, Nothing).unwrap(),
        (
            "GET /x?y HTTP/1.1\r\nhost: a:1\r\nx: 1\r\nte: trailers\r\ncookie: a=b; c=d\r\n\r\n".to_owned(),
            Framing::Empty
        )
    );
    let post = |fields: &[(&str, &str)], content| to_h1(&h2_request("POST", "http://a/", fields), content);
    let head = |rest: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{rest}\r\n");
    assert_eq!(post(&[], Nothing), Ok((head("content-length: 0\r\n"), Framing::Empty)));
    assert_eq!(post(&[("content-length", "0")], Nothing), Ok((head("content-length: 0\r\n"), Framing::Empty)));
    assert_eq!(post(&[("content-length", "3")], Follows), Ok((head("content-length: 3\r\n"), Framing::Length(3))));
    assert_eq!(post(&[], Follows), Ok((head("transfer-encoding: chunked\r\n"), Framing::Chunked)));
    for (length, content) in [("3", Nothing), ("x", Follows), ("+3", Follows), ("", Follows), ("3, 3", Follows)] {
        assert_eq!(post(&[("content-length", length)], content), Err(BridgeError::ContentLength), "{length}");
    }
    assert_eq!(post(&[("content-length", "3"), ("content-length", "3")], Follows), Err(BridgeError::ContentLength));
    let connect = h2_request("CONNECT", "a:443", &[]);
    assert_eq!(
        to_h1(&connect, Follows).unwrap(),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n".to_owned(), Framing::Empty)
    );
    let options = to_h2("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(to_h1(&options, Nothing).unwrap().0, "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
}

#[test]
fn responses_cross_to_h1() {
    use Content::{Follows, None as Nothing};
    let old = Asked { version: Version::Http10, ..GET };
    let cross = |status, fields: &[(&str, &str)], content, asked| {
        let mut out = Vec::new();
        let framing = response_to_h1(&h2_response(status, fields), content, asked, &mut out)?;
        let text = String::from_utf8(out).unwrap();
        let read = HeadParser::new().response(text.as_bytes(), asked).unwrap().unwrap().framing;
        assert_eq!(read, framing, "{text}");
        Ok((text, framing))
    };
    let length: &[(&str, &str)] = &[("content-length", "3")];
    let written = |text: &str, framing| Ok((text.to_owned(), framing));
    let ok = "HTTP/1.1 200 OK\r\n";
    assert_eq!(
        cross(200, length, Follows, GET),
        written(&format!("{ok}content-length: 3\r\n\r\n"), Framing::Length(3))
    );
    assert_eq!(
        cross(200, &[], Follows, GET),
        written(&format!("{ok}transfer-encoding: chunked\r\n\r\n"), Framing::Chunked)
    );
    assert_eq!(cross(200, &[], Follows, old), written(&format!("{ok}connection: close\r\n\r\n"), Framing::UntilClose));
    assert_eq!(cross(200, &[], Nothing, GET), written(&format!("{ok}content-length: 0\r\n\r\n"), Framing::Length(0)));
    assert_eq!(cross(200, length, Nothing, HEAD), written(&format!("{ok}content-length: 3\r\n\r\n"), Framing::Empty));
    assert_eq!(cross(200, &[], Follows, CONNECT), written(&format!("{ok}\r\n"), Framing::Empty));
    assert_eq!(cross(304, length, Nothing, GET).unwrap().1, Framing::Empty);
    assert_eq!(
        cross(204, &[("content-length", "0")], Nothing, GET),
        written("HTTP/1.1 204 No Content\r\n\r\n", Framing::Empty)
    );
    assert_eq!(
        cross(103, &[("link", "x")], Follows, GET),
        written("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", Framing::Empty)
    );
    assert_eq!(
        cross(299, length, Follows, GET),
        written("HTTP/1.1 299 \r\ncontent-length: 3\r\n\r\n", Framing::Length(3))
    );
    assert_eq!(cross(200, length, Nothing, GET), Err(BridgeError::ContentLength));
    assert_eq!(cross(204, length, Nothing, GET), Err(BridgeError::ContentLength));
    assert_eq!(cross(200, length, Follows, CONNECT), Err(BridgeError::ContentLength));
    assert_eq!(cross(101, &[], Nothing, GET), Err(BridgeError::Status));
    assert_eq!(cross(200, &[("connection", "close")], Follows, GET), Err(BridgeError::ConnectionField));
}

#[test]
fn what_h2_lets_through_is_refused() {
    use BridgeError::{Authority, ConnectionField, ContentLength, Field, HostMismatch, Path, Scheme};
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], BridgeError);
    let cases: [Case<'_>; 26] = [
        ("GET", "http://a/", &[("connection", "close")], ConnectionField),
        ("GET", "http://a/", &[("keep-alive", "5")], ConnectionField),
        ("GET", "http://a/", &[("proxy-connection", "x")], ConnectionField),
        ("GET", "http://a/", &[("transfer-encoding", "chunked")], ConnectionField),
        ("GET", "http://a/", &[("upgrade", "h2c")], ConnectionField),
        ("GET", "http://a/", &[("http2-settings", "AA")], ConnectionField),
        ("GET", "http://a/", &[("te", "gzip")], ConnectionField),
        ("GET", "http://a/", &[("te", "trailers"), ("te", "gzip")], ConnectionField),
        ("GET", "http://a/", &[("x", " y")], Field),
        ("GET", "http://a/", &[("transfer_encoding", "chunked")], Field),
        ("GET", "http://a/", &[("x", "y\t")], Field),
        ("GET", "http://a/", &[("host", "b")], HostMismatch),
        ("GET", "http://a/", &[("host", "a:80")], HostMismatch),
        ("GET", "http://a/", &[("host", "a"), ("host", "a")], HostMismatch),
        ("GET", "/", &[("host", "a"), ("host", "b")], HostMismatch),
        ("GET", "/", &[], Authority),
        ("GET", "/", &[("host", "a b")], Authority),
        ("GET", "/", &[("host", "")], Authority),
        ("GET", "http://u@a/", &[], Authority),
        ("GET", "http://a,b/", &[], Authority),
        ("GET", "ftp://a/", &[], Scheme),
        ("GET", "http://a?x", &[], Path),
        ("GET", "*", &[("host", "a")], Path),
        ("CONNECT", "a", &[], Path),
        ("CONNECT", "http://a:1/", &[], Path),
        ("GET", "http://a/", &[("content-length", "5"), ("content-length", "5")], ContentLength),
    ];
    for (method, uri, fields, error) in cases {
        let request = if uri == "http://a?x" { raw_path("?x") } else { h2_request(method, uri, fields) };
        assert_eq!(validate_h2_request(&request), Err(error), "{method} {uri} {fields:?}");
        let mut out = Vec::new();
        assert_eq!(request_to_h1(&request, Content::Follows, &mut out), Err(error));
        assert!(out.is_empty());
    }
    let name = http::HeaderName::from_lowercase(b"x\"y").unwrap();
    let mut quoted = h2_request("GET", "http://a/", &[]);
    quoted.headers_mut().insert(name, "z".parse().unwrap());
    assert_eq!(validate_h2_request(&quoted), Err(Field));
}

/// A path as the wire may bring it.
fn raw_path(path: &'static str) -> Request<()> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some("a".parse().unwrap());
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(path));
    let mut request = Request::new(());
    *request.uri_mut() = http::Uri::from_parts(parts).unwrap();
    request
}

#[test]
fn good_h2_requests_pass() {
    for request in [
        h2_request("GET", "http://a/", &[("host", "A"), ("te", "trailers")]),
        h2_request("GET", "/x", &[("host", "a:1")]),
        h2_request("CONNECT", "[::1]:1", &[]),
        h2_request("POST", "https://a/\u{e4}", &[("content-length", "5"), ("x", "\u{e4}")]),
    ] {
        assert_eq!(validate_h2_request(&request), Ok(()), "{request:?}");
    }
    assert_eq!(h2_authority(&h2_request("GET", "/x", &[("host", "a:1")])), Some("a:1"));
    assert_eq!(h2_authority(&h2_request("GET", "http://b/", &[("host", "a:1")])), Some("b"));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    assert_eq!(validate_h2_trailers(&trailers), Ok(()));
    trailers.insert("content-length", "0".parse().unwrap());
    assert_eq!(validate_h2_trailers(&trailers), Err(BridgeError::Field));
}

/// A request that crosses and comes back says the same.
#[test]
fn there_and_back_is_the_same_request() {
    for head in [
        "GET /x?y HTTP/1.1\r\nhost: a:1\r\naccept: */*\r\ncookie: a=b; c=d\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: 2\r\ncontent-length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n",
    ] {
        let mut parser = HeadParser::new();
        let before = parser.request(head.as_bytes()).unwrap().unwrap();
        let content = if before.framing == Framing::Empty { Content::None } else { Content::Follows };
        let (text, framing) = to_h1(&request_to_h2(&before).unwrap(), content).unwrap();
        assert_eq!((text.as_str(), framing), (head, before.framing));
    }
}
