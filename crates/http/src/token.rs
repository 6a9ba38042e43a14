//! Tokens and comma-separated lists, the small grammar that header fields share.

/// Whether `byte` may stand in a token (RFC 9110, 5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

/// Whether `text` is a token: one or more token bytes.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// The elements of a comma-separated list, without the blanks around them; empty elements are
/// left out, as a recipient must (RFC 9110, 5.6.1.2).
pub(crate) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// `text` without the spaces and tabs at its ends.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().take_while(|byte| blank(byte)).count();
    let end = text.iter().rev().take_while(|byte| blank(byte)).count();
    text.get(start..text.len() - end).unwrap_or_default()
}

/// Whether `value` may stand as a field's value: no control bytes but the tab, no blanks at its
/// ends (RFC 9110, 5.5).
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    // Without an early end, many bytes are looked at in one step.
    let is_control = |byte: u8| ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f);
    !value.iter().fold(false, |found, &byte| found | is_control(byte)) && trim(value).len() == value.len()
}

/// Whether two field names are one to a lenient reader: without case, and `_` is `-`, because
/// CGI and its heirs (WSGI, Rack) make both the same variable.
pub(crate) fn is_same_name(left: &[u8], right: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    left.len() == right.len() && left.iter().map(fold).eq(right.iter().map(fold))
}

const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_lose_blanks_and_empty_elements() {
        let found: Vec<&[u8]> = elements(b" close ,, \t,te\t").collect();
        assert_eq!(found, [b"close".as_slice(), b"te"]);
        assert_eq!(elements(b"").count(), 0);
        assert_eq!(trim(b" \t "), b"");
    }

    #[test]
    fn tokens_have_no_delimiters() {
        assert!(is_token(b"x-a_b.c~1!"));
        for bad in [b"".as_slice(), b"a b", b"a:", b"\"a\"", b"a\x00", b"\xc3\xa4", b"a;b"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_are_one_without_case_and_with_underscores() {
        assert!(is_same_name(b"X_Forwarded-For", b"x-forwarded-for"));
        assert!(!is_same_name(b"x-forwarded-fo", b"x-forwarded-for"));
    }
}
