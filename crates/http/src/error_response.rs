//! Responses that Weft makes itself when it can't pass on what was asked.

use std::io::Write;

use http::StatusCode;

use crate::head::{AskedMethod, Persistence};
use crate::rewrite::push_field;
use crate::token::{is_field_value, is_token};

/// An answer of the proxy's own, which says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// The status.
    pub status: StatusCode,
    /// The value of `weft-error`: who, where and why. What isn't visible ASCII becomes `?`, and
    /// it is cut at [`MAX_CAUSE_BYTES`].
    pub cause: &'a str,
    /// More fields; what can't be one is left out.
    pub fields: &'a [(&'a str, &'a str)],
    /// Whether the connection goes on after it.
    pub persistence: Persistence,
}

impl ErrorResponse<'_> {
    /// Appends the response to `out`; without its body if the method was HEAD.
    pub fn write(&self, method: AskedMethod, out: &mut Vec<u8>) {
        let body = self.body();
        let reason = self.status.canonical_reason().unwrap_or("Unknown");
        // Writing to memory can't fail.
        let _ = write!(
            out,
            "HTTP/1.1 {} {reason}\r\nweft-error: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n",
            self.status.as_u16(),
            self.cause(),
            body.len(),
        );
        for (name, value) in self.fields {
            if is_token(name.as_bytes()) && is_field_value(value.as_bytes()) {
                push_field(name.as_bytes(), value.as_bytes(), out);
            }
        }
        if self.persistence == Persistence::Close {
            push_field(b"connection", b"close", out);
        }
        out.extend(b"\r\n");
        if method != AskedMethod::Head {
            out.extend(body.as_bytes());
        }
    }

    /// The value of `weft-error`, fit for a field; for answers over HTTP/2, too.
    pub fn cause(&self) -> String {
        let visible = |byte: u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
        let cause: String = self.cause.bytes().take(MAX_CAUSE_BYTES).map(visible).collect();
        cause.trim().to_owned()
    }

    /// The body. A refused caller learns no more than that (Istio's and Envoy's text).
    pub fn body(&self) -> String {
        match self.status {
            StatusCode::FORBIDDEN => "RBAC: access denied".to_owned(),
            _ => format!("weft: {}\n", self.cause()),
        }
    }
}

/// The most bytes of a cause.
pub const MAX_CAUSE_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{Asked, Framing, HeadParser, Upgrade, Version};

    fn written(status: u16, cause: &str, method: AskedMethod) -> String {
        let mut out = Vec::new();
        let status = StatusCode::from_u16(status).unwrap();
        ErrorResponse { status, cause, fields: &[], persistence: Persistence::Close }.write(method, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_denial_says_no_more_than_that() {
        let text = written(403, "policy; id=7", AskedMethod::Other);
        assert_eq!(
            text,
            "HTTP/1.1 403 Forbidden\r\nweft-error: policy; id=7\r\ncontent-type: text/plain\r\n\
             content-length: 19\r\nconnection: close\r\n\r\nRBAC: access denied"
        );
    }

    #[test]
    fn causes_break_no_lines() {
        let text = written(503, "a\r\nset-cookie: x\0ä ", AskedMethod::Head);
        assert!(text.contains("weft-error: a??set-cookie: x???\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"));
        assert!(written(503, &"x".repeat(1000), AskedMethod::Other).len() < 1000);
    }

    #[test]
    fn more_fields_come_and_the_connection_may_go_on() {
        let mut out = Vec::new();
        let fields = [("x-request-id", "7"), ("a b", "x"), ("c", "x\r\ny: z")];
        let (status, persistence) = (StatusCode::FORBIDDEN, Persistence::KeepAlive);
        ErrorResponse { status, cause: "policy", fields: &fields, persistence }.write(AskedMethod::Other, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("content-length: 19\r\nx-request-id: 7\r\n\r\nRBAC: access denied"), "{text}");
    }

    #[test]
    fn it_reads_as_what_it_says() {
        let text = written(502, "refused", AskedMethod::Other);
        let asked = Asked {
            method: AskedMethod::Other,
            version: Version::Http11,
            upgrade: Upgrade::None,
            persistence: Persistence::KeepAlive,
        };
        let mut parser = HeadParser::new();
        let head = parser.response(text.as_bytes(), asked).unwrap().unwrap();
        assert_eq!((head.status, head.persistence), (502, Persistence::Close));
        assert_eq!(head.framing, Framing::Length((text.len() - head.bytes.len()) as u64));
    }
}
