//! Authorities: `host[:port]`, as `Host`, `:authority`, CONNECT and absolute targets carry them.
//!
//! Stricter than RFC 3986, 3.2: no userinfo (RFC 9110, 4.2.4), no percent-encoding, no
//! sub-delimiters, no empty port. Names in use have none of these, and without them one host has
//! one spelling but for case, so that a policy on hosts can compare text.

use std::net::Ipv6Addr;

/// A host, in brackets if it is an IPv6 address, and the port if one is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host as sent.
    pub host: &'a str,
    /// The port.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads an authority; `None` when `text` is anything else.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let (host, port) = match text.strip_prefix('[') {
            Some(literal) => {
                let end = literal.find(']')?;
                literal.get(..end)?.parse::<Ipv6Addr>().ok()?;
                text.split_at_checked(end + 2)?
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        if !host.starts_with('[') && !is_host_name(host.as_bytes()) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both name one endpoint, where `default` is the port of one that names none.
    pub fn is_same(&self, other: &Self, default: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.or(default) == other.port.or(default)
    }
}

/// Whether `text` is a host name or IPv4 address: letters, digits and `-._~`, 1 to 255 of them.
pub(crate) fn is_host_name(text: &[u8]) -> bool {
    (1..=MAX_HOST_BYTES).contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte))
}

fn parse_port(digits: &str) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A domain name has at most 253 visible characters (RFC 1035, 2.3.4); a root's dot may follow.
const MAX_HOST_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read() {
        let cases: [(&str, &str, Option<u16>); 6] = [
            ("payments", "payments", None),
            ("Pay_ments.Default.svc:8080", "Pay_ments.Default.svc", Some(8080)),
            ("240.240.1.2:80", "240.240.1.2", Some(80)),
            ("[fd00::1]", "[fd00::1]", None),
            ("[::ffff:1.2.3.4]:65535", "[::ffff:1.2.3.4]", Some(65535)),
            ("a.", "a.", None),
        ];
        for (text, host, port) in cases {
            assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { host, port }), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_twice_is_refused() {
        for text in [
            "",
            ":80",
            "a:",
            "a:x",
            "a:65536",
            "a:+80",
            "a:000080",
            "u@a",
            "a,b",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a%62",
            "a\\b",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[]",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "::1",
            "a:80:80",
            "ä",
            "a\t",
            "(a)",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Authority::parse(&[b'a', 0xff]), None);
        assert_eq!(Authority::parse(&[b'a'; 256]), None);
    }

    #[test]
    fn one_endpoint_has_spellings() {
        let same = |left: &str, right: &str, default| {
            let parse = |text: &'static str| Authority::parse(text.as_bytes()).unwrap();
            parse(Box::leak(left.into())).is_same(&parse(Box::leak(right.into())), default)
        };
        assert!(same("A", "a:80", Some(80)));
        assert!(!same("a", "a:80", None));
        assert!(!same("a:81", "a", Some(80)));
        assert!(!same("a", "b", Some(80)));
    }
}
