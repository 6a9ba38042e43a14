//! Responses that Weft makes itself when it can't pass on what was asked.

use std::io::Write;

use http::StatusCode;

use crate::head::AskedMethod;

/// An answer of the proxy's own, which says so. The connection closes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// The status.
    pub status: StatusCode,
    /// The value of `weft-error`: who, where and why. What isn't visible ASCII becomes `?`, and
    /// it is cut at [`MAX_CAUSE_BYTES`].
    pub cause: &'a str,
}

impl ErrorResponse<'_> {
    /// Appends the response to `out`; without its body if the method was HEAD.
    pub fn write(&self, method: AskedMethod, out: &mut Vec<u8>) {
        let body = self.body();
        let reason = self.status.canonical_reason().unwrap_or("Unknown");
        // Writing to memory can't fail.
        let _ = write!(
            out,
            "HTTP/1.1 {} {reason}\r\nweft-error: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.status.as_u16(),
            self.cause(),
            body.len(),
        );
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
    use crate::head::{Asked, Framing, HeadParser, Persistence, Upgrade, Version};

    fn written(status: u16, cause: &str, method: AskedMethod) -> String {
        let mut out = Vec::new();
        ErrorResponse { status: StatusCode::from_u16(status).unwrap(), cause }.write(method, &mut out);
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
    fn it_reads_as_what_it_says() {
        let text = written(502, "refused", AskedMethod::Other);
        let asked = Asked { method: AskedMethod::Other, version: Version::Http11, upgrade: Upgrade::None };
        let mut parser = HeadParser::new();
        let head = parser.response(text.as_bytes(), asked).unwrap().unwrap();
        assert_eq!((head.status, head.persistence), (502, Persistence::Close));
        assert_eq!(head.framing, Framing::Length((text.len() - head.bytes.len()) as u64));
    }
}
