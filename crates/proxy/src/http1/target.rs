//! The target of a request, normalized: what is matched is what is forwarded.

use std::borrow::Cow;

use weft_http::head::{Fields, RequestHead, Target};
use weft_mesh::path::{Normalization, PathError, normalize, without_query};
use weft_mesh::{Headers, HttpCall};

use crate::request::FORGEABLE;

/// A normalized target.
pub(super) struct Normal<'a> {
    text: Cow<'a, str>,
    /// Where the path begins: behind scheme and authority of the absolute form.
    path: usize,
}

impl<'a> Normal<'a> {
    /// Normalizes the target of `head`.
    ///
    /// # Errors
    /// [`PathError`]; the request gets 400.
    pub(super) fn of(head: &RequestHead<'a>) -> Result<Self, PathError> {
        let text = head.target_text;
        let Target::Absolute { scheme, authority, .. } = head.target else {
            return Ok(Self { text: normalize(text, Normalization::Base)?, path: 0 });
        };
        let (front, rest) = text.split_at(scheme.len() + "://".len() + authority.len());
        let rest: Cow<'_, str> = if rest.starts_with('/') { rest.into() } else { format!("/{rest}").into() };
        let path = normalize(&rest, Normalization::Base)?;
        Ok(Self { text: format!("{front}{path}").into(), path: front.len() })
    }

    /// The target to forward.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What policies see of the request.
    pub(super) fn call<'b>(&'b self, head: &'b RequestHead<'b>, fields: &'b Judgeable<'b>) -> HttpCall<'b> {
        HttpCall {
            method: head.method,
            authority: head.authority.unwrap_or_default(),
            path: without_query(fields.target),
            headers: fields,
        }
    }

    /// The fields that policies see, beside the target.
    pub(super) fn fields<'b>(&'b self, head: &RequestHead<'b>) -> Judgeable<'b> {
        Judgeable { fields: head.fields, target: &self.text[self.path..] }
    }
}

/// The fields of a head as policies see them: without those that a caller could forge.
pub(super) struct Judgeable<'a> {
    fields: Fields<'a>,
    target: &'a str,
}

impl Headers for Judgeable<'_> {
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if name == ":path" {
            visit(self.target.as_bytes());
        } else if !FORGEABLE.contains(&name) {
            self.fields.values(name).for_each(visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_http::head::HeadParser;

    use super::*;

    fn normal(target: &str) -> Option<(String, String)> {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: By=x\r\nX-A: 1\r\n\r\n");
        let mut parser = HeadParser::new();
        let head = parser.request(bytes.as_bytes()).unwrap().unwrap();
        let normal = Normal::of(&head).ok()?;
        let fields = normal.fields(&head);
        fields.visit("x-forwarded-client-cert", &mut |_| panic!("a forged field is seen"));
        let mut seen = Vec::new();
        fields.visit("x-a", &mut |value| seen.push(value.to_vec()));
        assert_eq!(seen, [b"1"]);
        let path = normal.call(&head, &fields).path.to_owned();
        Some((normal.text().to_owned(), path))
    }

    #[test]
    fn what_is_matched_is_what_is_forwarded() {
        for (target, forwarded, path) in [
            ("/a/../b?x=/../y", "/b?x=/../y", "/b"),
            ("/a%2e%2e/%61", "/a../a", "/a../a"),
            ("http://a/x/./y?q", "http://a/x/y?q", "/x/y"),
            ("http://a", "http://a/", "/"),
            ("http://a?q", "http://a/?q", "/"),
            ("/x#y", "/x", "/x"),
        ] {
            assert_eq!(normal(target), Some((forwarded.to_owned(), path.to_owned())), "{target}");
        }
        assert_eq!(normal("/a%00b"), None);
    }
}
