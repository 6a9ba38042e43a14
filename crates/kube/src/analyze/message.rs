//! One finding, and the codes that there are.

use serde::Serialize;
use weft_resources::Severity;

use super::Object;

/// What a finding is about. Numbers and names are Istio's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each says itself in `describe`")]
pub enum Code {
    ReferencedResourceNotFound,
    NamespaceNotInjected,
    PodMissingProxy,
    SchemaValidationError,
    MisplacedAnnotation,
    UnknownAnnotation,
    DeploymentAssociatedToMultipleServices,
    PortNameIsNotUnderNamingConvention,
    NamespaceMultipleInjectionLabels,
    InvalidAnnotation,
    NoMatchingWorkloadsFound,
    SchemaWarning,
    DeploymentConflictingPorts,
    InvalidApplicationUid,
    ImageAutoWithoutInjectionWarning,
    ImageAutoWithoutInjectionError,
    PodsIstioProxyImageMismatchInNamespace,
    IneffectiveSelector,
    IneffectivePolicy,
    NegativeConditionStatus,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::ReferencedResourceNotFound,
        Self::NamespaceNotInjected,
        Self::PodMissingProxy,
        Self::SchemaValidationError,
        Self::MisplacedAnnotation,
        Self::UnknownAnnotation,
        Self::DeploymentAssociatedToMultipleServices,
        Self::PortNameIsNotUnderNamingConvention,
        Self::NamespaceMultipleInjectionLabels,
        Self::InvalidAnnotation,
        Self::NoMatchingWorkloadsFound,
        Self::SchemaWarning,
        Self::DeploymentConflictingPorts,
        Self::InvalidApplicationUid,
        Self::ImageAutoWithoutInjectionWarning,
        Self::ImageAutoWithoutInjectionError,
        Self::PodsIstioProxyImageMismatchInNamespace,
        Self::IneffectiveSelector,
        Self::IneffectivePolicy,
        Self::NegativeConditionStatus,
    ];

    /// Istio's number, its name for it, and how bad it is.
    pub fn describe(self) -> (&'static str, &'static str, Severity) {
        match self {
            Self::ReferencedResourceNotFound => ("IST0101", "ReferencedResourceNotFound", Severity::Error),
            Self::NamespaceNotInjected => ("IST0102", "NamespaceNotInjected", Severity::Info),
            Self::PodMissingProxy => ("IST0103", "PodMissingProxy", Severity::Warning),
            Self::SchemaValidationError => ("IST0106", "SchemaValidationError", Severity::Error),
            Self::MisplacedAnnotation => ("IST0107", "MisplacedAnnotation", Severity::Warning),
            Self::UnknownAnnotation => ("IST0108", "UnknownAnnotation", Severity::Warning),
            Self::DeploymentAssociatedToMultipleServices => {
                ("IST0116", "DeploymentAssociatedToMultipleServices", Severity::Warning)
            }
            Self::PortNameIsNotUnderNamingConvention => {
                ("IST0118", "PortNameIsNotUnderNamingConvention", Severity::Info)
            }
            Self::NamespaceMultipleInjectionLabels => {
                ("IST0123", "NamespaceMultipleInjectionLabels", Severity::Warning)
            }
            Self::InvalidAnnotation => ("IST0125", "InvalidAnnotation", Severity::Warning),
            Self::NoMatchingWorkloadsFound => ("IST0127", "NoMatchingWorkloadsFound", Severity::Warning),
            Self::SchemaWarning => ("IST0133", "SchemaWarning", Severity::Warning),
            Self::DeploymentConflictingPorts => ("IST0137", "DeploymentConflictingPorts", Severity::Warning),
            Self::InvalidApplicationUid => ("IST0144", "InvalidApplicationUID", Severity::Warning),
            Self::ImageAutoWithoutInjectionWarning => {
                ("IST0146", "ImageAutoWithoutInjectionWarning", Severity::Warning)
            }
            Self::ImageAutoWithoutInjectionError => ("IST0147", "ImageAutoWithoutInjectionError", Severity::Error),
            Self::PodsIstioProxyImageMismatchInNamespace => {
                ("IST0158", "PodsIstioProxyImageMismatchInNamespace", Severity::Warning)
            }
            Self::IneffectiveSelector => ("IST0166", "IneffectiveSelector", Severity::Warning),
            Self::IneffectivePolicy => ("IST0167", "IneffectivePolicy", Severity::Warning),
            Self::NegativeConditionStatus => ("IST0171", "NegativeConditionStatus", Severity::Warning),
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What it is about.
    #[serde(serialize_with = "number")]
    pub code: Code,
    /// How bad it is.
    #[serde(serialize_with = "level")]
    pub level: Severity,
    /// Which object: `KIND NAME.NAMESPACE`.
    pub origin: String,
    /// The file and line; empty for the cluster's.
    pub reference: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Message {
    pub(super) fn new(code: Code, object: &Object, message: impl Into<String>) -> Self {
        Self {
            code,
            level: code.describe().2,
            origin: object.title(),
            reference: object.reference.clone(),
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.reference.is_empty() { String::new() } else { format!(" {}", self.reference) };
        let (number, ..) = self.code.describe();
        write!(f, "{} [{number}] ({}{place}) {}", capital(self.level), self.origin, self.message)
    }
}

fn capital(level: Severity) -> &'static str {
    match level {
        Severity::Info => "Info",
        Severity::Warning => "Warning",
        Severity::Error => "Error",
    }
}

fn number<S: serde::Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.describe().0)
}

fn level<S: serde::Serializer>(level: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(capital(*level))
}
