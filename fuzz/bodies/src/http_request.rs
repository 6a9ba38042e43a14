//! Heads of HTTP/1 requests: read in any split, passed on, and read again.

use weft_http::head::{Framing, HeadError, HeadParser, Persistence, RequestHead, Upgrade, Version};
use weft_http::rewrite::{Edits, Hop, Rewritten};

use crate::support::input::ends;

/// `HeadParser::request` and `RequestHead::rewrite`.
///
/// # Panics
/// When a split changes the answer, when what was read isn't what stands there, or when a head that
/// was passed on means something else than the one that came.
pub fn http_request(data: &[u8]) {
    let mut parser = HeadParser::new();
    let whole = parser.request(data);
    check_growth(data, whole.map(|head| head.map(|head| Facts::of(&head))));
    let Ok(Some(head)) = whole else { return };
    assert!(head.consumed <= data.len() && data[..head.consumed].ends_with(head.bytes));
    check_fields(&fields(head.fields.iter()), head.bytes);
    if head.method != "CONNECT" {
        check_framing(head.framing, &fields(head.fields.iter()));
    }
    // The edits must not take a head beyond the bounds that it came within.
    if head.fields.len() < 250 && head.bytes.len() < 60_000 {
        for hop in [Hop::Keep, Hop::Renew, Hop::Close] {
            check_rewrite(&head, hop);
        }
    }
}

/// What a head says.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    method: String,
    target: String,
    version: Version,
    framing: Framing,
    persistence: Persistence,
    expects_continue: bool,
    upgrade: Upgrade,
    authority: Option<String>,
    consumed: usize,
}

impl Facts {
    fn of(head: &RequestHead<'_>) -> Self {
        Self {
            method: head.method.to_owned(),
            target: head.target_text.to_owned(),
            version: head.version,
            framing: head.framing,
            persistence: head.persistence,
            expects_continue: head.expects_continue,
            upgrade: head.upgrade,
            authority: head.authority.map(str::to_owned),
            consumed: head.consumed,
        }
    }
}

/// A parser that sees the head grow says the same at its end. Only an error may wait for the head's
/// empty line.
fn check_growth(data: &[u8], whole: Result<Option<Facts>, HeadError>) {
    let mut parser = HeadParser::new();
    for end in ends(data) {
        match parser.request(&data[..end]) {
            Ok(None) if end < data.len() => {}
            Ok(None) => {
                let has_end = data.windows(3).any(|window| window.ends_with(b"\n\n") || window == b"\n\r\n");
                assert!(whole == Ok(None) || (whole.is_err() && !has_end), "grown: incomplete, whole: {whole:?}");
            }
            Ok(Some(head)) => return assert_eq!(Ok(Some(Facts::of(&head))), whole),
            Err(error) => return assert!(whole.is_err(), "grown: {error}, whole: {whole:?}"),
        }
    }
}

/// Names and values of fields.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The fields as pairs.
pub(crate) fn fields<'a>(fields: impl Iterator<Item = weft_http::head::Field<'a>>) -> Pairs {
    fields.map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}

/// The fields are those that a lenient reader sees, who splits at line ends and colons.
pub(crate) fn check_fields(found: &Pairs, head: &[u8]) {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let bytes = |text: &str| text.chars().map(|letter| letter as u8).collect();
    let lines = text.strip_suffix("\r\n\r\n").expect("a head ends in an empty line").split("\r\n").skip(1);
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').expect("every line is a field");
        (bytes(name), bytes(value.trim_matches([' ', '\t'])))
    };
    assert_eq!(*found, lines.map(pair).collect::<Pairs>());
}

/// Nobody who counts a framing field's spellings finds another body than the reader did.
pub(crate) fn check_framing(framing: Framing, fields: &Pairs) {
    let values = |wanted: &str| -> Vec<&[u8]> {
        let is_same = |name: &[u8]| String::from_utf8_lossy(name).replace('_', "-").eq_ignore_ascii_case(wanted);
        fields.iter().filter(|(name, _)| is_same(name)).map(|(_, value)| value.as_slice()).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match framing {
        Framing::Length(length) => {
            assert!(codings.is_empty(), "two framings");
            let [text] = lengths[..] else { panic!("{} lengths", lengths.len()) };
            assert!(text.iter().all(u8::is_ascii_digit));
            assert_eq!(String::from_utf8_lossy(text).trim_start_matches('0').parse().unwrap_or(0), length);
        }
        Framing::Chunked => {
            assert!(lengths.is_empty(), "two framings");
            assert!(codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked"));
        }
        Framing::Empty | Framing::UntilClose => assert!(lengths.is_empty() && codings.is_empty()),
    }
}

fn check_rewrite(head: &RequestHead<'_>, hop: Hop) {
    let target = head.target.with_path("/weft");
    let edits =
        Edits { target: target.as_deref(), remove: &["x-weft", "forwarded"], append: &[("x-weft", b"ours")], hop };
    let mut out = Vec::new();
    assert_eq!(head.rewrite(&edits, &mut out), Ok(Rewritten::Appended));
    let mut parser = HeadParser::new();
    let again = parser.request(&out);
    let Ok(Some(again)) = again else { panic!("passed on as {:?}: {again:?}", String::from_utf8_lossy(&out)) };
    let expected = Facts {
        target: target.clone().unwrap_or_else(|| head.target_text.to_owned()),
        persistence: match hop {
            Hop::Keep => head.persistence,
            Hop::Renew => again.persistence,
            Hop::Close => Persistence::Close,
        },
        upgrade: if head.upgrade == Upgrade::Asked { Upgrade::Asked } else { Upgrade::None },
        consumed: out.len(),
        ..Facts::of(head)
    };
    assert_eq!(Facts::of(&again), expected);
    assert_eq!(again.fields.values("x-weft").collect::<Vec<_>>(), [b"ours"]);
    let forged =
        |name: &[u8]| ["x_weft", "forwarded"].iter().any(|forged| name.eq_ignore_ascii_case(forged.as_bytes()));
    assert!(!again.fields.iter().any(|field| forged(field.name)), "a forged field came through");
    let settled = Edits { hop, ..Edits::default() };
    assert_eq!(again.rewrite(&settled, &mut Vec::new()), Ok(Rewritten::AsIs(again.bytes)), "passing on twice differs");
}
