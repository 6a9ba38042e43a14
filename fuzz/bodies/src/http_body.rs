//! Bodies of HTTP/1 messages: found alike in any split, and found again once written anew.

use http::HeaderMap;
use weft_http::body::{BodyError, BodyReader, Step, write_chunk_start, write_last_chunk};
use weft_http::bridge::trailers_to_h2;
use weft_http::head::Framing;

use crate::support::input::{choice, ends};

/// `BodyReader`; the first byte says how the body is framed.
///
/// # Panics
/// When a split changes the answer, or a body that is written anew isn't the same.
pub fn http_body(data: &[u8]) {
    let (kind, data) = choice(data);
    let framing = match kind & 3 {
        0 => Framing::Chunked,
        1 => Framing::Length(u64::from(kind >> 2)),
        2 => Framing::UntilClose,
        _ => Framing::Empty,
    };
    let whole = read(framing, data, &[data.len()]);
    assert_eq!(read(framing, data, &ends(data)), whole);
    let taken = BodyReader::new(framing).refusing_trailers(REFUSED).take(data);
    assert_eq!(
        taken.map(|taken| (taken.length, taken.over)),
        whole.as_ref().map(|b| (b.length, b.over)).map_err(|e| *e)
    );
    if let Ok(body) = whole {
        check_end(framing, &body);
        if framing == Framing::Chunked && body.over {
            check_written(&body);
        }
    }
}

/// What was found of a body.
#[derive(Debug, PartialEq, Eq, Default)]
struct Body {
    content: Vec<u8>,
    trailers: Vec<u8>,
    /// How many bytes belong to it.
    length: usize,
    over: bool,
}

/// Reads a body that arrives in pieces with these ends.
fn read(framing: Framing, data: &[u8], ends: &[usize]) -> Result<Body, BodyError> {
    let mut reader = BodyReader::new(framing).refusing_trailers(REFUSED);
    let mut body = Body::default();
    for &end in ends {
        loop {
            let bytes = &data[body.length..end];
            let step = reader.step(bytes)?;
            let part = match step {
                Step::Data(part) | Step::Framing(part) | Step::Trailers(part) => part,
                Step::NeedMore => break,
                Step::Over => {
                    body.over = true;
                    return Ok(body);
                }
            };
            assert!(part > 0 && part <= bytes.len(), "{step:?} of {} bytes", bytes.len());
            match step {
                Step::Data(_) => body.content.extend(&bytes[..part]),
                Step::Trailers(_) => body.trailers.extend(&bytes[..part]),
                _ => {}
            }
            body.length += part;
        }
    }
    Ok(body)
}

fn check_end(framing: Framing, body: &Body) {
    match framing {
        Framing::Length(length) => assert!(body.content.len() as u64 <= length && body.trailers.is_empty()),
        Framing::Empty => assert!(body.over && body.length == 0),
        Framing::UntilClose => assert!(!body.over),
        Framing::Chunked => {}
    }
}

/// Content and trailers cross to HTTP/2 and back unchanged.
fn check_written(body: &Body) {
    let trailers = match body.trailers.as_slice() {
        [] => HeaderMap::new(),
        section => trailers_to_h2(section).expect("trailers that were read can cross"),
    };
    assert!(REFUSED.iter().all(|name| !trailers.contains_key(*name)), "a refused trailer came through");
    let mut out = Vec::new();
    write_chunk_start(body.content.len(), &mut out);
    if !body.content.is_empty() {
        out.extend(&body.content);
        out.extend(b"\r\n");
    }
    write_last_chunk(&trailers, &mut out);
    let again = read(Framing::Chunked, &out, &ends(&out));
    // A section near its bound may grow beyond it: `a:b` is written as `a: b`.
    if again == Err(BodyError::TrailersTooLarge) && body.trailers.len() > 4096 {
        return;
    }
    let again = again.expect("a body that was written can be read");
    assert!(again.over && again.length == out.len());
    assert_eq!(again.content, body.content);
    if !trailers.is_empty() {
        assert_eq!(trailers_to_h2(&again.trailers).ok(), Some(trailers));
    }
}

const REFUSED: &[&str] = &["x-forwarded-client-cert"];
