//! Whose inbound records somebody asks about: `<namespace>/<name>`, where the name is the label
//! `app`, its service's, a replica's own or its owner's, or `<namespace>/k=v,…`.

use weft_compile::Workload;
use weft_mesh::record::Inbound;

use super::Mesh;

/// Why nothing can be told of a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It isn't written as a target is.
    #[error("expected NAMESPACE/NAME or NAMESPACE/KEY=VALUE,…, found {0:?}")]
    Form(String),
    /// Nothing that runs is meant.
    #[error("expected a running workload, found none that is {0:?}")]
    Nobody(String),
}

impl Mesh {
    /// The inbound records of all that are meant.
    ///
    /// # Errors
    /// [`TargetError`], also when nothing is meant.
    pub fn inbounds(&self, target: &str) -> Result<Vec<Inbound>, TargetError> {
        let form = || TargetError::Form(target.chars().take(MAX_SHOWN).collect());
        let (namespace, who) = target.split_once('/').ok_or_else(form)?;
        let labels: Option<Vec<(&str, &str)>> = match who.contains('=') {
            true => Some(who.split(',').map(|pair| pair.split_once('=')).collect::<Option<_>>().ok_or_else(form)?),
            false => None,
        };
        let is_meant = |workload: &&Workload| {
            workload.id.namespace() == namespace
                && match &labels {
                    Some(labels) => labels.iter().all(|(key, value)| has_label(workload, key, value)),
                    None => is_called(workload, who),
                }
        };
        let records: Vec<Inbound> =
            self.workloads().filter(is_meant).filter_map(|workload| self.inbound(&workload.id)).collect();
        match records.is_empty() {
            true => Err(TargetError::Nobody(target.chars().take(MAX_SHOWN).collect())),
            false => Ok(records),
        }
    }
}

fn is_called(workload: &Workload, name: &str) -> bool {
    has_label(workload, "app", name)
        || workload.id.name() == name
        || workload.service == name
        || workload.owner.as_ref().is_some_and(|owner| owner.name == name)
}

fn has_label(workload: &Workload, key: &str, value: &str) -> bool {
    workload.labels.get(key).is_some_and(|found| found == value)
}

/// Characters of a target that an error shows.
const MAX_SHOWN: usize = 200;
