//! The folder of manifests as a source: which resources are in force, and what is wrong with the
//! files.
//!
//! A file that becomes broken keeps its last good policies in force; one that was never good, or
//! can't be read, has what could be made of it. What is written nowhere any more stays in force for
//! a moment, for editors and `git` remove files before they write them anew. This module knows no
//! policy; its submodules do the I/O.

mod scan;
mod watch;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::path::Path;
use std::time::{Duration, Instant};

use weft_resources::{Problem, Resource, ResourceRef, Severity, Workload};

use scan::{Content, Scan, fingerprint, is_below};
pub(crate) use watch::Source;

/// What a folder of manifests comes to, for those who ask it while no mesh runs: what a control
/// plane that started now would have in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifests {
    /// The resources, by file and in the file's order. For what can't be read a broken one of each
    /// kind stands.
    pub resources: Vec<Resource>,
    /// The programs that would run.
    pub workloads: Vec<Workload>,
    /// What is wrong with files, by file.
    pub problems: Vec<Problem>,
}

impl Manifests {
    /// Reads everything below `root`, save the file `except`.
    ///
    /// # Errors
    /// When there is no such folder, or it can't be listed. What can't be read below it is a problem.
    pub fn read(root: &Path, except: Option<&Path>) -> io::Result<Self> {
        listable(root)?;
        let mut folder = Folder::default();
        folder.update(Scan::of(root, except, &mut |_| {}), Instant::now());
        Ok(Self { resources: folder.resources(), workloads: folder.workloads(), problems: folder.problems() })
    }
}

/// # Errors
/// Why there is no folder, or none that can be listed.
fn listable(root: &Path) -> io::Result<()> {
    if root.metadata()?.is_dir() {
        return root.read_dir().map(drop);
    }
    Err(io::Error::new(io::ErrorKind::NotADirectory, "expected a folder, found another file"))
}

/// What is known of every file.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    files: BTreeMap<String, File>,
    /// What is written nowhere any more, and since when; in force until [`GRACE`] is over.
    leaving: Vec<(Resource, Instant)>,
}

/// What a scan led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Outcome {
    /// Resources or problems differ from before.
    changed: bool,
    /// Something is written nowhere any more: look again after this time.
    look_again: Option<Duration>,
}

/// A file, or a whole folder that can't be read.
#[derive(Debug)]
struct File {
    fingerprint: u128,
    /// In force.
    resources: Vec<Resource>,
    /// To be run: the last that were understood.
    workloads: Vec<Workload>,
    /// Whether they were parsed without errors.
    standing: Standing,
    problems: Vec<Problem>,
    /// Whether nothing at all stands in it.
    is_blank: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    NeverGood,
}

impl Folder {
    /// Whether a scan brings nothing new.
    fn knows(&self, scan: &Scan) -> bool {
        let known =
            |(name, content)| self.files.get(name).is_some_and(|file: &File| file.fingerprint == fingerprint(content));
        self.files.len() == scan.entries.len() && scan.entries.iter().all(known)
    }

    /// Takes in what a scan found. `now` only tells how long something has been written nowhere.
    fn update(&mut self, scan: Scan, now: Instant) -> Outcome {
        if self.leaving.is_empty() && self.knows(&scan) {
            return Outcome::default();
        }
        // A look at a thousand files must not copy what stands in all of them.
        let touched = self.touched(&scan);
        let before = (self.resources_of(&touched), self.workloads(), self.problems());
        let written = self.files.iter().filter(|(name, _)| touched.contains(*name));
        let written = written.flat_map(|(_, file)| file.resources.iter().cloned().map(|resource| (resource, now)));
        let were: Vec<(Resource, Instant)> = written.chain(mem::take(&mut self.leaving)).collect();
        self.files.retain(|name, _| !touched.contains(name) || scan.entries.contains_key(name));
        for (name, content) in touched.iter().filter_map(|name| scan.entries.get_key_value(name)) {
            self.take(name, content);
        }
        let is_over = |since: &Instant| now.saturating_duration_since(*since) >= GRACE;
        let named = self.named();
        let left = were.into_iter().filter(|(resource, since)| !is_over(since) && !self.is_written(resource, &named));
        self.leaving = left.collect();
        Outcome {
            changed: before != (self.resources_of(&touched), self.workloads(), self.problems()),
            look_again: (!self.leaving.is_empty()).then_some(GRACE),
        }
    }

    /// Files of which a scan says something new, and those that it doesn't find any more.
    fn touched(&self, scan: &Scan) -> BTreeSet<String> {
        let is_known = |name: &str, content| {
            self.files.get(name).is_some_and(|file: &File| file.fingerprint == fingerprint(content))
        };
        let new = scan.entries.iter().filter(|(name, content)| !is_known(name, content)).map(|(name, _)| name);
        let gone = self.files.keys().filter(|name| !scan.entries.contains_key(*name) && !scan.hides(name));
        new.chain(gone).cloned().collect()
    }

    fn take(&mut self, name: &str, content: &Content) {
        if let Some(file) = self.files.get_mut(name) {
            return file.update(name, content);
        }
        let mut file = File::new(name, content);
        // Of a folder that could be read once, the last good content stays in force.
        if content.is_err() && self.files.keys().any(|known| is_below(known, name)) {
            file.resources.clear();
        }
        self.files.insert(name.to_owned(), file);
    }

    /// What the resources are called that stand in files.
    fn named(&self) -> BTreeSet<ResourceRef> {
        self.files.values().flat_map(|file| &file.resources).map(Resource::reference).collect()
    }

    /// Whether a resource stands in a file, be it another one than before, and another text. What
    /// can't be named stands as long as its file.
    fn is_written(&self, resource: &Resource, named: &BTreeSet<ResourceRef>) -> bool {
        let reference = resource.reference();
        if reference.name.is_some() && reference.namespace.is_some() {
            return named.contains(&reference);
        }
        self.files.get(&resource.meta().file).is_some_and(|file| !file.is_blank)
    }

    /// The resources in force, by file and in the file's order; last of a file what isn't written
    /// there any more.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        self.in_force(self.files.values())
    }

    /// Those of some files, and what isn't written any more of any.
    fn resources_of(&self, names: &BTreeSet<String>) -> Vec<Resource> {
        self.in_force(names.iter().filter_map(|name| self.files.get(name)))
    }

    fn in_force<'f>(&'f self, files: impl Iterator<Item = &'f File>) -> Vec<Resource> {
        let written = files.flat_map(|file| &file.resources);
        let mut resources: Vec<Resource> = written.chain(self.leaving.iter().map(|(left, _)| left)).cloned().collect();
        resources.sort_by(|a, b| a.meta().file.cmp(&b.meta().file));
        resources
    }

    /// The programs to run, by file and in the file's order; the first of each name counts.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let mut named = BTreeSet::new();
        let all = self.files.values().flat_map(|file| &file.workloads);
        all.filter(|workload| named.insert((&workload.namespace, &workload.name))).cloned().collect()
    }

    /// What is wrong with files, by file.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.files.values().flat_map(|file| file.problems.iter().cloned()).collect();
        problems.extend(self.doubles());
        problems.sort_by(|a, b| a.file.cmp(&b.file));
        problems
    }

    /// Programs of a name that an earlier one has already.
    fn doubles(&self) -> Vec<Problem> {
        let mut first: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        let mut doubles = Vec::new();
        for workload in self.files.values().flat_map(|file| &file.workloads) {
            match first.entry((workload.namespace.as_str(), workload.name.as_str())) {
                Entry::Vacant(place) => {
                    place.insert(&workload.file);
                }
                Entry::Occupied(place) => doubles.push(double(workload, place.get())),
            }
        }
        doubles
    }
}

impl File {
    fn new(name: &str, content: &Content) -> Self {
        let parsed = match content {
            Ok(bytes) => weft_resources::parse(name, bytes),
            Err(message) => weft_resources::unreadable(name, message.clone()),
        };
        let standing = if is_broken(&parsed.problems) { Standing::NeverGood } else { Standing::Good };
        let is_blank = content.as_ref().is_ok_and(|bytes| bytes.trim_ascii().is_empty());
        let weft_resources::Parsed { resources, workloads, problems } = parsed;
        Self { fingerprint: fingerprint(content), resources, workloads, standing, problems, is_blank }
    }

    fn update(&mut self, name: &str, content: &Content) {
        if fingerprint(content) == self.fingerprint {
            return;
        }
        let mut new = Self::new(name, content);
        if new.standing == Standing::NeverGood {
            // What can't be read stops no program, and keeps none that can be from being edited.
            let is_gone = |old: &Workload| !new.workloads.iter().any(|new| is_same(old, new));
            let kept: Vec<Workload> = mem::take(&mut self.workloads).into_iter().filter(is_gone).collect();
            new.workloads.extend(kept);
        }
        match (self.standing, new.standing) {
            // Where no policy stood, nothing good is kept from what may be one.
            (Standing::Good, Standing::NeverGood) if !self.resources.is_empty() => {
                (self.fingerprint, self.problems) = (new.fingerprint, new.problems);
                self.workloads = new.workloads;
            }
            _ => *self = new,
        }
    }
}

fn is_same(one: &Workload, other: &Workload) -> bool {
    one.namespace == other.namespace && one.name == other.name
}

/// That a program isn't run, as one of its name stands in `first` already.
fn double(workload: &Workload, first: &str) -> Problem {
    let Workload { file, namespace, name, .. } = workload;
    Problem {
        severity: Severity::Error,
        file: file.clone(),
        line: 0,
        column: 0,
        field: Some("metadata.name".to_owned()),
        resource: Some(ResourceRef {
            kind: "Workload".to_owned(),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
        }),
        message: format!("expected each workload once, found one of this name in {first} already, which is run"),
    }
}

fn is_broken(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

/// Whoever removes or empties a file before writing it anew is done by then.
const GRACE: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests;
