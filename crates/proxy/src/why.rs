//! Why a connection or request wasn't served, in the words of access log, metrics and tracing. A failure is
//! named where it happens; nothing is guessed from error texts afterwards.

use std::fmt;

use http::StatusCode;

use crate::metrics::NO_FLAG;

/// A connection that failed: on which hop, why, and what a human should know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{hop}: {cause}: {detail}")]
pub struct Failure {
    /// Who gave up.
    pub hop: Hop,
    /// Why.
    pub cause: Cause,
    /// Names, addresses and the system's own words.
    pub detail: String,
}

impl Failure {
    /// A failure seen by the caller's proxy.
    pub fn outbound(cause: Cause, detail: impl Into<String>) -> Self {
        Self { hop: Hop::CallerProxy, cause, detail: detail.into() }
    }

    /// A failure seen by the callee's proxy.
    pub fn inbound(cause: Cause, detail: impl Into<String>) -> Self {
        Self { hop: Hop::CalleeProxy, cause, detail: detail.into() }
    }

    /// What the caller learns, in `weft-error`. Of policy no more than the word.
    pub(crate) fn told(&self) -> String {
        match self.cause {
            Cause::Policy | Cause::PolicyChanged => Cause::Policy.to_string(),
            cause => format!("{cause}{TOLD}{}{TOLD}{}", self.hop, self.detail),
        }
    }

    /// The detail within what another proxy has [`told`](Self::told).
    pub(crate) fn detail_told(text: &str) -> &str {
        text.splitn(3, TOLD).nth(2).unwrap_or(text)
    }
}

/// Between the parts of what a caller is told.
const TOLD: &str = "; ";

/// Who closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hop {
    /// The calling program.
    Caller,
    /// The proxy beside the calling program.
    CallerProxy,
    /// The proxy beside the called program.
    CalleeProxy,
    /// The called program.
    Callee,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::CallerProxy => "caller's proxy",
            Self::CalleeProxy => "callee's proxy",
            Self::Callee => "callee",
        })
    }
}

/// Why a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The record or certificate that decides didn't come in time.
    Unjudged,
    /// An address of the mesh that nobody has.
    UnknownAddress,
    /// The service doesn't have this port.
    UnknownPort,
    /// The service has no endpoint.
    NoEndpoint,
    /// Datagrams aren't carried there.
    Datagram,
    /// Connecting failed.
    Connect,
    /// TLS failed for another reason than the peer's identity.
    Tls,
    /// The peer isn't who it should be.
    Identity,
    /// Peer authentication or an authorization policy refused.
    Policy,
    /// A policy that came later refused a connection that was open.
    PolicyChanged,
    /// A head, or what follows it, isn't the mesh protocol; a program doesn't speak what it should.
    Protocol,
    /// A bound of a proxy's is reached.
    Limit,
    /// The proxy ends.
    Draining,
    /// An open connection broke.
    Reset,
    /// One end broke after the other had ended, which harms nobody: what it left unread, such as the last words of
    /// TLS, was said by one who had gone.
    LateReset,
    /// A connection that was used again broke before an answer came; the request may have been
    /// processed.
    IdleRace,
    /// A caller's message that can be read in more than one way, or in none.
    BadRequest,
    /// A callee's message, likewise.
    BadResponse,
}

impl Cause {
    /// The value of the label `response_flags`: Istio's where it has one.
    pub fn flag(self) -> &'static str {
        match self {
            Self::UnknownAddress | Self::UnknownPort | Self::Datagram => "NR",
            Self::NoEndpoint => "UH",
            Self::Connect | Self::Tls => "UF",
            Self::Identity => "CERT",
            Self::Policy | Self::PolicyChanged => "DENY",
            Self::Protocol => "DPE",
            Self::Limit => "UO",
            Self::Unjudged | Self::Draining => "LR",
            Self::Reset | Self::IdleRace => "UC",
            Self::LateReset => NO_FLAG,
            Self::BadRequest => "DPE",
            Self::BadResponse => "UPE",
        }
    }

    /// The status that tells it to a caller that speaks HTTP. Nothing was delivered where it is 503.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Policy | Self::PolicyChanged => StatusCode::FORBIDDEN,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Reset | Self::LateReset | Self::IdleRace | Self::BadResponse | Self::Protocol => {
                StatusCode::BAD_GATEWAY
            }
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word in logs and in `weft-error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unjudged => "unjudged",
            Self::UnknownAddress => "unknown-address",
            Self::UnknownPort => "unknown-port",
            Self::NoEndpoint => "no-endpoint",
            Self::Datagram => "udp",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Identity => "identity",
            Self::Policy => "policy",
            Self::PolicyChanged => "policy-changed",
            Self::Protocol => "protocol",
            Self::Limit => "limit",
            Self::Draining => "draining",
            Self::Reset => "reset",
            Self::LateReset => "late-reset",
            Self::IdleRace => "idle-race",
            Self::BadRequest => "bad-request",
            Self::BadResponse => "bad-response",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
