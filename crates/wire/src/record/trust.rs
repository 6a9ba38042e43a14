//! The trust bundle's codec.

use weft_mesh::record::Trust;

use super::RecordError;
use super::field::{list, name};
use super::matches::{read_block, write_block};
use crate::proto::weft::v1 as proto;

impl From<&Trust> for proto::Trust {
    fn from(trust: &Trust) -> Self {
        let networks = trust.networks.iter().map(write_block).collect();
        Self { domain: trust.domain.to_string(), anchors: trust.anchors.clone(), networks }
    }
}

impl TryFrom<proto::Trust> for Trust {
    type Error = RecordError;

    fn try_from(message: proto::Trust) -> Result<Self, RecordError> {
        if message.anchors.is_empty() {
            return Err(RecordError::field("anchors", "at least one root certificate", "none"));
        }
        let anchors = list("anchors", message.anchors, |der| match der.is_empty() {
            true => Err(RecordError::field("", "a root certificate", "nothing")),
            false => Ok(der),
        })?;
        let networks = list("networks", message.networks, read_block)?;
        Ok(Self { domain: name("domain", "a trust domain", &message.domain)?, anchors, networks })
    }
}
