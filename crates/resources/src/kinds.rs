//! The kinds that folders of manifests hold, by group: which of them Weft reads, which it knows and
//! passes by. A kind that stands in no list is probably misspelt.

use crate::istio::{SECURITY_GROUP, SECURITY_VERSIONS};
use crate::nearest::{distance, nearest};
use crate::problem::quoted;
use crate::weft::{WEFT_GROUP, WEFT_VERSION};

/// A kind that governs access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PolicyKind {
    AuthorizationPolicy,
    PeerAuthentication,
}

impl PolicyKind {
    pub(crate) const ALL: [Self; 2] = [Self::AuthorizationPolicy, Self::PeerAuthentication];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::PeerAuthentication => "PeerAuthentication",
        }
    }
}

/// What a document is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// A policy.
    Policy(PolicyKind),
    /// Probably a policy, by its kind; the field that is wrong, `kind` or `apiVersion`, and how.
    PolicyInDoubt(PolicyKind, &'static str, String),
    /// Of the policies' group, so perhaps any of them; what is wrong with its kind.
    AnyPolicy(String),
    /// A program to run.
    Workload,
    /// A list of resources, and the kind of those that don't say theirs.
    List(Option<String>),
    /// Nothing for Weft: a note.
    PassedBy(String),
    /// One of Weft's own in a version that nobody knows: an error of its `apiVersion`.
    Unreadable(String),
    /// Probably misspelt: a warning.
    Unknown(String),
}

/// Recognises a pair of `apiVersion` and `kind`.
pub(crate) fn recognise(api_version: &str, kind: &str) -> Recognised {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = kinds_of(group);
    if let Some(policy) = PolicyKind::ALL.into_iter().find(|policy| policy.name() == kind) {
        if group == SECURITY_GROUP && SECURITY_VERSIONS.contains(&version) {
            return Recognised::Policy(policy);
        }
        if !known.is_some_and(|kinds| group != SECURITY_GROUP && kinds.contains(&kind)) {
            let found = if api_version.is_empty() { "none".to_owned() } else { quoted(api_version) };
            let expected = format!("expected {SECURITY_GROUP}/v1 with this kind, found {found}");
            return Recognised::PolicyInDoubt(policy, "apiVersion", expected);
        }
    }
    if let (SECURITY_GROUP, Some(policy)) = (group, misspelt_policy(kind)) {
        let expected = format!("expected a kind of {group} (the nearest is {}), found {}", policy.name(), quoted(kind));
        return Recognised::PolicyInDoubt(policy, "kind", expected);
    }
    if (group, kind) == (WEFT_GROUP, "Workload") {
        return match version == WEFT_VERSION {
            true => Recognised::Workload,
            false => {
                Recognised::Unreadable(format!("expected {WEFT_GROUP}/{WEFT_VERSION}, found {}", quoted(api_version)))
            }
        };
    }
    match known {
        Some(kinds) if kinds.contains(&kind) => Recognised::PassedBy(format!("{kind} is not used by Weft yet")),
        _ if kind.ends_with("List") => {
            let item = kind.trim_end_matches("List");
            Recognised::List((!item.is_empty()).then(|| item.to_owned()))
        }
        Some(kinds) => {
            let near = nearest(kind, kinds).unwrap_or_default();
            let group = if group.is_empty() { "the core group" } else { group };
            let message = format!("expected a kind of {group} (the nearest is {near}), found {}", quoted(kind));
            // None of theirs but a policy may hide behind a word that nobody knows.
            if group == SECURITY_GROUP { Recognised::AnyPolicy(message) } else { Recognised::Unknown(message) }
        }
        None => Recognised::PassedBy(format!("{} of {} is not used by Weft", quoted(kind), quoted(api_version))),
    }
}

/// The policy that was probably meant: in the policies' own group a slip of the pen must not lift one.
fn misspelt_policy(kind: &str) -> Option<PolicyKind> {
    PolicyKind::ALL.into_iter().find(|policy| distance(kind, policy.name()) <= 2)
}

fn kinds_of(group: &str) -> Option<&'static [&'static str]> {
    GROUPS.iter().find(|(name, _)| *name == group).map(|(_, kinds)| *kinds)
}

type Group = (&'static str, &'static [&'static str]);

#[rustfmt::skip]
const GROUPS: &[Group] = &[
    (SECURITY_GROUP, &["PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication"]),
    ("networking.istio.io", &["VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "Sidecar", "WorkloadEntry",
        "WorkloadGroup", "EnvoyFilter", "ProxyConfig"]),
    (WEFT_GROUP, &["Workload"]),
    ("telemetry.istio.io", &["Telemetry"]),
    ("extensions.istio.io", &["WasmPlugin", "TrafficExtension"]),
    ("install.istio.io", &["IstioOperator"]),
    ("policy.linkerd.io", &["Server", "ServerAuthorization", "AuthorizationPolicy", "MeshTLSAuthentication",
        "NetworkAuthentication", "HTTPRoute", "HTTPLocalRateLimitPolicy", "EgressNetwork"]),
    ("linkerd.io", &["ServiceProfile"]),
    ("multicluster.linkerd.io", &["Link"]),
    ("workload.linkerd.io", &["ExternalWorkload"]),
    ("gateway.networking.k8s.io", &["GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute",
        "UDPRoute", "ReferenceGrant", "BackendTLSPolicy", "ListenerSet"]),
    ("", &["Pod", "Service", "Namespace", "ServiceAccount", "ConfigMap", "Secret", "Endpoints", "Node", "Event",
        "PersistentVolume", "PersistentVolumeClaim", "ReplicationController", "LimitRange", "ResourceQuota",
        "PodTemplate", "Binding", "ComponentStatus"]),
    ("apps", &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ControllerRevision"]),
    ("batch", &["Job", "CronJob"]),
    ("autoscaling", &["HorizontalPodAutoscaler", "Scale"]),
    ("policy", &["PodDisruptionBudget", "PodSecurityPolicy", "Eviction"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]),
    ("networking.k8s.io", &["Ingress", "IngressClass", "NetworkPolicy", "ServiceCIDR", "IPAddress"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("storage.k8s.io", &["StorageClass", "VolumeAttachment", "CSIDriver", "CSINode", "CSIStorageCapacity"]),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    ("admissionregistration.k8s.io", &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding"]),
    ("certificates.k8s.io", &["CertificateSigningRequest", "ClusterTrustBundle"]),
    ("coordination.k8s.io", &["Lease"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("kustomize.config.k8s.io", &["Kustomization", "Component"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_recognised_by_group() {
        let policy = Recognised::Policy(PolicyKind::AuthorizationPolicy);
        assert_eq!(recognise("security.istio.io/v1", "AuthorizationPolicy"), policy);
        assert_eq!(recognise("security.istio.io/v1beta1", "AuthorizationPolicy"), policy);
        for (version, kind) in [
            ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"),
            ("v1", "Service"),
            ("apps/v1", "Deployment"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            ("security.istio.io/v1", "RequestAuthentication"),
            ("example.com/v1", "Anything"),
        ] {
            assert!(matches!(recognise(version, kind), Recognised::PassedBy(_)), "{version} {kind}");
        }
        for version in ["security.istio.io/v2", "security.istio.io", "", "v1", "security.istio.oi/v1"] {
            let found = recognise(version, "PeerAuthentication");
            assert!(
                matches!(found, Recognised::PolicyInDoubt(PolicyKind::PeerAuthentication, "apiVersion", _)),
                "{version}"
            );
        }
        for kind in ["AuthorisationPolicy", "authorizationpolicy", "AuthorizationPolicyy"] {
            let found = recognise("security.istio.io/v1", kind);
            assert!(matches!(found, Recognised::PolicyInDoubt(PolicyKind::AuthorizationPolicy, "kind", _)), "{kind}");
        }
        assert_eq!(recognise("v1", "List"), Recognised::List(None));
        let unclear = recognise("security.istio.io/v1", "AuthPolicy");
        assert!(
            matches!(&unclear, Recognised::AnyPolicy(message) if message.contains("nearest is AuthorizationPolicy)"))
        );
        let list = recognise("security.istio.io/v1", "AuthorizationPolicyList");
        assert_eq!(list, Recognised::List(Some("AuthorizationPolicy".into())));
    }

    #[test]
    fn the_nearest_kind_is_named() {
        for (version, kind, near) in [("apps/v1", "Deploymnet", "Deployment"), ("v1", "service", "Service")] {
            let Recognised::Unknown(message) = recognise(version, kind) else { panic!("{kind}") };
            assert!(message.contains(&format!("nearest is {near})")), "{message}");
        }
    }
}
