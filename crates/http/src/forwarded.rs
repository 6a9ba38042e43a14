//! `Forwarded` (RFC 7239), as one proxy of a mesh tells another for whom it calls. Whoever reads it
//! must not believe it: it says what the sender chose to say.
//!
//! Stricter than the RFC: one element, no parameter twice, no escapes. Proxies that add to it in
//! turn make more elements; what the first of them says isn't the sender's word then.

use crate::authority::Authority;
use crate::token::is_token;

/// The host that a sender says it was asked for, as sent; `None` when it says none, or when the
/// field isn't of one element that is read in one way only.
pub fn forwarded_host(field: &[u8]) -> Option<&str> {
    let mut rest = str::from_utf8(field).ok().filter(|text| text.len() <= MAX_FORWARDED_BYTES)?;
    let (mut host, mut names) = (None, Vec::with_capacity(4));
    loop {
        let (name, value) = rest.split_once('=')?;
        let (value, after) = split_value(value)?;
        if !is_token(name.as_bytes()) || names.iter().any(|other: &&str| other.eq_ignore_ascii_case(name)) {
            return None;
        }
        names.push(name);
        if name.eq_ignore_ascii_case("host") {
            Authority::parse(value.as_bytes())?;
            host = Some(value);
        }
        match after.strip_prefix(';') {
            Some(next) => rest = next,
            None if after.is_empty() => return host,
            None => return None,
        }
    }
}

/// A token or a quoted text without escapes, and what follows it.
fn split_value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, after) = quoted.split_once('"')?;
        let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\');
        return is_plain.then_some((value, after));
    }
    let (value, after) = text.split_at(text.find(';').unwrap_or(text.len()));
    is_token(value.as_bytes()).then_some((value, after))
}

/// Far above what addresses and one host take.
const MAX_FORWARDED_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_wherever_it_stands() {
        for (field, host) in [
            ("for=\"10.0.0.1:40000\";host=api.default.svc.cluster.local", "api.default.svc.cluster.local"),
            ("host=api", "api"),
            ("Host=\"api:80\";for=10.0.0.1;proto=https", "api:80"),
            ("by=_x;for=\"[fd00::1]:4\";host=\"[fd00::2]:80\"", "[fd00::2]:80"),
        ] {
            assert_eq!(forwarded_host(field.as_bytes()), Some(host), "{field}");
        }
        assert_eq!(forwarded_host(b"for=\"10.0.0.1:40000\""), None);
    }

    #[test]
    fn what_could_be_read_twice_says_nothing() {
        for field in [
            "",
            "host",
            "host=",
            "host=a;",
            ";host=a",
            "host=a;host=b",
            "host=a;HOST=a",
            "for=a;for=b;host=c",
            "host=a,host=b",
            "for=a, for=b;host=c",
            "host=a b",
            "host= a",
            "host =a",
            "host=\"a",
            "host=\"a\"b",
            "host=\"a\\b\"",
            "host=\"a,b\"",
            "host=\"me@a\"",
            "host=\"a/b\"",
            "host=[::1]",
            "for=10.0.0.1:80;host=a",
            "host=ä",
        ] {
            assert_eq!(forwarded_host(field.as_bytes()), None, "{field}");
        }
        assert_eq!(forwarded_host(&[b"host=a;x=".as_slice(), &[b'y'; 1_024]].concat()), None);
        assert_eq!(forwarded_host(b"host=\xff"), None);
    }
}
