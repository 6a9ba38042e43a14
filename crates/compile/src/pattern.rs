//! Texts with a `*` at one end, as Istio's string fields read them (istio-semantics, B3).

/// Whether a `*` stands where a pattern takes it literally.
pub(crate) fn has_inner_star(text: &str) -> bool {
    let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    inner.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_stars_are_seen() {
        assert!(["a*b", "*a*", "**"].into_iter().all(has_inner_star));
        assert!(!["*", "a", "*a", "a*"].into_iter().any(has_inner_star));
    }
}
