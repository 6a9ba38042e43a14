//! Normalization of request targets, before they are matched and forwarded (istio-semantics, B6).
//!
//! What is forwarded is what was matched. Knows targets as texts only: no policies, and no
//! absolute-form targets (whoever reads HTTP splits those first).

use std::borrow::Cow;

/// How far paths are normalized (Istio, `MeshConfig.pathNormalization`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Normalization {
    /// Not at all; only the fragment is cut.
    None,
    /// Dot segments resolved (RFC 3986, section 5.2.4), `\` read as `/`, escapes of unreserved
    /// characters decoded once.
    #[default]
    Base,
    /// As `Base`, then runs of slashes become one.
    MergeSlashes,
    /// `%2f` and `%5c` are decoded first, then as `MergeSlashes`.
    DecodeAndMergeSlashes,
}

/// Normalizes a request target: path, and query if there is one.
///
/// The query stays as it is; the fragment is cut, whatever the normalization. `*` and the
/// authority-form of CONNECT pass as they are. Case is never folded. An escape stays when decoding
/// it would complete another one (`/%2%65` would become `/%2e`): so a second reader, decoding
/// once, sees the path that was matched, and normalizing twice changes nothing.
///
/// # Errors
/// [`PathError`] when the target holds a NUL, or is in no form that is known; such a request gets
/// 400.
pub fn normalize(target: &str, n: Normalization) -> Result<Cow<'_, str>, PathError> {
    let target = target.split('#').next().unwrap_or_default();
    let path = without_query(target);
    if target.contains('\0') || (n != Normalization::None && path.contains("%00")) {
        return Err(PathError::Nul);
    }
    if !path.starts_with('/') {
        let passes = !target.is_empty() && !target.contains(['/', '\\', '?', '%']);
        return if passes { Ok(Cow::Borrowed(target)) } else { Err(PathError::Form(target.to_owned())) };
    }
    if is_normal(path, n) {
        return Ok(Cow::Borrowed(target));
    }
    let mut normal = without_dots(&decoded(path, n));
    if matches!(n, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes) {
        normal = merged(&normal);
    }
    normal.push_str(&target[path.len()..]);
    Ok(Cow::Owned(normal))
}

/// The path of a normalized target: what policies match.
pub fn without_query(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// Whether a path surely needs no change. Most paths don't, and then nothing is allocated.
fn is_normal(path: &str, n: Normalization) -> bool {
    match n {
        Normalization::None => true,
        Normalization::Base => !path.contains(['%', '\\']) && !path.contains("/."),
        _ => !path.contains(['%', '\\']) && !path.contains("/.") && !path.contains("//"),
    }
}

/// The path with its escapes decoded, as far as `n` decodes them, and `\` read as `/`.
fn decoded(path: &str, n: Normalization) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (taken, found) = match escape(rest) {
            Some(byte) => (3, plain(byte, n).filter(|c| !completes_escape(&out, *c))),
            None => (1, rest.starts_with('\\').then_some('/')),
        };
        match found {
            Some(c) => out.push(c),
            None => out.push_str(&rest[..taken]),
        }
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

/// The byte that an escape at the start of `text` stands for.
fn escape(text: &str) -> Option<u8> {
    let [b'%', high, low, ..] = text.as_bytes() else { return None };
    let digit = |b: &u8| char::from(*b).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// What an escaped byte becomes; `None` when its escape stays.
fn plain(byte: u8, n: Normalization) -> Option<char> {
    match byte {
        b'/' | b'\\' => (n == Normalization::DecodeAndMergeSlashes).then_some('/'),
        // RFC 3986, section 2.3: unreserved.
        b'-' | b'.' | b'_' | b'~' => Some(char::from(byte)),
        _ => byte.is_ascii_alphanumeric().then(|| char::from(byte)),
    }
}

/// Whether `next` after `out` would end an escape that was none in the source.
fn completes_escape(out: &str, next: char) -> bool {
    let opened = match out.as_bytes() {
        [.., b'%'] => true,
        [.., b'%', digit] => digit.is_ascii_hexdigit(),
        _ => false,
    };
    opened && next.is_ascii_hexdigit()
}

/// The path without dot segments (RFC 3986, section 5.2.4). It begins with `/` and so does the
/// result.
fn without_dots(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.truncate(out.rfind('/').unwrap_or(0));
                }
                if last {
                    out.push('/');
                }
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    out
}

/// The path with each run of slashes made one.
fn merged(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

/// Why a target can't be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It holds a NUL, plain or escaped, at which programs may end the path.
    #[error("expected a path without NUL, found one")]
    Nul,
    /// It is neither a path, nor `*`, nor an authority.
    #[error("expected a request target that begins with '/', found {0:?}")]
    Form(String),
}

#[cfg(test)]
mod tests;
