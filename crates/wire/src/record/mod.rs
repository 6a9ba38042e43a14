//! The codec of records: from `weft_mesh::record` to the messages that travel, and back.
//!
//! Reading is strict. What a reader doesn't understand (an enum's value, an address of 5 bytes, an
//! empty choice) refuses the whole record, with the field's path: it is never read as "open".

mod destination;
mod field;
mod inbound;
mod matches;
mod policy;
mod trust;

use prost::Message;
use weft_mesh::record::{Destination, Inbound, Trust};

use crate::proto::weft::v1 as proto;

/// The xDS type of [`Inbound`] records.
pub const INBOUND_TYPE: &str = "type.googleapis.com/weft.v1.Inbound";
/// The xDS type of [`Destination`] records.
pub const DESTINATION_TYPE: &str = "type.googleapis.com/weft.v1.Destination";
/// The xDS type of [`Trust`] records.
pub const TRUST_TYPE: &str = "type.googleapis.com/weft.v1.Trust";
/// The name of the one [`Trust`] record.
pub const TRUST_NAME: &str = "trust";

/// Any record, as the transport carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A workload's inbound record.
    Inbound(Inbound),
    /// A service as its callers see it.
    Destination(Destination),
    /// The trust bundle.
    Trust(Trust),
}

/// Why bytes or a message are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A field holds what can't be understood. Its path is like `policies[2].rules[0].to[1].ports`.
    #[error("{field}: expected {expected}, found {found}")]
    Field {
        /// The field's path.
        field: String,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// The bytes are no message at all.
    #[error("expected a message of weft.v1, found bytes that are none: {0}")]
    Bytes(#[from] prost::DecodeError),
    /// The type isn't one of the three.
    #[error("expected the type of a record, found {0:?}")]
    Type(String),
}

impl Record {
    /// Reads the record of type `type_url` that `bytes` encode.
    ///
    /// # Errors
    /// [`RecordError`] when the type isn't known or any part isn't understood.
    pub fn decode(type_url: &str, bytes: &[u8]) -> Result<Self, RecordError> {
        match type_url {
            INBOUND_TYPE => Ok(Self::Inbound(proto::Inbound::decode(bytes)?.try_into()?)),
            DESTINATION_TYPE => Ok(Self::Destination(proto::Destination::decode(bytes)?.try_into()?)),
            TRUST_TYPE => Ok(Self::Trust(proto::Trust::decode(bytes)?.try_into()?)),
            other => Err(RecordError::Type(other.to_owned())),
        }
    }

    /// The record's bytes; equal records have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Inbound(inbound) => proto::Inbound::from(inbound).encode_to_vec(),
            Self::Destination(destination) => proto::Destination::from(destination).encode_to_vec(),
            Self::Trust(trust) => proto::Trust::from(trust).encode_to_vec(),
        }
    }

    /// The record's xDS type.
    pub fn type_url(&self) -> &'static str {
        match self {
            Self::Inbound(_) => INBOUND_TYPE,
            Self::Destination(_) => DESTINATION_TYPE,
            Self::Trust(_) => TRUST_TYPE,
        }
    }

    /// The record's name among those of its type.
    pub fn name(&self) -> &str {
        match self {
            Self::Inbound(inbound) => inbound.workload.as_str(),
            Self::Destination(destination) => &destination.host,
            Self::Trust(_) => TRUST_NAME,
        }
    }

    /// The other names by which it can be asked for: each address of a destination, as text, sorted,
    /// each once.
    pub fn aliases(&self) -> Vec<String> {
        let Self::Destination(destination) = self else { return Vec::new() };
        let mut aliases: Vec<String> = destination.addresses.iter().map(|ip| ip.to_canonical().to_string()).collect();
        aliases.sort_unstable();
        aliases.dedup();
        aliases
    }
}

#[cfg(test)]
mod tests;
