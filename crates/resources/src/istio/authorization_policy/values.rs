//! Lists of values and their `not…` twins.
//!
//! A list with a value that isn't understood reads as empty: it restricts nothing, and its rule
//! has a defect.

use std::net::IpAddr;

use weft_mesh::SpiffeId;
use weft_mesh::record::{Cidr, Matches, ServiceAccountRef};

use crate::notes::{Fields, Notes, Spot};
use crate::problem::quoted;

/// Reads the lists of one field and its twin, such as `("ports", "notPorts")`.
pub(super) fn matches<T>(
    fields: &Fields<'_>,
    (any, not): (&str, &str),
    notes: &mut Notes<'_>,
    read: impl Fn(&Spot<'_>, &mut Notes<'_>) -> Option<T>,
) -> Matches<T> {
    let mut list = |name: &str| -> Vec<T> {
        let Some(spot) = fields.field(name) else { return Vec::new() };
        let Some(items) = spot.items(notes) else { return Vec::new() };
        let values: Vec<Option<T>> = items.iter().map(|item| read(item, notes)).collect();
        values.into_iter().collect::<Option<Vec<T>>>().unwrap_or_default()
    };
    Matches { any: list(any), not: list(not) }
}

/// A namespace, or a pattern of it.
pub(super) fn namespace(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<String> {
    spot.filled(notes).map(str::to_owned)
}

/// A text that is not empty, or a pattern of one.
pub(super) fn text(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let text = spot.filled(notes)?;
    starred(spot, text, notes);
    Some(text.to_owned())
}

/// A `*` means something at one end of a value, or alone (istio-semantics, B3).
pub(super) fn starred(spot: &Spot<'_>, text: &str, notes: &mut Notes<'_>) {
    let rest = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    if rest.contains('*') && !text.contains(['{', '}']) {
        let message = format!("expected '*' at one end only, found {}: the others stand for themselves", quoted(text));
        notes.warning(spot.node.at, &spot.path, message);
    }
}

/// A principal. It stands without a scheme; one with a scheme can match nobody.
pub(super) fn principal(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let text = spot.filled(notes)?;
    if let Some(rest) = text.strip_prefix("spiffe://") {
        let message = format!("expected {} without spiffe://, found it with: it matches nobody", quoted(rest));
        notes.warning(spot.node.at, &spot.path, message);
    } else if !text.starts_with('*') && !text.ends_with('*') && format!("spiffe://{text}").parse::<SpiffeId>().is_err()
    {
        notes.unmatched(spot, "TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, or a part with '*' at one end", "nobody");
    } else {
        starred(spot, text, notes);
    }
    Some(text.to_owned())
}

/// A trust domain, or a pattern of it.
pub(super) fn trust_domain(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let text = spot.filled(notes)?;
    if text.contains('/') {
        notes.expected(spot, "a trust domain without '/'");
        return None;
    }
    Some(text.to_owned())
}

/// `namespace/account`, or `account` in the policy's own namespace.
pub(super) fn service_account(
    spot: &Spot<'_>,
    own_namespace: Option<&str>,
    notes: &mut Notes<'_>,
) -> Option<ServiceAccountRef> {
    let text = spot.filled(notes)?;
    let (namespace, name) = text.split_once('/').unwrap_or((own_namespace.unwrap_or_default(), text));
    let wrong = |part: &str| part.is_empty() || part.contains(['/', '*']);
    let unknown_namespace = !text.contains('/') && own_namespace.is_none();
    if text.len() > MAX_ACCOUNT_CHARACTERS || wrong(name) || (wrong(namespace) && !unknown_namespace) {
        notes.expected(spot, "NAMESPACE/ACCOUNT or ACCOUNT without '*', at most 320 characters");
        return None;
    }
    Some(ServiceAccountRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// An address or a block of addresses.
pub(super) fn block(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<Cidr> {
    let text = spot.filled(notes)?;
    let block = cidr(text);
    if block.is_none() {
        notes.expected(spot, "an IP address or a block such as 10.0.0.0/8");
    }
    block
}

fn cidr(text: &str) -> Option<Cidr> {
    match text.split_once('/') {
        Some((address, bits)) => Cidr::new(address.parse().ok()?, digits(bits)?.try_into().ok()?),
        None => {
            let address: IpAddr = text.parse().ok()?;
            Cidr::new(address, if address.is_ipv4() { 32 } else { 128 })
        }
    }
}

/// A port, written as a text.
pub(super) fn port_text(spot: &Spot<'_>, notes: &mut Notes<'_>) -> Option<u16> {
    let found = port(spot.filled(notes)?);
    if found.is_none() {
        notes.expected(spot, "a port of 0 to 65535");
    }
    found
}

/// The port that a text names.
pub(crate) fn port(text: &str) -> Option<u16> {
    digits(text)
}

fn digits(text: &str) -> Option<u16> {
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

const MAX_ACCOUNT_CHARACTERS: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_addresses_or_prefixes() {
        for (text, bits) in [("10.0.0.0/8", 8), ("10.1.2.3", 32), ("::1", 128), ("2001:db8::/32", 32), ("0.0.0.0/0", 0)]
        {
            assert_eq!(cidr(text).map(|block| block.bits()), Some(bits), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "a", "10.0.0.0/8/8", "1.2.3.4/-1"]
        {
            assert_eq!(cidr(text), None, "{text}");
        }
    }

    #[test]
    fn ports_are_digits() {
        assert_eq!((port("0"), port("65535"), port("080")), (Some(0), Some(65535), Some(80)));
        for text in ["", "65536", "-1", "+80", "http", " 80", "8*"] {
            assert_eq!(port(text), None, "{text}");
        }
    }
}
