//! `inject` and `uninject` on manifests as text: annotations, or the sidecar itself, are put into pod
//! templates, and taken out, at their places. Everything else, comments and order among it, stays as it was.
//!
//! Pure. Each result is read again and compared with what was meant: a text that can't be edited
//! safely is refused, not guessed at.

mod edit;
mod remove;
mod report;
mod resource;
mod sidecar;
mod space;
mod tree;
mod write;

use serde_json::Value;

use edit::{Change, Plain};
use tree::Node;

use crate::documents::documents;
use crate::inject::Config;

pub use report::{Outcome, Report, Warning};

/// A manifest after the work, and what was done to each resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The text.
    pub text: String,
    /// A report for each resource, in order.
    pub reports: Vec<Report>,
}

/// Why a manifest can't be worked on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is no YAML or JSON.
    #[error("line {line}: expected YAML, found a mistake in it: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// Its form allows no change at one place alone, such as a template behind an alias.
    #[error("line {line}: {what} is written in a form that can't be edited, such as an alias: write it out")]
    Form {
        /// The line, from 1.
        line: usize,
        /// The resource.
        what: String,
    },
    /// What should be a pod template is none.
    #[error("line {line}: {what}: expected a pod template, found {why}")]
    Template {
        /// The line, from 1.
        line: usize,
        /// The resource.
        what: String,
        /// What the reader says.
        why: String,
    },
    /// A pod that can't have a proxy.
    #[error("failed to inject {what}: {reason}")]
    Unfit {
        /// The resource.
        what: String,
        /// Why.
        reason: String,
    },
}

/// Which annotations `inject` writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    /// `linkerd.io/inject: ingress` in place of `enabled`.
    pub ingress: bool,
    /// Settings, such as `config.linkerd.io/skip-inbound-ports`, with their values.
    pub settings: Vec<(String, String)>,
}

/// Asks for a proxy in every pod template of a text with any number of documents.
///
/// # Errors
/// [`ManifestError`], when the text isn't YAML, can't be edited safely, or holds a pod that can't have a proxy.
pub fn inject(text: &str, annotations: &Annotations) -> Result<Edited, ManifestError> {
    work(text, |resource| resource.inject(annotations))
}

/// Writes the sidecar itself into every pod template, as the injector of a cluster would; one that is
/// there already is made anew.
///
/// # Errors
/// As [`inject`].
pub fn render(text: &str, annotations: &Annotations, config: &Config) -> Result<Edited, ManifestError> {
    let bare = work(text, |resource| Ok(resource.strip(text)))?.text;
    work(&bare, |resource| resource.render(&bare, annotations, config))
}

/// The documents of a text as JSON.
///
/// # Errors
/// [`ManifestError::Syntax`].
pub fn values(text: &str) -> Result<Vec<Value>, ManifestError> {
    let read = |(line, document): (usize, &str)| {
        let wrong = |error: serde_saphyr::Error| {
            let message = error.to_string().lines().next().unwrap_or_default().to_owned();
            ManifestError::Syntax { line, message }
        };
        serde_saphyr::from_str::<Value>(document).map_err(wrong)
    };
    let found = documents(text).into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().filter(|value| !value.is_null()).collect())
}

/// Takes out of every pod template what [`inject`], or [`render`], put in. Settings that [`inject`] wrote stay.
///
/// # Errors
/// [`ManifestError`], when the text isn't YAML or can't be edited safely.
pub fn uninject(text: &str) -> Result<Edited, ManifestError> {
    work(text, |resource| Ok(resource.uninject(text)))
}

fn work(
    text: &str,
    plan: impl Fn(&resource::Resource<'_>) -> Result<(Vec<Change>, Report), ManifestError>,
) -> Result<Edited, ManifestError> {
    let documents = tree::read(text)?;
    let (mut changes, mut reports) = (Vec::new(), Vec::new());
    for (number, document) in documents.iter().enumerate() {
        for resource in resource::find(number, document) {
            let (planned, report) = plan(&resource)?;
            let form = || ManifestError::Form { line: tree::line(text, resource.place()), what: report.what() };
            if planned.iter().any(|change| !change.is_possible(&documents)) {
                return Err(form());
            }
            changes.extend(planned);
            reports.push(report);
        }
    }
    changes.sort_by(|one, other| (one.document, &one.path).cmp(&(other.document, &other.path)));
    let edited = edit::apply(text, &documents, &changes);
    if !is_as_meant(&documents, &changes, &edited) {
        let what = reports.iter().map(Report::what).collect::<Vec<_>>().join(", ");
        return Err(ManifestError::Form { line: 1, what });
    }
    Ok(Edited { text: edited, reports })
}

/// Whether the edited text says what the documents say with the changes made, and nothing else.
fn is_as_meant(documents: &[Node], changes: &[Change], edited: &str) -> bool {
    let mut meant: Vec<Plain> = documents.iter().map(Plain::of).collect();
    // From the last to the first, as the text is edited: a change must not move another's place.
    for change in changes.iter().rev() {
        change.apply(&mut meant);
    }
    tree::read(edited).is_ok_and(|found| found.iter().map(Plain::of).eq(meant))
}

#[cfg(test)]
mod tests;
