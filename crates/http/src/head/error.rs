//! Why bytes are no head that may be passed on.

use http::StatusCode;

use super::{MAX_FIELDS, MAX_HEAD_BYTES};

/// Why a head is refused. The connection that it came on must be closed: where its next message
/// begins is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HeadError {
    /// It doesn't end within the bound.
    #[error("expected a head of at most {MAX_HEAD_BYTES} bytes, found more")]
    TooLarge,
    /// It has too many fields.
    #[error("expected at most {MAX_FIELDS} fields, found more")]
    TooManyFields,
    /// A version of HTTP that isn't spoken here.
    #[error("expected HTTP/1.0 or HTTP/1.1, found another version")]
    Version,
    /// The first line of a request (RFC 9112, 3).
    #[error("expected method, target and version with one space between, found another request line")]
    RequestLine,
    /// The first line of a response (RFC 9112, 4).
    #[error("expected version and a status of 100 to 999, found another status line")]
    StatusLine,
    /// A line that ends otherwise than by CRLF, or more than one empty line before the first.
    #[error("expected lines that end in CRLF, found another end")]
    LineEnd,
    /// A name that is no token, is empty, is folded, has a blank before its colon (RFC 9112, 5.1
    /// and 5.2), or is a framing field's with `_` for `-`.
    #[error("expected a field name and a colon right after it, found something else")]
    FieldName,
    /// A value with control bytes (RFC 9110, 5.5).
    #[error("expected a field value without control characters, found one")]
    FieldValue,
    /// A length that is repeated or isn't a plain number below 2^63 (RFC 9112, 6.3).
    #[error("expected one content-length of digits only, found another")]
    ContentLength,
    /// Any coding but one `chunked`, or a coding on HTTP/1.0 (RFC 9112, 6.1).
    #[error("expected one transfer-encoding, chunked, found another")]
    TransferEncoding,
    /// Both framings at once (RFC 9112, 6.1).
    #[error("expected content-length or transfer-encoding, found both")]
    TwoFramings,
    /// Content on a message that can't have any: CONNECT, its success, 1xx, 204.
    #[error("expected a message without content, found one that announces some")]
    Content,
    /// A connection option that is no token, or names a field that frames or routes messages
    /// (RFC 9110, 7.6.1); or more than 1 KiB of options.
    #[error("expected connection options that are tokens and touch no framing, found another")]
    ConnectionOption,
    /// No `Host` where there must be one (RFC 9112, 3.2).
    #[error("expected a host field, found none")]
    NoHost,
    /// More than one `Host`.
    #[error("expected one host field, found several")]
    RepeatedHost,
    /// A `Host` that is no authority.
    #[error("expected a host and perhaps a port, found something else")]
    Host,
    /// A `Host` that contradicts the target (RFC 9112, 3.2.2).
    #[error("expected the host field to name the target's host, found another")]
    HostMismatch,
    /// A target that doesn't suit its method, or has none of the four forms (RFC 9112, 3.2).
    #[error("expected a path, an http URI, or what the method asks for, found another target")]
    Target,
    /// A switch of protocols that wasn't asked for, or that isn't passed on.
    #[error("expected a final response, found an unasked switch of protocols")]
    Switch,
}

impl HeadError {
    /// The status for a client that sent such a head. A server's bad head is always 502.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
