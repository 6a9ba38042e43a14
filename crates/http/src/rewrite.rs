//! Heads passed on in place: the same bytes, order and spelling, but for small edits.
//!
//! What a transparent pair of proxies keeps, and why:
//! - `Host`, `Expect`, `Max-Forwards`, `Trailer`, `Proxy-Authorization`, and a target in absolute
//!   form: they are for the program at the other end. No `Via` is added: neither program knows
//!   of a proxy, and nothing here loops.
//! - `Connection`, `Keep-Alive`: as [`Hop`] says.
//! - `Upgrade`, unless it asks for HTTP/2 or TLS: then requests would pass unseen, so it is taken
//!   out everywhere, with `HTTP2-Settings` and their connection options (RFC 9110, 7.8).
//! - `TE: trailers`. Other codings are taken out of `TE`, because a response that used them would
//!   be refused (RFC 9110, 10.1.4).

use crate::head::{FieldKind, Fields, Line, RequestHead, ResponseHead, Upgrade, Version};
use crate::token::{elements, is_field_value, is_same_name, is_token};

/// What is changed in a head. The default changes nothing that need not be changed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edits<'e> {
    /// Another target, for requests: visible bytes only.
    pub target: Option<&'e str>,
    /// Fields that are taken out wherever they stand; without case, and `_` counts as `-`, since
    /// CGI-like servers can't tell them apart. For what a caller could forge.
    pub remove: &'e [&'e str],
    /// Fields that are put at the end.
    pub append: &'e [(&'e str, &'e [u8])],
    /// What becomes of the connection's own fields.
    pub hop: Hop,
}

/// What becomes of the fields that speak of the connection (RFC 9110, 7.6.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Hop {
    /// They stay: the programs speak of their own connections to each other, as if no proxy were
    /// between. A program's `Connection: close` reaches the other one, and each proxy closes its
    /// program's side, as `persistence` of the head says; the mesh's own connections don't care.
    #[default]
    Keep,
    /// They are taken out, with the fields that `Connection` names, so that the next connection
    /// is used again whatever the program said of the last one. Upgrades and `TE: trailers` stay,
    /// and `keep-alive` on HTTP/1.0, whose connections would close without it. Whoever does this
    /// with a request uses [`Hop::Close`] on its response if the client wanted to close.
    Renew,
    /// They say that the connection closes after this message, whatever they said before.
    Close,
}

/// A head to pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewritten<'a> {
    /// Nothing changed: these bytes of the buffer are it.
    AsIs(&'a [u8]),
    /// It was appended to the output.
    Appended,
}

/// Why a head isn't rewritten; the proxy's own mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EditError {
    /// A new target with blanks or control bytes, or none at all.
    #[error("expected a target of visible bytes, found another")]
    Target,
    /// A new field that isn't one.
    #[error("expected a field to append, found a name or value that is none")]
    Field,
}

impl<'a> RequestHead<'a> {
    /// Passes the head on with `edits`: as it lies in the buffer, or appended to `out`.
    ///
    /// # Errors
    /// [`EditError`] when an edit would break the head; nothing is appended then.
    pub fn rewrite(&self, edits: &Edits<'_>, out: &mut Vec<u8>) -> Result<Rewritten<'a>, EditError> {
        let target = edits.target.filter(|target| *target != self.target_text);
        if target.is_some_and(|target| target.is_empty() || target.bytes().any(|byte| byte <= b' ' || byte == 0x7f)) {
            return Err(EditError::Target);
        }
        let writer = Writer { fields: self.fields, upgrade: self.upgrade, version: self.version, edits };
        let target =
            target.map(|target| Replacement { start: self.method.len() + 1, old: self.target_text, new: target });
        writer.write(target, out)
    }
}

impl<'a> ResponseHead<'a> {
    /// Passes the head on with `edits`, whose `target` means nothing here.
    ///
    /// # Errors
    /// As [`RequestHead::rewrite`].
    pub fn rewrite(&self, edits: &Edits<'_>, out: &mut Vec<u8>) -> Result<Rewritten<'a>, EditError> {
        Writer { fields: self.fields, upgrade: self.upgrade, version: self.version, edits }.write(None, out)
    }
}

struct Replacement<'e> {
    start: usize,
    old: &'e str,
    new: &'e str,
}

struct Writer<'a, 'e> {
    fields: Fields<'a>,
    upgrade: Upgrade,
    version: Version,
    edits: &'e Edits<'e>,
}

/// What becomes of a field's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
    /// Written anew with the options that stay.
    Options,
    /// Written anew as `trailers`.
    TeTrailers,
}

impl<'a> Writer<'a, '_> {
    fn write(&self, target: Option<Replacement<'_>>, out: &mut Vec<u8>) -> Result<Rewritten<'a>, EditError> {
        let is_field = |(name, value): &(&str, &[u8])| is_token(name.as_bytes()) && is_field_value(value);
        if !self.edits.append.iter().all(is_field) {
            return Err(EditError::Field);
        }
        let closes = self.edits.hop == Hop::Close && !self.has_option(b"close");
        let is_same = target.is_none() && self.edits.append.is_empty() && !closes;
        if is_same && self.fields.lines().all(|line| self.fate(&line) == Fate::Kept) {
            return Ok(Rewritten::AsIs(self.fields.section()));
        }
        self.copy(target, out);
        if closes {
            out.extend(b"Connection: close\r\n");
        }
        for (name, value) in self.edits.append {
            push_field(name.as_bytes(), value, out);
        }
        out.extend(b"\r\n");
        Ok(Rewritten::Appended)
    }

    /// Copies the head up to its empty line; lines that stay are copied in runs.
    fn copy(&self, target: Option<Replacement<'_>>, out: &mut Vec<u8>) {
        let bytes = self.fields.section();
        let mut copied = 0;
        if let Some(Replacement { start, old, new }) = target {
            out.extend(&bytes[..start]);
            out.extend(new.as_bytes());
            copied = start + old.len();
        }
        for line in self.fields.lines() {
            let fate = self.fate(&line);
            if fate == Fate::Kept {
                continue;
            }
            out.extend(&bytes[copied..line.start]);
            copied = line.end;
            match fate {
                Fate::Options => self.push_options(&line, out),
                Fate::TeTrailers => push_field(line.field.name, b"trailers", out),
                Fate::Kept | Fate::Dropped => {}
            }
        }
        out.extend(&bytes[copied..bytes.len() - 2]);
    }

    fn fate(&self, line: &Line<'_>) -> Fate {
        let name = line.field.name;
        let hop = self.edits.hop;
        if self.edits.remove.iter().any(|removed| is_same_name(removed.as_bytes(), name)) {
            return Fate::Dropped;
        }
        let kept_if = |kept: bool| if kept { Fate::Kept } else { Fate::Dropped };
        match line.kind {
            FieldKind::Connection => {
                let mut options = elements(line.field.value);
                if options.all(|option| self.keeps_option(option)) { Fate::Kept } else { Fate::Options }
            }
            FieldKind::Te if line.field.value.eq_ignore_ascii_case(b"trailers") => Fate::Kept,
            FieldKind::Te if accepts_trailers(line.field.value) => Fate::TeTrailers,
            FieldKind::Te => Fate::Dropped,
            FieldKind::Upgrade => match self.upgrade {
                Upgrade::Asked => Fate::Kept,
                Upgrade::None => kept_if(hop != Hop::Renew),
                Upgrade::Withheld => Fate::Dropped,
            },
            FieldKind::Http2Settings => kept_if(self.upgrade != Upgrade::Withheld && hop != Hop::Renew),
            FieldKind::KeepAlive => kept_if(hop == Hop::Keep),
            FieldKind::ProxyConnection => kept_if(hop != Hop::Renew),
            _ => kept_if(hop != Hop::Renew || !self.has_option(name)),
        }
    }

    fn keeps_option(&self, option: &[u8]) -> bool {
        let kind = FieldKind::of(option);
        let is_withheld =
            matches!(kind, FieldKind::Upgrade | FieldKind::Http2Settings) && self.upgrade == Upgrade::Withheld;
        match self.edits.hop {
            _ if is_withheld => false,
            Hop::Keep => true,
            Hop::Close => kind != FieldKind::KeepAlive,
            Hop::Renew => match kind {
                FieldKind::Upgrade => self.upgrade == Upgrade::Asked,
                FieldKind::Te => self.fields.values("te").any(accepts_trailers),
                FieldKind::KeepAlive => self.version == Version::Http10,
                _ => false,
            },
        }
    }

    /// Writes a `Connection` line with the options that stay; no line if none does.
    fn push_options(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        let mut kept = elements(line.field.value).filter(|option| self.keeps_option(option));
        let Some(first) = kept.next() else { return };
        out.extend(line.field.name);
        out.extend(b": ");
        out.extend(first);
        for option in kept {
            out.extend(b", ");
            out.extend(option);
        }
        out.extend(b"\r\n");
    }

    fn has_option(&self, name: &[u8]) -> bool {
        let mut values =
            self.fields.lines().filter(|line| line.kind == FieldKind::Connection).map(|line| line.field.value);
        values.any(|value| elements(value).any(|option| option.eq_ignore_ascii_case(name)))
    }
}

/// Whether a value of `TE` names `trailers`.
pub(crate) fn accepts_trailers(value: &[u8]) -> bool {
    elements(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

pub(crate) fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend(name);
    out.extend(b": ");
    out.extend(value);
    out.extend(b"\r\n");
}

#[cfg(test)]
mod tests;
