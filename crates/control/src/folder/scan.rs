//! One look at a folder: every manifest's bytes, within bounds. It follows symbolic links, skips
//! hidden files and those of editors, and meets each folder once. What may hold manifests and can't
//! be read has an entry that says why: nothing is left out unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirEntry, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::hash::fnv1a;

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// By the path relative to the folder, which itself is `.`.
    pub(super) entries: BTreeMap<String, Content>,
    /// Whether there is more than the bounds allow to look at.
    pub(super) overflow: bool,
}

/// A manifest's bytes; or why it, or a whole folder, can't be read.
pub(super) type Content = Result<Vec<u8>, String>;

/// Tells contents apart.
pub(super) fn fingerprint(content: &Content) -> u128 {
    match content {
        Ok(bytes) => fnv1a(bytes),
        Err(message) => !fnv1a(message.as_bytes()),
    }
}

/// Whether a file stands in a folder, at any depth.
pub(super) fn is_below(file: &str, folder: &str) -> bool {
    folder == ROOT || file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

impl Scan {
    /// Looks at everything below `root`, save the file `except`. `enter` is called with each folder
    /// before its files are listed, and with the folders that links lead to: so nothing changes unseen.
    pub(super) fn of(root: &Path, except: Option<&Path>, enter: &mut dyn FnMut(&Path)) -> Self {
        let except = except.and_then(|path| path.canonicalize().ok());
        let mut walk = Walk { scan: Self::default(), visited: BTreeSet::new(), bytes: 0, except, enter };
        walk.follow(root);
        walk.folder(root, ROOT, 0);
        walk.scan
    }

    /// Whether a known file may still be there, though this look didn't find it.
    pub(super) fn hides(&self, file: &str) -> bool {
        self.overflow || self.entries.iter().any(|(name, content)| content.is_err() && is_below(file, name))
    }
}

struct Walk<'a> {
    scan: Scan,
    visited: BTreeSet<PathBuf>,
    bytes: usize,
    except: Option<PathBuf>,
    enter: &'a mut dyn FnMut(&Path),
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, name: &str, depth: usize) {
        match path.canonicalize() {
            Ok(real) if !self.visited.insert(real.clone()) => return,
            Ok(real) => (self.enter)(&real),
            Err(error) => return self.no_folder(path, name, &error),
        }
        if depth > MAX_DEPTH {
            return self.unreadable(name, format!("expected at most {MAX_DEPTH} folders in each other, found more"));
        }
        let mut children = match children(path) {
            Ok(children) => children,
            Err(error) => return self.no_folder(path, name, &error),
        };
        children.sort_unstable();
        for (child, is_file) in children {
            let shown = child.to_string_lossy();
            let child_name = if name == ROOT { shown.clone().into_owned() } else { format!("{name}/{shown}") };
            let may_hold_some = !is_file || is_manifest(&shown);
            if may_hold_some && !shown.starts_with('.') {
                self.child(&path.join(&child), &child_name, depth);
            }
            if self.scan.overflow {
                return;
            }
        }
    }

    fn no_folder(&mut self, path: &Path, name: &str, error: &io::Error) {
        // A folder that was listed a moment ago and is gone had nothing to say that its parent's next
        // look doesn't.
        if name == ROOT || !has_gone(path, error) {
            self.unreadable(name, format!("expected a folder that can be read, found an error: {error}"));
        }
    }

    /// A manifest, a folder, or a link to either.
    fn child(&mut self, path: &Path, name: &str, depth: usize) {
        if self.scan.entries.len().max(self.visited.len()) >= MAX_FILES || self.bytes >= MAX_ALL_BYTES {
            let bounds = format!("expected at most {MAX_FILES} files and folders and {} MiB", MAX_ALL_BYTES >> 20);
            self.scan.overflow = true;
            return self.unreadable(name, format!("{bounds} in the whole folder, found more"));
        }
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if has_gone(path, &error) => return,
            // Whatever its name: a folder may have been there.
            Err(error) => {
                self.follow(path);
                return self.unreadable(name, format!("expected a file or folder here, found an error: {error}"));
            }
        };
        if found.is_dir() {
            self.follow(path);
            return self.folder(path, name, depth + 1);
        }
        if !is_manifest(name) || (self.except.is_some() && path.canonicalize().ok() == self.except) {
            return;
        }
        self.follow(path);
        if !found.is_file() {
            return self.unreadable(name, NO_REGULAR_FILE.to_owned());
        }
        match read(path) {
            Ok(Ok(bytes)) => {
                self.bytes += bytes.len();
                self.put(name, Ok(bytes));
            }
            Ok(Err(message)) => self.unreadable(name, message),
            Err(error) if has_gone(path, &error) => {}
            Err(error) => self.unreadable(name, format!("expected a file that can be read, found an error: {error}")),
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
        self.put(name, Err(message));
    }

    /// Names that are no UTF-8 can read alike: then neither file may hide the other.
    fn put(&mut self, name: &str, content: Content) {
        let alike = || Err("expected files whose names differ, found two that read alike".to_owned());
        self.scan.entries.entry(name.to_owned()).and_modify(|known| *known = alike()).or_insert(content);
    }
}

/// The names in a folder, and whether each is known to be a plain file.
fn children(path: &Path) -> io::Result<Vec<(OsString, bool)>> {
    let child = |entry: DirEntry| (entry.file_name(), entry.file_type().is_ok_and(|kind| kind.is_file()));
    fs::read_dir(path)?.map(|entry| entry.map(child)).collect()
}

/// Whether there is nothing at all, not even a link that leads nowhere: it went since it was listed.
fn has_gone(path: &Path, error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound && !path.is_symlink()
}

fn is_manifest(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    matches!(ending.as_deref(), Some("yaml" | "yml" | "json"))
}

/// The whole file; or why it isn't one.
fn read(path: &Path) -> io::Result<Content> {
    // A pipe that took the file's place must not stop us.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(Err(NO_REGULAR_FILE.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Ok(Err(format!("expected a file of at most {} MiB, found a larger one", MAX_FILE_BYTES >> 20)));
    }
    Ok(Ok(bytes))
}

const ROOT: &str = ".";
const NO_REGULAR_FILE: &str = "expected a regular file, found another kind";
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 4096;
/// What the parser takes is less; of a file between the two it tells which policies are in it.
const MAX_FILE_BYTES: u64 = 16 << 20;
const MAX_ALL_BYTES: usize = 64 << 20;
/// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;
