//! Path templates: whether `{*}` and `{**}` stand where they may (Istio, `paths`).

/// `Err` says what was expected. A path without `{*}` and `{**}` is no template, and always fine.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    if !path.contains("{*}") && !path.contains("{**}") {
        return Ok(());
    }
    let mut after_rest = false;
    for segment in path.split('/') {
        match segment {
            "{*}" | "{**}" if after_rest => return Err("a template with nothing but texts after {**}"),
            "{**}" => after_rest = true,
            "{*}" => {}
            text if text.contains(['*', '{', '}']) => {
                return Err("a template whose {*} and {**} fill whole segments, without other '*', '{' and '}'");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_fill_segments_and_the_long_one_is_last() {
        for good in ["/a/{*}", "/{**}", "/a/{*}/b/{**}", "/store/{**}/cart", "/a/*", "*", "/a{b}", "/a/{x}"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in
            ["/a{*}", "/{*}b", "/{**}/{*}", "/{**}/{**}", "/{*}/*", "/{*}/{x}", "/{*}/a*", "/{*}{*}", "/{***}/{*}"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
