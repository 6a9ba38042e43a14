//! The folder of manifests as a source: which resources are in force, and what is wrong with the
//! files.
//!
//! A file that becomes broken keeps its last good resources in force; one that was never good has
//! what the parser could make of it. What can't be read is neither removed nor changed. This
//! module knows no policy; its submodules do the I/O.

mod scan;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weft_resources::{Problem, Resource, Severity};

use crate::hash::fnv1a;
use scan::{Entry, Scan};
pub(crate) use watch::Source;

/// What is known of every file.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    files: BTreeMap<String, File>,
    unreadable: Vec<Problem>,
}

/// What a scan led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Outcome {
    /// Resources or problems differ from before.
    changed: bool,
    /// A file is empty that wasn't, as while it is being written: look again after this time.
    look_again: Option<Duration>,
}

#[derive(Debug)]
struct File {
    hash: u128,
    /// In force.
    resources: Vec<Resource>,
    /// Whether they were parsed without errors.
    standing: Standing,
    problems: Vec<Problem>,
    /// Since when the file is empty, though something of it is in force.
    empty_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    NeverGood,
}

impl Folder {
    /// Takes in what a scan found. `now` only tells how long a file has been empty.
    fn update(&mut self, scan: Scan, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let unreadable = scan.unreadable();
        let known = self.files.len();
        self.files.retain(|name, _| scan.entries.contains_key(name) || scan.hides(name));
        outcome.changed = self.files.len() != known || unreadable != self.unreadable;
        self.unreadable = unreadable;
        for (name, entry) in scan.entries {
            let Entry::File(bytes) = entry else { continue };
            match self.files.get_mut(&name) {
                Some(file) => file.update(&name, &bytes, now, &mut outcome),
                None => {
                    self.files.insert(name.clone(), File::new(&name, &bytes));
                    outcome.changed = true;
                }
            }
        }
        outcome
    }

    /// The resources in force, by file and in the file's order.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        self.files.values().flat_map(|file| file.resources.iter().cloned()).collect()
    }

    /// What is wrong with files, by file.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let of_files = self.files.values().flat_map(|file| file.problems.iter().cloned());
        self.unreadable.iter().cloned().chain(of_files).collect()
    }
}

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let parsed = weft_resources::parse(name, bytes);
        let standing = if is_broken(&parsed.problems) { Standing::NeverGood } else { Standing::Good };
        let (resources, problems) = (parsed.resources, parsed.problems);
        Self { hash: fnv1a(bytes), resources, standing, problems, empty_since: None }
    }

    fn update(&mut self, name: &str, bytes: &[u8], now: Instant, outcome: &mut Outcome) {
        let hash = fnv1a(bytes);
        if hash == self.hash {
            self.empty_since = None;
            return;
        }
        if bytes.trim_ascii().is_empty() && !self.resources.is_empty() {
            let since = *self.empty_since.get_or_insert(now);
            if now.saturating_duration_since(since) < EMPTY_GRACE {
                outcome.look_again = Some(EMPTY_GRACE);
                return;
            }
        }
        let new = Self::new(name, bytes);
        outcome.changed = true;
        match (self.standing, new.standing) {
            (Standing::Good, Standing::NeverGood) => {
                (self.hash, self.problems, self.empty_since) = (hash, new.problems, None);
            }
            _ => *self = new,
        }
    }
}

fn is_broken(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

/// An editor that empties a file before it writes it anew is done by then.
const EMPTY_GRACE: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests;
