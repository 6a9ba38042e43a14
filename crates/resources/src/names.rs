//! Names as Kubernetes allows them (RFC 1123 as its API conventions read it).

/// Whether `text` is a DNS-1123 label: 1 to 63 of a-z, 0-9 and `-`, with no `-` at either end.
/// Namespaces are such.
pub(crate) fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether `text` is a DNS-1123 subdomain: labels joined by `.`, at most 253 characters; the single
/// labels may be longer than 63. Resources' names are such.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label =
        |part: &str| !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-');
    (1..=253).contains(&text.len()) && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kubernetes_does() {
        for good in ["a", "a-b", "0", &"a".repeat(63)] {
            assert!(is_label(good) && is_subdomain(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a b", "ä", "a/b", "*"] {
            assert!(!is_label(bad) && !is_subdomain(bad), "{bad}");
        }
        assert!(!is_label(&"a".repeat(64)));
        assert!(is_subdomain("a.b-c.d") && !is_label("a.b"));
        for bad in ["a..b", ".a", "a.", "a.-b"] {
            assert!(!is_subdomain(bad), "{bad}");
        }
        assert!(!is_subdomain(&"a".repeat(254)));
    }
}
