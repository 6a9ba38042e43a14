//! Linkerd's default inbound policy (`config.linkerd.io/default-inbound-policy`), in the mesh's own
//! words: a policy of its own beside Istio's, so that both must admit a call.

use std::fmt;
use std::str::FromStr;

use weft_mesh::record::{Action, Cidr, Enforcement, Matches, Origin, Pattern, Policy, Rule, Source};

/// Who may call a workload whatever else is said (linkerd-semantics, P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DefaultInbound {
    /// Everybody.
    AllUnauthenticated,
    /// Whoever proves an identity.
    AllAuthenticated,
    /// Whoever calls from an address of the cluster.
    ClusterUnauthenticated,
    /// Whoever proves an identity and calls from an address of the cluster.
    ClusterAuthenticated,
    /// Nobody.
    Deny,
    /// Everybody; each call is marked in the access log.
    Audit,
}

/// The text is no default inbound policy. Whoever wrote it may have meant to close something: the
/// workload is to be treated as [`DefaultInbound::Deny`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected all-unauthenticated, all-authenticated, cluster-unauthenticated, cluster-authenticated, deny or audit, found {0:?}"
)]
pub struct NoDefaultInbound(String);

impl DefaultInbound {
    const ALL: [Self; 6] = [
        Self::AllUnauthenticated,
        Self::AllAuthenticated,
        Self::ClusterUnauthenticated,
        Self::ClusterAuthenticated,
        Self::Deny,
        Self::Audit,
    ];

    /// The value as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllUnauthenticated => "all-unauthenticated",
            Self::AllAuthenticated => "all-authenticated",
            Self::ClusterUnauthenticated => "cluster-unauthenticated",
            Self::ClusterAuthenticated => "cluster-authenticated",
            Self::Deny => "deny",
            Self::Audit => "audit",
        }
    }

    /// The policy that says so for a workload of `namespace`; `None` when everybody may call.
    pub(crate) fn policy(self, namespace: &str, networks: &[Cidr]) -> Option<Policy> {
        let nobody_proved = || Source { principals: none_of(vec![Pattern::Present]), ..Source::default() };
        let elsewhere = || Source { ip_blocks: none_of(networks.to_vec()), ..Source::default() };
        let (action, from) = match self {
            Self::AllUnauthenticated => return None,
            Self::AllAuthenticated => (Action::Deny, vec![nobody_proved()]),
            Self::ClusterUnauthenticated => (Action::Deny, vec![elsewhere()]),
            Self::ClusterAuthenticated => (Action::Deny, vec![nobody_proved(), elsewhere()]),
            // No source at all is every source.
            Self::Deny => (Action::Deny, Vec::new()),
            Self::Audit => (Action::Audit, Vec::new()),
        };
        let name = format!("{ANNOTATION}: {self}");
        Some(Policy {
            origin: Origin { namespace: namespace.to_owned(), name, file: String::new(), line: 0 },
            action,
            enforcement: Enforcement::Enforced,
            rules: vec![Rule { from, ..Rule::default() }],
            defect: None,
        })
    }
}

impl FromStr for DefaultInbound {
    type Err = NoDefaultInbound;

    fn from_str(text: &str) -> Result<Self, NoDefaultInbound> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| NoDefaultInbound(text.to_owned()))
    }
}

impl fmt::Display for DefaultInbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn none_of<T>(values: Vec<T>) -> Matches<T> {
    Matches { any: Vec::new(), not: values }
}

const ANNOTATION: &str = "config.linkerd.io/default-inbound-policy";

#[cfg(test)]
mod tests;
