//! From a file's bytes to its resources and problems.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::document::{self, Yield};
use crate::notes::File;
use crate::problem::{Problem, Severity};
use crate::resource::Resource;
use crate::salvage::salvage;
use crate::weft::workload::Workload;
use crate::yaml::{self, Budget, Chunk, Place};

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// The resources of kinds that Weft reads, in order; broken ones among them.
    pub resources: Vec<Resource>,
    /// The programs to run, in order; those alone that are wholly understood.
    pub workloads: Vec<Workload>,
    /// What is wrong or worth knowing, in order.
    pub problems: Vec<Problem>,
}

impl Yield {
    /// What a file comes to.
    pub(crate) fn into_parsed(self) -> Parsed {
        let Self { resources, workloads, problems } = self;
        Parsed { resources, workloads, problems }
    }
}

impl Parsed {
    /// Whether a problem makes a resource a broken one: an error does, and so does an unknown field.
    pub fn is_defect(&self, problem: &Problem) -> bool {
        let text = problem.to_string();
        problem.severity == Severity::Error || self.resources.iter().flat_map(Resource::defects).any(|it| it == text)
    }
}

/// Parses a file. `file` is its name for messages, relative to the folder that was given.
///
/// It never fails: what can't be understood is told in [`Parsed::problems`], and a policy among it
/// comes as a broken resource (see [`Resource::defect`]) that fails closed.
pub fn parse(file: &str, bytes: &[u8]) -> Parsed {
    let mut found = Yield::default();
    let bytes = &*with_line_feeds(bytes);
    if bytes.len() > MAX_FILE_BYTES {
        too_large(file, bytes, &mut found);
    } else {
        let lines = bytes.iter().filter(|b| **b == b'\n').count();
        let is_cut = bytes.last().is_some_and(|last| *last != b'\n');
        let cut_line = if is_cut { u32::try_from(lines + 1).ok() } else { None };
        let mut budget = Budget::default();
        for part in yaml::split(bytes) {
            chunk(&File { name: file, cut_line }, &part, &mut budget, &mut found);
        }
    }
    bound(file, &mut found.problems);
    found.into_parsed()
}

/// A LF for each CR that stands alone: it ends a line of YAML, too (YAML 1.2.2, section 5.4). Whoever
/// looks at lines here must see those that the parser sees, or a policy hides between them.
pub(crate) fn with_line_feeds(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_alone = |at: usize| bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n');
    if !(0..bytes.len()).any(is_alone) {
        return Cow::Borrowed(bytes);
    }
    (0..bytes.len()).map(|at| if is_alone(at) { b'\n' } else { bytes[at] }).collect::<Vec<u8>>().into()
}

/// Parses one resource as an API server gives it, in JSON. `origin` says which it is, such as
/// `AuthorizationPolicy shop/checkout`; it stands where the file's name would, and no line is told.
///
/// It never fails, as [`parse`] doesn't.
pub fn parse_object(origin: &str, json: &str) -> Parsed {
    let mut found = Yield::default();
    let file = File { name: origin, cut_line: None };
    let (documents, fault_found) = yaml::read(json, 1, &mut Budget::default());
    for mut document in documents {
        document.forget_places();
        document::read(&file, &document, &mut found);
    }
    if let Some(fault_found) = fault_found {
        found.broken(fault(origin, Place::default(), fault_found.message), salvage(json));
    }
    bound(origin, &mut found.problems);
    found.into_parsed()
}

fn chunk(file: &File<'_>, chunk: &Chunk<'_>, budget: &mut Budget, found: &mut Yield) {
    let text = match std::str::from_utf8(chunk.bytes) {
        Ok(text) => without_directives(text),
        Err(error) => {
            let before = String::from_utf8_lossy(&chunk.bytes[..error.valid_up_to()]);
            let at = end_of(&before, chunk.first_line);
            let byte = chunk.bytes[error.valid_up_to()];
            let message = format!("expected UTF-8, found the byte 0x{byte:02X}");
            return found.broken(fault(file.name, at, message), salvage(&String::from_utf8_lossy(chunk.bytes)));
        }
    };
    let (documents, fault_found) = yaml::read(text, chunk.first_line, budget);
    for document in &documents {
        document::read(file, document, found);
    }
    if let Some(fault_found) = fault_found {
        let rest: String = text.split_inclusive('\n').skip(fault_found.document_begin).collect();
        found.broken(fault(file.name, fault_found.at, fault_found.message), salvage(&rest));
    }
}

/// Directives (`%YAML 1.2`) before a `---` line belong to the document after it, which needs none of
/// them. They may stand first in a file, or after a `...` line.
fn without_directives(text: &str) -> &str {
    let idle = |line: &str| line.trim().is_empty() || line.starts_with(['#', '%']);
    let mut kept = text;
    while let Some(line) = kept.split_inclusive('\n').next_back().filter(|line| idle(line)) {
        kept = &kept[..kept.len() - line.len()];
    }
    let is_end = kept.lines().next_back().is_none_or(|line| line.trim_end() == "...");
    if is_end { kept } else { text }
}

/// A file that is too large isn't parsed; the policies that its lines tell of fail closed.
fn too_large(file: &str, bytes: &[u8], found: &mut Yield) {
    let message = format!("expected a file of at most {} MiB, found {} bytes", MAX_FILE_BYTES >> 20, bytes.len());
    let chunks = yaml::split(bytes);
    let remains: BTreeSet<_> = chunks.iter().flat_map(|chunk| salvage(&String::from_utf8_lossy(chunk.bytes))).collect();
    let at = Place { line: 1, column: 1 };
    found.broken(fault(file, at, message), remains.into_iter().collect());
}

/// An error about a place in a file that concerns no resource.
pub(crate) fn fault(file: &str, at: Place, message: String) -> Problem {
    let (severity, file) = (Severity::Error, file.to_owned());
    Problem { severity, file, line: at.line, column: at.column, field: None, resource: None, message }
}

/// The place after a text that begins at `first_line`.
pub(crate) fn end_of(text: &str, first_line: u32) -> Place {
    let newlines = u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
    let last = text.rsplit('\n').next().unwrap_or_default();
    let column = u32::try_from(last.chars().count()).unwrap_or(u32::MAX).saturating_add(1);
    Place { line: first_line.saturating_add(newlines), column }
}

/// Keeps the first problems of a file that has too many to read.
fn bound(file: &str, problems: &mut Vec<Problem>) {
    if problems.len() <= MAX_PROBLEMS {
        return;
    }
    let more = problems.len() - MAX_PROBLEMS;
    // Errors first: they close access, so none of them may hide behind notes.
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    problems.truncate(MAX_PROBLEMS);
    let last =
        fault(file, Place::default(), format!("expected fewer mistakes to tell, found {more} more in this file"));
    problems.push(Problem { severity: Severity::Warning, ..last });
}

/// A file of resources is far smaller; a larger one would hold up those who wait for the mesh.
const MAX_FILE_BYTES: usize = 4 << 20;
/// More can't be read by anybody.
const MAX_PROBLEMS: usize = 200;

#[cfg(test)]
mod tests;
