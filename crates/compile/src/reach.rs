//! Which workloads a policy is about: namespace and labels.

use std::collections::BTreeMap;
use std::fmt;

use weft_mesh::record::Origin;
use weft_resources::{Meta, ResourceRef, Selector, UNKNOWN};

/// The workloads that a policy governs, or may govern when it isn't understood.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reach {
    /// `None`: every namespace.
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
}

impl Reach {
    /// A policy without a known namespace may be anywhere; without a known selector, about anyone.
    pub(crate) fn new(namespace: Option<&str>, selector: Option<&Selector>) -> Self {
        Self { namespace: namespace.map(str::to_owned), selector: selector.cloned().unwrap_or_default() }
    }

    pub(crate) fn includes(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace) && self.selector.selects(labels)
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.selector.is_empty() { "every workload" } else { "workloads with " })?;
        let labels: Vec<String> = self.selector.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        f.write_str(&labels.join(","))?;
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => f.write_str(" of the mesh"),
        }
    }
}

/// Where a resource stands, for verdicts.
pub(crate) fn origin(meta: &Meta) -> Origin {
    let part = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    Origin { namespace: part(&meta.namespace), name: part(&meta.name), file: meta.file.clone(), line: meta.line }
}

/// What a resource is called, for problems.
pub(crate) fn reference(kind: &str, meta: &Meta) -> ResourceRef {
    ResourceRef { kind: kind.to_owned(), namespace: meta.namespace.clone(), name: meta.name.clone() }
}
