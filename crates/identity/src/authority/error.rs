//! Why an authority can't be made, taken up or used.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::certificate::Malformed;
use crate::request::RequestError;
use weft_mesh::{SpiffeId, TrustDomain};

/// Which of an authority's two certificates is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Root,
    Issuer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Issuer => "issuer",
        })
    }
}

/// Why an authority can't be made, taken up or used. `role` is `root` or `issuer`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate's text is no PEM of one certificate.
    #[error("{role} certificate: expected one certificate in PEM, found {found}")]
    Pem {
        /// Whose.
        role: String,
        /// What the text holds.
        found: String,
    },
    /// A certificate's bytes are none.
    #[error("{role} certificate: {source}")]
    Certificate {
        /// Whose.
        role: String,
        /// What was wrong.
        source: Malformed,
    },
    /// A key's text is no private key that can sign.
    #[error("{role} key: expected a private key in PEM, found text that isn't one")]
    Key {
        /// Whose.
        role: String,
    },
    /// Key and certificate don't belong together.
    #[error("{role} key: expected the private key of the {role} certificate, found another one")]
    KeyMismatch {
        /// Whose.
        role: String,
    },
    /// The certificate may not sign others (RFC 5280: basicConstraints and keyCertSign).
    #[error("{role} certificate: expected one that may sign others, found one that may not")]
    NoAuthority {
        /// Whose.
        role: String,
    },
    /// The certificate isn't signed by the root.
    #[error("{role} certificate: expected the signature of the root, found one of {issuer:?} that doesn't verify")]
    Unsigned {
        /// Whose.
        role: String,
        /// Who is said to have signed it.
        issuer: String,
    },
    /// The certificate has expired.
    #[error("{role} certificate: expected one that still holds, found one that expired at {not_after}")]
    Expired {
        /// Whose.
        role: String,
        /// When, RFC 3339.
        not_after: String,
    },
    /// The certificate doesn't hold yet: a clock is wrong.
    #[error("{role} certificate: expected one that holds by now, found one that holds from {not_before}")]
    NotYetValid {
        /// Whose.
        role: String,
        /// From when on, RFC 3339.
        not_before: String,
    },
    /// Peers would refuse what the issuer signs.
    #[error("issuer certificate: expected one whose leaves peers accept, found that they refuse them: {found}")]
    Unaccepted {
        /// Why they would.
        found: String,
    },
    /// The identity belongs to another mesh.
    #[error("expected an identity of trust domain {expected}, found {found}")]
    TrustDomain {
        /// The authority's own.
        expected: TrustDomain,
        /// The identity to be certified.
        found: SpiffeId,
    },
    /// The lifetime is below what a certificate can express.
    #[error("expected a lifetime of at least 1 s, found {0:?}")]
    Lifetime(Duration),
    /// The clock or the lifetime reaches beyond the years 1970 to 9999.
    #[error("expected dates between 1970 and 9999, found {now:?} and a lifetime of {lifetime:?}")]
    Date {
        /// The time given.
        now: SystemTime,
        /// The lifetime given.
        lifetime: Duration,
    },
    /// The certificate signing request is refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The cryptographic library failed, or there is no randomness.
    #[error("expected to sign a certificate, found {0}")]
    Signing(String),
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Signing(error.to_string())
    }
}
