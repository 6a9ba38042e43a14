//! Which route a request took: its method and its path, with what looks like an id folded, so that
//! a program's routes are few. What is beyond the bounds is `other`. Pure, but for the table.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::limits::ROUTES;

/// A route's number in its table; 0 is `other`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RouteId(u16);

/// The routes that this proxy has seen.
#[derive(Default)]
pub(super) struct Routes(RefCell<Table>);

struct Table {
    numbers: HashMap<Rc<str>, RouteId>,
    texts: Vec<Rc<str>>,
    /// Where a route is put together before it is looked up.
    scratch: String,
}

impl Routes {
    /// The route of a request. A route that was seen before costs no allocation.
    pub(super) fn of(&self, method: &str, target: &str) -> RouteId {
        let mut table = self.0.borrow_mut();
        let Table { numbers, texts, scratch } = &mut *table;
        scratch.clear();
        fold(method, target, scratch);
        if let Some(known) = numbers.get(scratch.as_str()) {
            return *known;
        }
        if texts.len() > ROUTES {
            return RouteId::default();
        }
        // `ROUTES` is far below `u16::MAX`.
        let (text, id): (Rc<str>, _) = (Rc::from(scratch.as_str()), RouteId(texts.len() as u16));
        texts.push(text.clone());
        numbers.insert(text, id);
        id
    }

    /// What a route is called.
    pub(super) fn text(&self, id: RouteId) -> Rc<str> {
        self.0.borrow().texts.get(usize::from(id.0)).cloned().unwrap_or_else(|| Rc::from(OTHER))
    }
}

impl Default for Table {
    fn default() -> Self {
        let other: Rc<str> = Rc::from(OTHER);
        let numbers = HashMap::from([(other.clone(), RouteId::default())]);
        Self { numbers, texts: vec![other], scratch: String::new() }
    }
}

/// Appends `METHOD /path`. The path has neither query nor fragment, its ids are `{id}`, and what is
/// long or deep is cut.
fn fold(method: &str, target: &str, out: &mut String) {
    if method.is_empty() {
        return out.push_str(OTHER);
    }
    push(method, MAX_METHOD_CHARS, out);
    let path = path(target);
    // CONNECT asks for an address, not for a path.
    if !path.starts_with(['/', '*']) {
        return;
    }
    out.push(' ');
    for (depth, segment) in path.split('/').enumerate() {
        if depth > 0 {
            out.push('/');
        }
        if depth > MAX_DEPTH {
            return out.push('…');
        }
        match is_id(segment) {
            true => out.push_str("{id}"),
            false => push(segment, MAX_SEGMENT_CHARS, out),
        }
    }
}

/// The path of a target in origin-form or in absolute-form (RFC 9112, section 3.2).
fn path(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

fn push(text: &str, most: usize, out: &mut String) {
    if text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return out.push_str(text);
    }
    let mut chars = text.chars();
    out.extend(chars.by_ref().take(most).map(|c| if c.is_control() { '?' } else { c }));
    if chars.next().is_some() {
        out.push('…');
    }
}

/// A number, a UUID (RFC 9562), or hexadecimal of 64 bits and more.
fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = |bytes: &[u8]| bytes.iter().any(u8::is_ascii_digit);
    let hex = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_hexdigit);
    let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    let is_uuid = bytes.len() == 36 && segment.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    is_number
        || (is_uuid && segment.split('-').all(|part| hex(part.as_bytes())))
        || (bytes.len() >= LEAST_HEX_CHARS && hex(bytes) && digits(bytes))
}

const OTHER: &str = "other";
const MAX_METHOD_CHARS: usize = 16;
/// Deeper paths than this are rarely routes; their beginning tells enough.
const MAX_DEPTH: usize = 8;
const MAX_SEGMENT_CHARS: usize = 48;
/// Shorter ones may be words (`facade`), or dates.
const LEAST_HEX_CHARS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(method: &str, target: &str) -> String {
        let mut out = String::new();
        fold(method, target, &mut out);
        out
    }

    #[test]
    fn ids_are_folded_and_words_are_not() {
        for (target, expected) in [
            ("/", "GET /"),
            ("/charge", "GET /charge"),
            ("/charge/42?x=7#y", "GET /charge/{id}"),
            ("/charge/42/", "GET /charge/{id}/"),
            ("/a/f81d4fae-7dec-11d0-a765-00a0c91e6bf6/b", "GET /a/{id}/b"),
            ("/a/F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "GET /a/{id}"),
            ("/a/0123456789abcdef", "GET /a/{id}"),
            ("/a/abcdefabcdefabcdef", "GET /a/abcdefabcdefabcdef"),
            ("/a/facade", "GET /a/facade"),
            ("/v1/users", "GET /v1/users"),
            ("http://web:80/x/1?y", "GET /x/{id}"),
            ("http://web", "GET /"),
            ("/go?to=http://web/1", "GET /go"),
            ("*", "GET *"),
            ("/a\u{1b}[2Jb", "GET /a?[2Jb"),
        ] {
            assert_eq!(folded("GET", target), expected, "{target}");
        }
        assert_eq!(folded("CONNECT", "web:80"), "CONNECT");
        assert_eq!(folded("", ""), "other");
    }

    #[test]
    fn what_is_long_or_deep_is_cut() {
        assert_eq!(folded("GET", &"/a".repeat(20)), "GET /a/a/a/a/a/a/a/a/…");
        let long = "é".repeat(500);
        assert_eq!(folded("GET", &format!("/{long}")).chars().count(), 5 + MAX_SEGMENT_CHARS + 1);
        assert_eq!(folded(&"X".repeat(99), "/").chars().count(), MAX_METHOD_CHARS + 3);
    }

    #[test]
    fn routes_are_bounded() {
        let routes = Routes::default();
        let first = routes.of("GET", "/r0x");
        for n in 0..ROUTES + 50 {
            routes.of("GET", &format!("/r{n}x"));
        }
        assert_eq!(routes.of("GET", "/r0x"), first);
        assert_eq!(&*routes.text(first), "GET /r0x");
        assert_eq!(routes.of("GET", "/late"), RouteId::default());
        assert_eq!(&*routes.text(RouteId::default()), OTHER);
    }
}
