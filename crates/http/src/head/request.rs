//! Heads of requests.

use std::mem::MaybeUninit;

use super::facts::Facts;
use super::{
    Asked, AskedMethod, Fields, Framing, HeadError, HeadParser, MAX_FIELDS, MAX_HEAD_BYTES, Persistence, Target,
    Upgrade, Version, locate,
};
use crate::authority::Authority;

/// A request's head, where it lies in the caller's buffer.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method; a token, with case.
    pub method: &'a str,
    /// The target.
    pub target: Target<'a>,
    /// The target as sent: visible ASCII, and UTF-8 beyond it.
    pub target_text: &'a str,
    /// The version.
    pub version: Version,
    /// The fields.
    pub fields: Fields<'a>,
    /// The body's framing; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the client would go on using the connection.
    pub persistence: Persistence,
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110, 10.1.1).
    pub expects_continue: bool,
    /// Whether the client asks for another protocol.
    pub upgrade: Upgrade,
    /// Whom the request is for: the target's authority, else `Host`; `None` only on HTTP/1.0.
    pub authority: Option<&'a str>,
    /// The head from its method to its empty line.
    pub bytes: &'a [u8],
    /// How many bytes of the buffer the head took: those of `bytes`, and of an empty line before.
    pub consumed: usize,
}

impl RequestHead<'_> {
    /// What a response's reader must know of this request.
    pub fn asked(&self) -> Asked {
        let method = match self.method {
            "HEAD" => AskedMethod::Head,
            "CONNECT" => AskedMethod::Connect,
            _ => AskedMethod::Other,
        };
        Asked { method, version: self.version, upgrade: self.upgrade, persistence: self.persistence }
    }
}

impl HeadParser {
    /// Reads a request's head from the start of `bytes`; `None` when its end hasn't come. The
    /// next call then gets the same bytes and more.
    ///
    /// One empty line before the request is skipped (RFC 9112, 2.2: old clients send one after
    /// a body); a second one is refused.
    ///
    /// # Errors
    /// [`HeadError`] when no later bytes can make it a head that is passed on.
    pub fn request<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Option<RequestHead<'a>>, HeadError> {
        let (skipped, bytes) = match bytes {
            [b'\r', b'\n', rest @ ..] => (2, rest),
            _ => (0, bytes),
        };
        match bytes {
            [] => return Ok(None),
            [b'\r'] if skipped == 0 => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(HeadError::LineEnd),
            _ => {}
        }
        let bytes = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
        if self.is_surely_incomplete(bytes) {
            return Ok(None);
        }
        self.searched = 0;
        let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        let length = match parsed.parse_with_uninit_headers(bytes, &mut slots) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return self.incomplete(bytes),
            Err(error) => return Err(request_error(error, bytes)),
        };
        let bytes = &bytes[..length];
        locate(bytes, parsed.headers, &mut self.spans)?;
        let (Some(method), Some(text), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(HeadError::RequestLine);
        };
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let head = judge(Line { method, text, version }, Fields::new(bytes, &self.spans))?;
        Ok(Some(RequestHead { consumed: skipped + length, ..head }))
    }
}

/// A request line.
struct Line<'a> {
    method: &'a str,
    text: &'a str,
    version: Version,
}

fn judge<'a>(line: Line<'a>, fields: Fields<'a>) -> Result<RequestHead<'a>, HeadError> {
    let Line { method, text, version } = line;
    let facts = Facts::of(fields, version)?;
    let target = Target::parse(method, text)?;
    // RFC 9110, 9.3.6: what follows a CONNECT is no content.
    if method == "CONNECT" && facts.announces_content() {
        return Err(HeadError::Content);
    }
    let framing = match facts.framing() {
        Some(framing) if method != "CONNECT" => framing,
        _ => Framing::Empty,
    };
    Ok(RequestHead {
        method,
        target,
        target_text: text,
        version,
        fields,
        framing,
        persistence: facts.persistence(version),
        expects_continue: facts.expects_continue,
        upgrade: facts.upgrade(),
        authority: authority(target, facts.host, version)?,
        bytes: fields.section(),
        consumed: fields.section().len(),
    })
}

/// Whom a request is for. RFC 9112, 3.2.2 lets the target's authority win over `Host`; servers
/// differ in that, so both must say the same (a port that only the target names is no difference
/// for CONNECT, whose clients leave it out of `Host`).
fn authority<'a>(target: Target<'a>, host: Option<&'a [u8]>, version: Version) -> Result<Option<&'a str>, HeadError> {
    let Some(host) = host else {
        if version == Version::Http11 {
            return Err(HeadError::NoHost);
        }
        return Ok(match target {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin { .. } | Target::Asterisk => None,
        });
    };
    let field = Authority::parse(host).ok_or(HeadError::Host)?;
    let (text, default) = match target {
        Target::Origin { .. } | Target::Asterisk => return Ok(str::from_utf8(host).ok()),
        Target::Absolute { scheme, authority, .. } => {
            (authority, Some(if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 }))
        }
        Target::Authority(authority) => (authority, None),
    };
    let named = Authority::parse(text.as_bytes()).ok_or(HeadError::Target)?;
    let default = default.or(named.port);
    if field.is_same(&named, default) { Ok(Some(text)) } else { Err(HeadError::HostMismatch) }
}

fn request_error(error: httparse::Error, bytes: &[u8]) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Version if names_other_version(bytes) => HeadError::Version,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => HeadError::RequestLine,
    }
}

/// Whether the first line's third and last word is an `HTTP/x.y` that isn't spoken here.
fn names_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let (Some(word), None) = (words.next(), words.next()) else { return false };
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = word else { return false };
    major.is_ascii_digit() && minor.is_ascii_digit() && !matches!(word, b"HTTP/1.0" | b"HTTP/1.1")
}
