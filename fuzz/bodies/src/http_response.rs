//! Heads of HTTP/1 responses: read in any split, passed on, and read again.

use weft_http::head::{
    Asked, AskedMethod, Framing, HeadError, HeadParser, Persistence, ResponseHead, Role, Upgrade, Version,
};
use weft_http::rewrite::{Edits, Hop, Rewritten};

use crate::http_request::{check_fields, check_framing, fields};
use crate::support::input::{choice, ends};

/// `HeadParser::response` and `ResponseHead::rewrite`; the first byte says what was asked.
///
/// # Panics
/// When a split changes the answer, when what was read isn't what stands there, or when a head that
/// was passed on means something else than the one that came.
pub fn http_response(data: &[u8]) {
    let (kind, data) = choice(data);
    let asked = asked(kind);
    let mut parser = HeadParser::new();
    let whole = parser.response(data, asked);
    check_growth(data, asked, whole.map(|head| head.map(|head| Facts::of(&head))));
    let Ok(Some(head)) = whole else { return };
    assert!(data.starts_with(head.bytes));
    check_fields(&fields(head.fields.iter()), head.bytes);
    let may_have_content = head.role == Role::Final && asked.method != AskedMethod::Head;
    if may_have_content && !matches!(head.status, 204 | 304) {
        check_framing(head.framing, &fields(head.fields.iter()));
    } else {
        assert_eq!(head.framing, Framing::Empty);
    }
    if head.fields.len() < 250 && head.bytes.len() < 60_000 {
        for hop in [Hop::Keep, Hop::Renew, Hop::Close] {
            check_rewrite(&head, hop, asked);
        }
    }
}

/// What was asked, out of a byte.
pub(crate) fn asked(kind: u8) -> Asked {
    Asked {
        method: [AskedMethod::Other, AskedMethod::Head, AskedMethod::Connect][usize::from(kind % 3)],
        version: if kind & 0x40 == 0 { Version::Http11 } else { Version::Http10 },
        upgrade: if kind & 0x80 == 0 { Upgrade::None } else { Upgrade::Asked },
        persistence: Persistence::KeepAlive,
    }
}

/// What a head says.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    status: u16,
    version: Version,
    role: Role,
    framing: Framing,
    persistence: Persistence,
    upgrade: Upgrade,
    length: usize,
}

impl Facts {
    fn of(head: &ResponseHead<'_>) -> Self {
        Self {
            status: head.status,
            version: head.version,
            role: head.role,
            framing: head.framing,
            persistence: head.persistence,
            upgrade: head.upgrade,
            length: head.bytes.len(),
        }
    }
}

fn check_growth(data: &[u8], asked: Asked, whole: Result<Option<Facts>, HeadError>) {
    let mut parser = HeadParser::new();
    for end in ends(data) {
        match parser.response(&data[..end], asked) {
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

fn check_rewrite(head: &ResponseHead<'_>, hop: Hop, asked: Asked) {
    let edits = Edits { remove: &["server"], append: &[("x-weft", b"ours")], hop, ..Edits::default() };
    let mut out = Vec::new();
    assert_eq!(head.rewrite(&edits, &mut out), Ok(Rewritten::Appended));
    let mut parser = HeadParser::new();
    let again = parser.response(&out, asked);
    let Ok(Some(again)) = again else { panic!("passed on as {:?}: {again:?}", String::from_utf8_lossy(&out)) };
    let expected = Facts {
        persistence: match hop {
            Hop::Keep => head.persistence,
            Hop::Renew => again.persistence,
            Hop::Close => Persistence::Close,
        },
        upgrade: if head.upgrade == Upgrade::Asked { Upgrade::Asked } else { Upgrade::None },
        length: out.len(),
        ..Facts::of(head)
    };
    assert_eq!(Facts::of(&again), expected);
    assert!(again.fields.values("server").next().is_none());
    let settled = Edits { hop, ..Edits::default() };
    assert_eq!(again.rewrite(&settled, &mut Vec::new()), Ok(Rewritten::AsIs(again.bytes)), "passing on twice differs");
}
