//! A resource of a kind that Weft reads.

use crate::istio::authorization_policy::{AuthorizationPolicy, PolicyAction};
use crate::istio::peer_authentication::PeerAuthentication;
use crate::kinds::PolicyKind;
use crate::meta::Meta;
use crate::problem::{Problem, ResourceRef};
use crate::salvage::Remains;

/// A resource, whole or broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// Who may call what.
    AuthorizationPolicy(AuthorizationPolicy),
    /// Whether callers must prove who they are.
    PeerAuthentication(PeerAuthentication),
}

impl Resource {
    /// Name and place.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::AuthorizationPolicy(policy) => &policy.meta,
            Self::PeerAuthentication(policy) => &policy.meta,
        }
    }

    /// Name and place, to be changed.
    pub fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::AuthorizationPolicy(policy) => &mut policy.meta,
            Self::PeerAuthentication(policy) => &mut policy.meta,
        }
    }

    /// The kind, such as `AuthorizationPolicy`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AuthorizationPolicy(_) => PolicyKind::AuthorizationPolicy.name(),
            Self::PeerAuthentication(_) => PolicyKind::PeerAuthentication.name(),
        }
    }

    /// What the resource is called.
    pub fn reference(&self) -> ResourceRef {
        let Meta { namespace, name, .. } = self.meta().clone();
        ResourceRef { kind: self.kind().to_owned(), namespace, name }
    }

    /// What could not be understood outside of single rules.
    pub fn defect(&self) -> Option<&str> {
        match self {
            Self::AuthorizationPolicy(policy) => policy.defect.as_deref(),
            Self::PeerAuthentication(policy) => policy.defect.as_deref(),
        }
    }

    /// All that could not be understood, of the whole and of single rules, in the words of the problems.
    pub fn defects(&self) -> impl Iterator<Item = &str> {
        let rules = match self {
            Self::AuthorizationPolicy(policy) => policy.rules.as_slice(),
            Self::PeerAuthentication(_) => &[],
        };
        self.defect().into_iter().chain(rules.iter().filter_map(|rule| rule.defect.as_deref()))
    }

    /// What is left of a policy in a text that could not be read, for the reason that `problem` says.
    pub(crate) fn broken(remains: Remains, problem: &Problem) -> Self {
        let meta = Meta {
            namespace: remains.namespace,
            name: remains.name,
            file: problem.file.clone(),
            line: problem.line,
            ..Meta::default()
        };
        let defect = Some(problem.to_string());
        let action = match remains.action.as_deref() {
            Some("ALLOW") => Some(PolicyAction::Allow),
            Some("DENY") => Some(PolicyAction::Deny),
            Some("AUDIT") => Some(PolicyAction::Audit),
            _ => None,
        };
        match remains.kind {
            PolicyKind::AuthorizationPolicy => Self::AuthorizationPolicy(AuthorizationPolicy {
                selector: remains.selector,
                action,
                defect,
                ..AuthorizationPolicy::unread(meta)
            }),
            PolicyKind::PeerAuthentication => Self::PeerAuthentication(PeerAuthentication {
                selector: remains.selector,
                defect,
                ..PeerAuthentication::unread(meta)
            }),
        }
    }
}
