//! One look at a folder of manifests, by the rules of the folder that `weft up` follows: `*.yaml`,
//! `*.yml` and `*.json` at any depth, in order, links followed, hidden files passed by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure};

/// What stands in a folder, by the path relative to it.
pub(super) type Files = BTreeMap<String, Content>;

/// A manifest's bytes; or why it, or a whole folder, can't be read.
pub(super) type Content = Result<Vec<u8>, String>;

/// Reads every manifest below `root`, save the file `except`.
///
/// # Errors
/// When there is no such folder. What can't be read below it is told in its place.
pub(super) fn read(root: &Path, except: Option<&Path>) -> Result<Files, Failure> {
    let real = root.canonicalize().context(format!("folder {}", root.display()))?;
    if !real.is_dir() {
        return Err(Failure::new(format!("folder {}: expected a folder, found another file", root.display())));
    }
    let except = except.and_then(|path| path.canonicalize().ok());
    let mut walk = Walk { files: Files::new(), visited: BTreeSet::new(), bytes: 0, except };
    walk.folder(root, "", 0);
    Ok(walk.files)
}

struct Walk {
    files: Files,
    visited: BTreeSet<PathBuf>,
    bytes: usize,
    except: Option<PathBuf>,
}

impl Walk {
    fn folder(&mut self, path: &Path, name: &str, depth: usize) {
        match path.canonicalize() {
            Ok(real) if !self.visited.insert(real.clone()) => return,
            Ok(_) => {}
            Err(error) => return self.unreadable(name, error.to_string()),
        }
        if depth > MAX_DEPTH {
            return self.unreadable(name, format!("expected at most {MAX_DEPTH} folders in each other, found more"));
        }
        let mut children: Vec<String> = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(children) => children.iter().filter_map(|child| child.file_name().into_string().ok()).collect(),
            Err(error) => return self.unreadable(name, error.to_string()),
        };
        children.sort_unstable();
        for child in children.iter().filter(|child| !child.starts_with('.')) {
            let child_name = if name.is_empty() { child.clone() } else { format!("{name}/{child}") };
            self.child(&path.join(child), &child_name, depth);
        }
    }

    fn child(&mut self, path: &Path, name: &str, depth: usize) {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            // Its link leads nowhere: there is no such file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) if is_manifest(name) => return self.unreadable(name, error.to_string()),
            Err(_) => return,
        };
        if found.is_dir() {
            return self.folder(path, name, depth + 1);
        }
        if !is_manifest(name) || (self.except.is_some() && path.canonicalize().ok() == self.except) {
            return;
        }
        if !found.is_file() {
            return self.unreadable(name, "expected a regular file, found another kind".to_owned());
        }
        if self.files.len() >= MAX_FILES || self.bytes >= MAX_ALL_BYTES {
            let bounds = format!("expected at most {MAX_FILES} files and {} MiB, found more", MAX_ALL_BYTES >> 20);
            return self.unreadable("", bounds);
        }
        match read_file(path) {
            Ok(bytes) => {
                self.bytes += bytes.len();
                self.files.insert(name.to_owned(), Ok(bytes));
            }
            Err(error) => self.unreadable(name, error.to_string()),
        }
    }

    fn unreadable(&mut self, name: &str, message: String) {
        let name = if name.is_empty() { "." } else { name };
        self.files.insert(name.to_owned(), Err(message));
    }
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe that took the file's place must not stop us.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    // A longer file is cut, and still too long for the parser: it says so, and fails closed.
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 4096;
const MAX_FILE_BYTES: u64 = 16 << 20;
const MAX_ALL_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn manifests_are_found_in_order_and_the_rest_is_passed_by() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sub/.hidden")).unwrap();
        for name in ["b.yaml", "a.yml", "sub/c.json", "sub/.hidden/d.yaml", ".e.yaml", "f.yaml~", "g.md", "cases.yaml"]
        {
            fs::write(dir.path().join(name), name).unwrap();
        }
        symlink(dir.path(), dir.path().join("sub/loop")).unwrap();
        symlink("nowhere", dir.path().join("h.yaml")).unwrap();
        let files = read(dir.path(), Some(&dir.path().join("sub/../cases.yaml"))).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a.yml", "b.yaml", "sub/c.json"]);
        assert_eq!(files["sub/c.json"], Ok(b"sub/c.json".to_vec()));
    }

    #[test]
    fn what_is_no_file_is_told_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let files = read(dir.path(), None).unwrap();
        assert_eq!(files["pipe.yaml"], Err("expected a regular file, found another kind".to_owned()));
        assert!(read(&dir.path().join("none"), None).is_err());
        assert!(read(&dir.path().join("pipe.yaml"), None).is_err());
    }
}
