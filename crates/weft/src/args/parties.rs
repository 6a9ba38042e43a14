//! Who calls whom, in a question about policies.

use std::fmt;

use weft_mesh::{SpiffeId, WorkloadId};

use super::Target;
use super::resource::Resources;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Whoever proves this identity.
    Identity(SpiffeId),
    /// Who has this service account.
    Account { namespace: String, name: String },
    /// A pod, or the pods of a resource.
    Resource(Resources),
}

/// Who is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Callee {
    /// A workload by its labels.
    Target(Target),
    /// A pod, or the pods of a resource.
    Resource(Resources),
}

/// Reads an identity, `KIND/NAME`, or `NAMESPACE/ACCOUNT`.
pub(crate) fn caller(text: &str) -> Result<Caller, String> {
    let wrong = match SpiffeId::parse_lenient(text) {
        Ok(identity) => return Ok(Caller::Identity(identity)),
        Err(wrong) => wrong.to_string(),
    };
    if let Some(resources) = one(text)? {
        return Ok(Caller::Resource(resources));
    }
    // A workload's names are bound as an account's are.
    match text.parse::<WorkloadId>() {
        Ok(account) => {
            let (namespace, name) = (account.namespace().to_owned(), account.name().to_owned());
            Ok(Caller::Account { namespace, name })
        }
        Err(_) => Err(wrong),
    }
}

/// Reads `KIND/NAME`, `NAMESPACE/NAME` or `NAMESPACE/KEY=VALUE,…`.
pub(crate) fn callee(text: &str) -> Result<Callee, String> {
    match one(text)? {
        Some(resources) => Ok(Callee::Resource(resources)),
        None => text.parse().map(Callee::Target),
    }
}

fn one(text: &str) -> Result<Option<Resources>, String> {
    if !text.contains('/') {
        return Ok(None);
    }
    match Resources::of(&[text.to_owned()])? {
        Some(resources) if resources.is_of_namespaces() => {
            Err(format!("expected a pod or what made it, found {text:?}"))
        }
        found => Ok(found),
    }
}

impl fmt::Display for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => target.fmt(f),
            Self::Resource(resources) => resources.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_read() {
        assert!(matches!(caller("cluster.local/ns/shop/sa/web"), Ok(Caller::Identity(_))));
        assert!(matches!(caller("spiffe://cluster.local/ns/shop/sa/web"), Ok(Caller::Identity(_))));
        assert!(matches!(caller("deploy/web"), Ok(Caller::Resource(_))));
        assert_eq!(caller("shop/web"), Ok(Caller::Account { namespace: "shop".to_owned(), name: "web".to_owned() }));
        for wrong in ["web", "", "ns/shop", "a/b/c", "po/", "shop/"] {
            assert!(caller(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn callees_are_read() {
        assert!(matches!(callee("po/web-0"), Ok(Callee::Resource(_))));
        assert!(matches!(callee("shop/web"), Ok(Callee::Target(_))));
        assert!(matches!(callee("shop/app=web"), Ok(Callee::Target(_))));
        assert!(callee("web").is_err() && callee("ns/shop").is_err());
    }
}
