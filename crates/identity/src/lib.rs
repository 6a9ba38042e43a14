//! Keys, certificates, trust, and the TLS that verifies identity.
//!
//! Pure functions over bytes: this room opens no file and no socket, and time is passed in (only
//! a running TLS handshake asks a clock, which the caller may choose). It knows no policy and no
//! Kubernetes: it says who a peer is, never what the peer may do.
//!
//! Sources: SPIFFE X.509-SVID and RFC 5280 for certificates, RFC 2986 for requests, RFC 8446 for TLS.
#![forbid(unsafe_code)]

mod authority;
mod bearer;
mod certificate;
mod clock;
mod credential;
#[cfg(test)]
mod fixtures;
mod key_kind;
mod named;
mod protection;
mod provider;
mod reason;
mod renewal;
mod request;
mod text;
mod tls;
mod verify;

pub use authority::{Authority, AuthorityError, AuthorityLifetimes, AuthorityPem, CLOCK_SKEW, IssuerPem, SignedLeaf};
pub use bearer::{Bearer, peer_bearer};
pub use certificate::{Certificate, IdentityError, Malformed, peer_identity};
pub use credential::{Credential, CredentialError, LeafKey};
pub use key_kind::KeyKind;
pub use named::{NamedServer, NamedServerError};
pub use protection::{
    LateMessage, Protection, RECORD_CONTENT_BYTES, RECORD_HEADER_BYTES, RECORD_OVERHEAD_BYTES, RecordHeader,
};
pub use provider::provider;
pub use reason::{Reason, describe};
pub use renewal::{LEAST_LIFETIME, issuer_due, renew_at, retry_after};
pub use request::RequestError;
pub use text::certificate_text;
pub use tls::{
    MeshTls, TlsSettings, TrustError, client_config_without_identity, server_config_for_anyone, server_name,
    unverified_client_config,
};
pub use verify::PeerError;
