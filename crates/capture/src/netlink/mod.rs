//! Netlink (RFC 3549, netlink(7)): messages are made and answers read by pure functions; [`socket`]
//! is the one edge.

pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod nft;
pub(crate) mod rules;
pub(crate) mod socket;

pub(crate) use message::Refusal;
