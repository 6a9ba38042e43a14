//! HTTP/1 and HTTP/2 bridged: heads and trailers of one made into those of the other.
//!
//! ```text
//! RequestHead ── request_to_h2 ──> http::Request       http::Request ── request_to_h1 ──> bytes
//! ResponseHead ─ response_to_h2 ─> http::Response      http::Response ─ response_to_h1 ─> bytes
//! ```
//!
//! Content is moved by others: [`crate::body::BodyReader`] finds it in HTTP/1 and counts it
//! against a `content-length` that came by HTTP/2; `write_chunk_start` and `write_last_chunk` of
//! [`crate::body`] frame it. An upgrade can't cross: HTTP/2 has none (RFC 9113, 8.6), so the wish
//! for one is left out and the server answers as if it weren't there.

mod to_h1;
mod to_h2;
mod validate;

pub use to_h1::{Content, request_to_h1, response_to_h1};
pub use to_h2::{request_to_h2, response_to_h2, trailers_to_h2};
pub use validate::{h2_authority, validate_h2_request, validate_h2_response, validate_h2_trailers};

use crate::body::BodyError;

/// Why a message can't cross or, coming by HTTP/2, is malformed (RFC 9113, 8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BridgeError {
    /// A field that speaks of a connection (RFC 9113, 8.2.2).
    #[error("expected no connection-specific field, found one")]
    ConnectionField,
    /// A name that is no token, or a value with control bytes or blanks at its ends
    /// (RFC 9113, 8.2.1).
    #[error("expected well-formed fields, found one that isn't")]
    Field,
    /// No authority, or one that isn't `host[:port]`.
    #[error("expected an authority of host and perhaps port, found none or another")]
    Authority,
    /// `Host` repeated, or contradicting `:authority` (RFC 9113, 8.3.1).
    #[error("expected the host field to equal the authority, found another")]
    HostMismatch,
    /// A scheme other than `http` and `https`.
    #[error("expected the scheme http or https, found another")]
    Scheme,
    /// A path that doesn't begin with `/`, has bytes that no path has, or doesn't suit its method.
    #[error("expected a path of visible bytes that begins with a slash, found another")]
    Path,
    /// A method that is none.
    #[error("expected a method, found something else")]
    Method,
    /// A content length that is repeated, no number, or contradicts the end of the stream.
    #[error("expected one content-length that fits the content, found another")]
    ContentLength,
    /// A status that can't be told in the other version, such as 101.
    #[error("expected a status that both versions have, found another")]
    Status,
    /// Trailers that aren't ones.
    #[error(transparent)]
    Trailers(#[from] BodyError),
}

#[cfg(test)]
mod tests;
