//! One look at a folder: every manifest's bytes, within bounds. It follows symbolic links, skips
//! hidden files and those of editors, and meets each folder once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirEntry, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use weft_resources::{Problem, Severity};

/// What a look found, by the path relative to the folder.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) entries: BTreeMap<String, Entry>,
}

/// One finding.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A manifest.
    File(Vec<u8>),
    /// A file or a whole folder that can't be read now, and why. The folder itself is `""`.
    Unreadable(String),
}

impl Scan {
    /// Looks at everything below `root`. `enter` is called with each folder before its files are
    /// listed, and with the folders that links lead to: so nothing changes unseen.
    pub(super) fn of(root: &Path, enter: &mut dyn FnMut(&Path)) -> Self {
        let mut walk = Walk { scan: Self::default(), visited: BTreeSet::new(), bytes: 0, enter };
        walk.follow(root);
        walk.folder(root, "", 0);
        walk.scan
    }

    /// Whether a known file may still be there, though this look didn't find it.
    pub(super) fn hides(&self, name: &str) -> bool {
        let below = |folder: &str| folder.is_empty() || name.strip_prefix(folder).is_some_and(|n| n.starts_with('/'));
        self.entries.iter().any(|(folder, entry)| matches!(entry, Entry::Unreadable(_)) && below(folder))
    }

    /// What couldn't be read.
    pub(super) fn unreadable(&self) -> Vec<Problem> {
        let problem = |(name, entry): (&String, &Entry)| match entry {
            Entry::File(_) => None,
            Entry::Unreadable(message) => Some(Problem {
                severity: Severity::Error,
                file: if name.is_empty() { ".".to_owned() } else { name.clone() },
                line: 0,
                column: 0,
                field: None,
                resource: None,
                message: message.clone(),
            }),
        };
        self.entries.iter().filter_map(problem).collect()
    }
}

struct Walk<'a> {
    scan: Scan,
    visited: BTreeSet<PathBuf>,
    bytes: usize,
    enter: &'a mut dyn FnMut(&Path),
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, name: &str, depth: usize) {
        match path.canonicalize() {
            Ok(real) if !self.visited.insert(real.clone()) => return,
            Ok(real) => (self.enter)(&real),
            Err(error) => return self.unreadable(name, error.to_string()),
        }
        if depth > MAX_DEPTH {
            return self.unreadable(name, format!("expected at most {MAX_DEPTH} folders in each other, found more"));
        }
        let mut children: Vec<OsString> = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(children) => children.iter().map(DirEntry::file_name).collect(),
            Err(error) => return self.unreadable(name, error.to_string()),
        };
        children.sort_unstable();
        for child in children {
            let shown = child.to_string_lossy();
            if !shown.starts_with('.') {
                let child_name = if name.is_empty() { shown.into_owned() } else { format!("{name}/{shown}") };
                self.child(&path.join(&child), &child_name, depth);
            }
        }
    }

    fn child(&mut self, path: &Path, name: &str, depth: usize) {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            // It went away since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => return,
            Err(error) if is_manifest(name) => {
                self.follow(path);
                return self.unreadable(name, error.to_string());
            }
            Err(_) => return,
        };
        if found.is_dir() {
            return self.folder(path, name, depth + 1);
        }
        if !is_manifest(name) {
            return;
        }
        self.follow(path);
        if !found.is_file() {
            return self.unreadable(name, "expected a regular file, found another kind".to_owned());
        }
        if self.scan.entries.len() >= MAX_FILES || self.bytes >= MAX_ALL_BYTES {
            let bounds = format!("expected at most {MAX_FILES} files and {} MiB, found more", MAX_ALL_BYTES >> 20);
            return self.unreadable("", bounds);
        }
        match read(path) {
            Ok(bytes) => {
                self.bytes += bytes.len();
                self.scan.entries.insert(name.to_owned(), Entry::File(bytes));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.unreadable(name, error.to_string()),
        }
    }

    /// A file behind a link changes in its own folder.
    fn follow(&mut self, path: &Path) {
        let mut at = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Ok(target) = fs::read_link(&at) else { return };
            at = at.parent().unwrap_or(Path::new("/")).join(target);
            if let Some(folder) = at.parent().and_then(|folder| folder.canonicalize().ok()) {
                (self.enter)(&folder);
            }
        }
    }

    fn unreadable(&mut self, name: &str, message: String) {
        self.scan.entries.insert(name.to_owned(), Entry::Unreadable(message));
    }
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe that took the file's place must not stop us.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let mut bytes = Vec::new();
    // A longer file is cut, and still too long for the parser: it says so, and fails closed.
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 4096;
const MAX_FILE_BYTES: u64 = 16 << 20;
const MAX_ALL_BYTES: usize = 64 << 20;
/// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;
