//! HTTP/1 read and written strictly; HTTP/1 and HTTP/2 bridged; protocols told apart.
//!
//! ```text
//! bytes ──> detect ──> HeadParser ──> RequestHead ──rewrite──> bytes       (in place, small edits)
//!                          │                │
//!                          │                └──bridge──> http::Request     (for HTTP/2)
//!                          └─ framing ──> BodyReader ──> how many of the bytes at hand are the body's
//! ```
//!
//! Everything here is a pure function or a small state machine over byte slices: no sockets, no
//! clocks, no TLS, no mesh, no policy. Whatever two readers could understand differently is an
//! error and never a guess. The sources are RFC 9110 (semantics), RFC 9112 (HTTP/1.1) and
//! RFC 9113 (HTTP/2).

#![forbid(unsafe_code)]

pub mod authority;
pub mod body;
pub mod bridge;
pub mod detect;
pub mod error_response;
pub mod forwarded;
pub mod head;
pub mod rewrite;
pub mod tls_hello;

mod token;
