//! Messages that cross between HTTP/1 and HTTP/2: they mean the same on the other side.

use http::{HeaderMap, Request, Response, Version};
use weft_http::bridge::{
    Content, h2_authority, request_to_h1, request_to_h2, response_to_h1, response_to_h2, validate_h2_request,
    validate_h2_response,
};
use weft_http::head::{Asked, AskedMethod, Fields, Framing, HeadParser, MAX_FIELDS, MAX_HEAD_BYTES, Role, Target};

use crate::http_response::asked;
use crate::support::input::choice;

/// The bridge, both ways; the first byte says what crosses, the second what was asked.
///
/// # Panics
/// When a message that crossed can't be read, is framed otherwise, or says something else.
pub fn http_bridge(data: &[u8]) {
    let (kind, data) = choice(data);
    let (asking, data) = choice(data);
    match kind & 3 {
        0 => request_from_h1(data),
        1 => response_from_h1(data, asked(asking)),
        2 => request_from_h2(data),
        _ => response_from_h2(data, asked(asking)),
    }
}

fn request_from_h1(data: &[u8]) {
    let mut parser = HeadParser::new();
    let Ok(Some(head)) = parser.request(data) else { return };
    let Ok(request) = request_to_h2(&head) else { return };
    assert_eq!(validate_h2_request(&request), Ok(()), "a good request became a bad one: {request:?}");
    assert_eq!(h2_authority(&request), head.authority);
    let mut out = Vec::new();
    let framing = request_to_h1(&request, content(head.framing), &mut out).expect("what crossed can go back");
    let mut parser = HeadParser::new();
    let Some(again) = within_bounds(&request.headers().clone(), &out).then(|| parser.request(&out)) else { return };
    let Ok(Some(again)) = again else { panic!("{:?}: {again:?}", String::from_utf8_lossy(&out)) };
    assert_eq!((again.method, again.authority, again.consumed), (head.method, head.authority, out.len()));
    assert_eq!((plain(again.framing), plain(framing)), (plain(head.framing), plain(head.framing)));
    assert_eq!(place(&again.target), place(&head.target));
    check_fields(again.fields, request.headers());
}

fn response_from_h1(data: &[u8], asked: Asked) {
    let mut parser = HeadParser::new();
    let Ok(Some(head)) = parser.response(data, asked) else { return };
    let Ok(response) = response_to_h2(&head) else { return };
    assert_eq!(validate_h2_response(&response), Ok(()), "a good response became a bad one: {response:?}");
    let mut out = Vec::new();
    let framing = response_to_h1(&response, content(head.framing), asked, &mut out);
    // Without content it says how much there would have been.
    let Ok(framing) = framing else { panic!("{response:?}: {framing:?}") };
    let mut parser = HeadParser::new();
    let Some(again) = within_bounds(response.headers(), &out).then(|| parser.response(&out, asked)) else { return };
    let Ok(Some(again)) = again else { panic!("{:?}: {again:?}", String::from_utf8_lossy(&out)) };
    assert_eq!((again.status, again.role, again.bytes.len()), (head.status, head.role, out.len()));
    assert_eq!(plain(again.framing), plain(framing));
    check_fields(again.fields, response.headers());
}

fn request_from_h2(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (method, uri) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let built = Request::builder().version(Version::HTTP_2).method(method).uri(uri).body(());
    let (Ok(mut request), Some(fields)) = (built, header_map(lines)) else { return };
    *request.headers_mut() = fields;
    let valid = validate_h2_request(&request);
    for content in [Content::None, Content::Follows] {
        let mut out = Vec::new();
        let crossed = request_to_h1(&request, content, &mut out);
        let Ok(framing) = crossed else {
            assert!(out.is_empty(), "an error left bytes");
            continue;
        };
        assert_eq!(valid, Ok(()));
        if !within_bounds(request.headers(), &out) {
            continue;
        }
        let mut parser = HeadParser::new();
        let again = parser.request(&out);
        let Ok(Some(again)) = again else { panic!("{:?}: {again:?}", String::from_utf8_lossy(&out)) };
        assert_eq!((again.method.as_bytes(), again.consumed), (method, out.len()));
        assert_eq!(again.authority, h2_authority(&request));
        assert_eq!(plain(again.framing), plain(framing));
        check_fields(again.fields, request.headers());
    }
}

fn response_from_h2(data: &[u8], asked: Asked) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let status = lines.next().unwrap_or_default();
    let built = Response::builder().version(Version::HTTP_2).status(status).body(());
    let (Ok(mut response), Some(fields)) = (built, header_map(lines)) else { return };
    *response.headers_mut() = fields;
    let valid = validate_h2_response(&response);
    for content in [Content::None, Content::Follows] {
        let mut out = Vec::new();
        let crossed = response_to_h1(&response, content, asked, &mut out);
        let Ok(framing) = crossed else {
            assert!(out.is_empty(), "an error left bytes");
            continue;
        };
        assert_eq!(valid, Ok(()));
        if !within_bounds(response.headers(), &out) {
            continue;
        }
        let mut parser = HeadParser::new();
        let again = parser.response(&out, asked);
        let Ok(Some(again)) = again else { panic!("{:?}: {again:?}", String::from_utf8_lossy(&out)) };
        assert_eq!((again.status, again.bytes.len()), (response.status().as_u16(), out.len()));
        assert_eq!(plain(again.framing), plain(framing));
        assert!(again.role != Role::Switched || asked.method == AskedMethod::Connect);
        check_fields(again.fields, response.headers());
    }
}

/// Fields of lines `name:value`; `None` where one is none.
fn header_map<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = http::HeaderName::from_bytes(&line[..colon]).ok()?;
        map.append(name, http::HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    Some(map)
}

fn content(framing: Framing) -> Content {
    if matches!(framing, Framing::Empty | Framing::Length(0)) { Content::None } else { Content::Follows }
}

/// No body, and a body of no bytes, are one.
fn plain(framing: Framing) -> Framing {
    if framing == Framing::Empty { Framing::Length(0) } else { framing }
}

/// Path and query, without the fragment, which doesn't cross.
fn place(target: &Target<'_>) -> Option<(String, Option<String>)> {
    let before = |text: &str| text.split('#').next().unwrap_or_default().to_owned();
    Some((before(target.path()?), target.query().map(before)))
}

/// Whether the other reader takes a head of this size.
fn within_bounds(fields: &HeaderMap, out: &[u8]) -> bool {
    fields.len() + 3 < MAX_FIELDS && out.len() < MAX_HEAD_BYTES
}

/// The fields of HTTP/1 are those of HTTP/2, but for those that frame, route or were joined.
fn check_fields(fields: Fields<'_>, map: &HeaderMap) {
    let apart = ["host", "content-length", "transfer-encoding", "cookie", "connection"];
    let kept = |name: &str| !apart.iter().any(|apart| name.eq_ignore_ascii_case(apart));
    let mut found: Vec<(String, Vec<u8>)> = fields
        .iter()
        .map(|field| (String::from_utf8_lossy(field.name).to_lowercase(), field.value.to_vec()))
        .filter(|(name, _)| kept(name))
        .collect();
    let mut expected: Vec<(String, Vec<u8>)> = map
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .filter(|(name, _)| kept(name))
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
