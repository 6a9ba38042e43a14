//! `when[]`: an attribute and its values.

use weft_mesh::record::{Cidr, Matches, ServiceAccountRef};

use super::values::{self, block, matches, port_text, principal, service_account, text, trust_domain};
use crate::nearest::nearest;
use crate::notes::{Fields, Notes, Spot};
use crate::problem::quoted;
use crate::yaml::Value;

/// One condition, with values of its attribute's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `request.headers[NAME]`; the name in lower case.
    Header(String, Matches<String>),
    /// `source.ip`.
    SourceIp(Matches<Cidr>),
    /// `remote.ip`.
    RemoteIp(Matches<Cidr>),
    /// `source.namespace`.
    SourceNamespace(Matches<String>),
    /// `source.serviceAccount`.
    SourceServiceAccount(Matches<ServiceAccountRef>),
    /// `source.trustDomain`.
    SourceTrustDomain(Matches<String>),
    /// `source.principal`.
    SourcePrincipal(Matches<String>),
    /// `request.auth.*`: the whole key, such as `request.auth.claims[iss]`.
    RequestAuth(String, Matches<String>),
    /// `destination.ip`.
    DestinationIp(Matches<Cidr>),
    /// `destination.port`.
    DestinationPort(Matches<u16>),
    /// `connection.sni`.
    Sni(Matches<String>),
    /// `experimental.envoy.filters.*`: the whole key.
    EnvoyFilter(String, Matches<String>),
}

/// Reads an item of `when`; `None` when it isn't understood.
pub(super) fn read(item: &Spot<'_>, namespace: Option<&str>, notes: &mut Notes<'_>) -> Option<Condition> {
    let (fields, defect) = notes.watched(|notes| item.fields(&["key", "values", "notValues"], notes));
    let fields = fields?;
    let Some(spot) = fields.field("key") else {
        notes.error(item.node.at, &format!("{}.key", item.path), "expected an attribute, found none".to_owned());
        return None;
    };
    let key = spot.filled(notes)?;
    let written = |name| fields.field(name).is_some_and(|spot| spot.node.value != Value::List(Vec::new()));
    if !written("values") && !written("notValues") {
        if defect.is_none() {
            let message = "expected values or notValues with at least one value, found none".to_owned();
            notes.error(item.node.at, &item.path, message);
        }
        return None;
    }
    let (condition, defect) = notes.watched(|notes| {
        let condition = typed(key, namespace, &fields, notes);
        if condition.is_none() {
            let known = nearest(key, KEYS).unwrap_or_default();
            let message = format!("expected a known attribute (the nearest is {known}), found {}", quoted(key));
            notes.error(spot.node.at, &spot.path, message);
        }
        condition
    });
    condition.filter(|_| defect.is_none())
}

/// The condition about the attribute `key`; `None` when there is no such attribute.
fn typed(key: &str, namespace: Option<&str>, fields: &Fields<'_>, notes: &mut Notes<'_>) -> Option<Condition> {
    const TWINS: (&str, &str) = ("values", "notValues");
    let account = |spot: &Spot<'_>, notes: &mut Notes<'_>| service_account(spot, namespace, notes);
    Some(match key {
        "source.ip" => Condition::SourceIp(matches(fields, TWINS, notes, block)),
        "remote.ip" => Condition::RemoteIp(matches(fields, TWINS, notes, block)),
        "source.namespace" => Condition::SourceNamespace(matches(fields, TWINS, notes, values::namespace)),
        "source.serviceAccount" => Condition::SourceServiceAccount(matches(fields, TWINS, notes, account)),
        "source.trustDomain" => Condition::SourceTrustDomain(matches(fields, TWINS, notes, trust_domain)),
        "source.principal" => Condition::SourcePrincipal(matches(fields, TWINS, notes, principal)),
        "destination.ip" => Condition::DestinationIp(matches(fields, TWINS, notes, block)),
        "destination.port" => Condition::DestinationPort(matches(fields, TWINS, notes, port_text)),
        "connection.sni" => Condition::Sni(matches(fields, TWINS, notes, text)),
        "request.auth.principal" | "request.auth.audiences" | "request.auth.presenter" => {
            Condition::RequestAuth(key.to_owned(), matches(fields, TWINS, notes, text))
        }
        _ => return named(key, fields, notes),
    })
}

/// The condition about an attribute whose key holds a name of the user's own.
fn named(key: &str, fields: &Fields<'_>, notes: &mut Notes<'_>) -> Option<Condition> {
    let condition: fn(&str, Matches<String>) -> Condition = if bracketed(key, "request.headers").is_some() {
        |key, values| Condition::Header(bracketed(key, "request.headers").unwrap_or(key).to_ascii_lowercase(), values)
    } else if bracketed(key, "request.auth.claims").is_some() {
        |key, values| Condition::RequestAuth(key.to_owned(), values)
    } else if key.starts_with("experimental.envoy.filters.") {
        |key, values| Condition::EnvoyFilter(key.to_owned(), values)
    } else {
        return None;
    };
    Some(condition(key, matches(fields, ("values", "notValues"), notes, text)))
}

/// What stands in the brackets of `attribute[…]`, if it is not empty.
fn bracketed<'k>(key: &'k str, attribute: &str) -> Option<&'k str> {
    key.strip_prefix(attribute)?.strip_prefix('[')?.strip_suffix(']').filter(|name| !name.is_empty())
}

const KEYS: &[&str] = &[
    "request.headers[NAME]",
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims[NAME]",
    "destination.ip",
    "destination.port",
    "connection.sni",
];
