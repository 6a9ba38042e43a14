//! The codec of values that policies match, and of their `not…` twins.
//!
//! Values that restrict nothing are not written at all; a message that is absent restricts nothing.

use weft_mesh::record::{Cidr, Claim, Matches, PathPattern, Pattern, ServiceAccountRef};

use super::RecordError;
use super::field::{Read, address, bytes, list, port, required};
use crate::proto::weft::v1 as proto;
use crate::proto::weft::v1::{path_pattern, pattern};

pub(super) fn write_patterns(matches: &Matches<Pattern>) -> Option<proto::Patterns> {
    write(matches, write_pattern).map(|(any, not)| proto::Patterns { any, not })
}

pub(super) fn read_patterns(field: &str, message: Option<proto::Patterns>) -> Read<Matches<Pattern>> {
    let proto::Patterns { any, not } = message.unwrap_or_default();
    read(field, any, not, read_pattern)
}

pub(super) fn write_paths(matches: &Matches<PathPattern>) -> Option<proto::Paths> {
    write(matches, write_path).map(|(any, not)| proto::Paths { any, not })
}

pub(super) fn read_paths(field: &str, message: Option<proto::Paths>) -> Read<Matches<PathPattern>> {
    let proto::Paths { any, not } = message.unwrap_or_default();
    read(field, any, not, read_path)
}

pub(super) fn write_claims(matches: &Matches<Claim>) -> Option<proto::Claims> {
    write(matches, write_claim).map(|(any, not)| proto::Claims { any, not })
}

pub(super) fn read_claims(field: &str, message: Option<proto::Claims>) -> Read<Matches<Claim>> {
    let proto::Claims { any, not } = message.unwrap_or_default();
    read(field, any, not, read_claim)
}

pub(super) fn write_accounts(matches: &Matches<ServiceAccountRef>) -> Option<proto::ServiceAccounts> {
    write(matches, write_account).map(|(any, not)| proto::ServiceAccounts { any, not })
}

pub(super) fn read_accounts(field: &str, message: Option<proto::ServiceAccounts>) -> Read<Matches<ServiceAccountRef>> {
    let proto::ServiceAccounts { any, not } = message.unwrap_or_default();
    read(field, any, not, read_account)
}

pub(super) fn write_blocks(matches: &Matches<Cidr>) -> Option<proto::Blocks> {
    write(matches, write_block).map(|(any, not)| proto::Blocks { any, not })
}

pub(super) fn read_blocks(field: &str, message: Option<proto::Blocks>) -> Read<Matches<Cidr>> {
    let proto::Blocks { any, not } = message.unwrap_or_default();
    read(field, any, not, read_block)
}

pub(super) fn write_ports(matches: &Matches<u16>) -> Option<proto::Ports> {
    write(matches, |&port| port.into()).map(|(any, not)| proto::Ports { any, not })
}

pub(super) fn read_ports(field: &str, message: Option<proto::Ports>) -> Read<Matches<u16>> {
    let proto::Ports { any, not } = message.unwrap_or_default();
    read(field, any, not, |number| port("", number))
}

fn write<T, M>(matches: &Matches<T>, item: impl Fn(&T) -> M) -> Option<(Vec<M>, Vec<M>)> {
    let each = |items: &[T]| items.iter().map(&item).collect();
    (!matches.is_empty()).then(|| (each(&matches.any), each(&matches.not)))
}

fn read<T, M>(field: &str, any: Vec<M>, not: Vec<M>, item: impl Fn(M) -> Read<T>) -> Read<Matches<T>> {
    let inside = |error: RecordError| error.within(field);
    Ok(Matches { any: list("any", any, &item).map_err(inside)?, not: list("not", not, &item).map_err(inside)? })
}

fn write_pattern(pattern: &Pattern) -> proto::Pattern {
    let kind = match pattern {
        Pattern::Exact(text) => pattern::Kind::Exact(text.clone()),
        Pattern::Prefix(text) => pattern::Kind::Prefix(text.clone()),
        Pattern::Suffix(text) => pattern::Kind::Suffix(text.clone()),
        Pattern::Present => pattern::Kind::Present(true),
    };
    proto::Pattern { kind: Some(kind) }
}

fn read_pattern(message: proto::Pattern) -> Read<Pattern> {
    match message.kind {
        Some(pattern::Kind::Exact(text)) => Ok(Pattern::Exact(text)),
        Some(pattern::Kind::Prefix(text)) => Ok(Pattern::Prefix(text)),
        Some(pattern::Kind::Suffix(text)) => Ok(Pattern::Suffix(text)),
        Some(pattern::Kind::Present(true)) => Ok(Pattern::Present),
        Some(pattern::Kind::Present(false)) => Err(RecordError::field("present", "true", false)),
        None => Err(RecordError::field("", "a kind of pattern that is known here", "none")),
    }
}

fn write_path(path: &PathPattern) -> proto::PathPattern {
    let kind = match path {
        PathPattern::Text(pattern) => path_pattern::Kind::Text(write_pattern(pattern)),
        PathPattern::Template(template) => path_pattern::Kind::Template(template.clone()),
    };
    proto::PathPattern { kind: Some(kind) }
}

fn read_path(message: proto::PathPattern) -> Read<PathPattern> {
    match message.kind {
        Some(path_pattern::Kind::Text(pattern)) => {
            read_pattern(pattern).map(PathPattern::Text).map_err(|error| error.within("text"))
        }
        Some(path_pattern::Kind::Template(template)) => Ok(PathPattern::Template(template)),
        None => Err(RecordError::field("", "a kind of path that is known here", "none")),
    }
}

fn write_claim(claim: &Claim) -> proto::Claim {
    proto::Claim { issuer: Some(write_pattern(&claim.issuer)), subject: Some(write_pattern(&claim.subject)) }
}

fn read_claim(message: proto::Claim) -> Read<Claim> {
    Ok(Claim {
        issuer: read_pattern(required("issuer", message.issuer)?).map_err(|error| error.within("issuer"))?,
        subject: read_pattern(required("subject", message.subject)?).map_err(|error| error.within("subject"))?,
    })
}

fn write_account(account: &ServiceAccountRef) -> proto::ServiceAccount {
    proto::ServiceAccount { namespace: account.namespace.clone(), name: account.name.clone() }
}

fn read_account(message: proto::ServiceAccount) -> Read<ServiceAccountRef> {
    Ok(ServiceAccountRef { namespace: message.namespace, name: message.name })
}

pub(super) fn write_block(block: &Cidr) -> proto::Block {
    proto::Block { address: bytes(block.address()), bits: block.bits().into() }
}

pub(super) fn read_block(message: proto::Block) -> Read<Cidr> {
    let address = address("address", &message.address)?;
    let block = u8::try_from(message.bits).ok().and_then(|bits| Cidr::new(address, bits));
    block.ok_or_else(|| RecordError::field("bits", "a prefix no longer than its address", message.bits))
}
