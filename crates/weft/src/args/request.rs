//! The parts of an HTTP request as a user names them: what no client could send is refused.

/// A method (RFC 9110, section 9.1): a token, whose case counts.
pub(crate) fn method(text: &str) -> Result<String, String> {
    checked(text, "an HTTP method", is_token)
}

/// A request target: a path with its query, `*`, or the `HOST:PORT` of CONNECT.
pub(crate) fn target(text: &str) -> Result<String, String> {
    let known = |text: &str| text.starts_with('/') || text == "*" || (text.contains(':') && !text.contains('/'));
    checked(text, "a path that begins with '/', without spaces", |text| known(text) && is_visible(text))
}

/// An authority: a host, and a port where one is sent.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let fits = |text: &str| !text.is_empty() && is_visible(text) && !text.contains(['/', '@']);
    checked(text, "a host such as payments.default:8080", fits)
}

/// A header field's name. The host and what HTTP/2 sends as fields (`:path`) have other places.
pub(crate) fn header_name(text: &str) -> Result<String, String> {
    let fits = |text: &str| is_token(text) && !text.eq_ignore_ascii_case("host");
    checked(text, "a header field's name (the host has a place of its own)", fits)
}

/// A header field's value.
pub(crate) fn header_value(text: &str) -> Result<String, String> {
    let fits = |text: &str| text.chars().all(|c| c == '\t' || !c.is_control());
    checked(text, "a header field's value in one line", fits)
}

/// `NAME=VALUE`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = super::key_value(text)?;
    Ok((header_name(&name)?, header_value(&value)?))
}

fn checked(text: &str, what: &str, fits: impl FnOnce(&str) -> bool) -> Result<String, String> {
    if fits(text) { Ok(text.to_owned()) } else { Err(format!("expected {what}, found {text:?}")) }
}

fn is_visible(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_is_taken() {
        assert_eq!(method("PROPFIND").as_deref(), Ok("PROPFIND"));
        for text in ["/", "/a?b=c#d", "/a%00", "/ä", "*", "host:443", "//x", "/\\.."] {
            assert_eq!(target(text).as_deref(), Ok(text));
        }
        assert_eq!(host("[::1]:80").as_deref(), Ok("[::1]:80"));
        assert_eq!(header("X-Team=a=b"), Ok(("X-Team".to_owned(), "a=b".to_owned())));
    }

    #[test]
    fn what_no_client_sends_is_refused() {
        for text in ["", "G ET", "GET\r", "a/b"] {
            assert!(method(text).is_err(), "{text:?}");
        }
        for text in ["", "admin", "http://x/y", "/a b", "/a\0", "/a\n"] {
            assert!(target(text).is_err(), "{text:?}");
        }
        for text in ["", "a/b", "u@h", "a b"] {
            assert!(host(text).is_err(), "{text:?}");
        }
        for text in [":path=/", "Host=x", "a b=c", "x", "x=a\r\nb"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }
}
