//! `from[].source`: who calls.

use weft_mesh::record::{Cidr, Matches, ServiceAccountRef};

use super::values::{self, block, matches, principal, service_account, text, trust_domain};
use crate::notes::{Fields, Notes, Spot};

/// Who calls; every field that is written must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// `principals`: SPIFFE IDs without the scheme.
    pub principals: Matches<String>,
    /// `requestPrincipals`: `issuer/subject` of a token.
    pub request_principals: Matches<String>,
    /// `namespaces` of the callers' identities.
    pub namespaces: Matches<String>,
    /// `ipBlocks`: peers' addresses.
    pub ip_blocks: Matches<Cidr>,
    /// `remoteIpBlocks`: addresses that `X-Forwarded-For` vouches for.
    pub remote_ip_blocks: Matches<Cidr>,
    /// `serviceAccounts`, with the policy's namespace where none is written.
    pub service_accounts: Matches<ServiceAccountRef>,
    /// `trustDomains` of the callers' identities.
    pub trust_domains: Matches<String>,
}

/// Reads an item of `from`. What isn't understood restricts nothing.
pub(super) fn read(item: &Spot<'_>, namespace: Option<&str>, notes: &mut Notes<'_>) -> Source {
    let Some(spot) = item.only_child("source", FIELDS, notes) else { return Source::default() };
    let (read, defect) = notes.watched(|notes| {
        let fields = spot.fields(FIELDS, notes)?;
        Some((read_fields(&fields, namespace, notes), fields))
    });
    let Some((source, fields)) = read else { return Source::default() };
    if defect.is_none() && source == Source::default() {
        notes.error(spot.node.at, &spot.path, "expected at least one field with values, found none".to_owned());
    }
    check_exclusive(&source, &fields, &spot, notes);
    source
}

fn read_fields(fields: &Fields<'_>, namespace: Option<&str>, notes: &mut Notes<'_>) -> Source {
    Source {
        principals: matches(fields, ("principals", "notPrincipals"), notes, principal),
        request_principals: matches(fields, ("requestPrincipals", "notRequestPrincipals"), notes, text),
        namespaces: matches(fields, ("namespaces", "notNamespaces"), notes, values::namespace),
        ip_blocks: matches(fields, ("ipBlocks", "notIpBlocks"), notes, block),
        remote_ip_blocks: matches(fields, ("remoteIpBlocks", "notRemoteIpBlocks"), notes, block),
        service_accounts: matches(fields, ("serviceAccounts", "notServiceAccounts"), notes, |spot, notes| {
            service_account(spot, namespace, notes)
        }),
        trust_domains: matches(fields, ("trustDomains", "notTrustDomains"), notes, trust_domain),
    }
}

/// Service accounts name whole identities: other ways to do so can't stand beside them.
fn check_exclusive(source: &Source, fields: &Fields<'_>, spot: &Spot<'_>, notes: &mut Notes<'_>) {
    let accounts = &source.service_accounts;
    for (name, list) in [("serviceAccounts", &accounts.any), ("notServiceAccounts", &accounts.not)] {
        if list.len() > MAX_ACCOUNTS {
            let message = format!("expected at most {MAX_ACCOUNTS} service accounts, found {}", list.len());
            notes.error(spot.node.at, &format!("{}.{name}", spot.path), message);
        }
    }
    let others = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    let other = others.iter().find(|name| fields.field(name).is_some());
    if let (Some(other), false) = (other, accounts.is_empty()) {
        let message = format!("expected either service accounts or {other}, found both");
        notes.error(spot.node.at, &spot.path, message);
    }
}

const MAX_ACCOUNTS: usize = 16;

const FIELDS: &[&str] = &[
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
];
