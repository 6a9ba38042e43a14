//! The state folder: what must outlive the control plane, and the lock that keeps it to one.
//!
//! Files are written whole (temporary file, fsync, rename, fsync of the folder) with mode 0600 in
//! folders of mode 0700. This module knows names and bytes, not what they mean.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;

/// The state folder of one control plane, locked while this lives.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    _lock: Flock<File>,
}

/// Why the state folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another control plane uses it.
    #[error("{}: expected no other control plane here, found one that runs{}", folder.display(), process(*pid))]
    Locked {
        /// The state folder.
        folder: PathBuf,
        /// The other's process id, where it could be read.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file of the folder isn't what Weft wrote.
    #[error("{}: expected {expected}, found something else: {cause}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        cause: String,
    },
}

impl Store {
    /// Opens the folder, makes it where it is missing, and locks it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the other's process id when another control plane has it.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        private_folder(folder).map_err(at(folder))?;
        let path = folder.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.map_err(at(&path))?;
        let mut lock = match lock(file) {
            Ok(lock) => lock,
            Err((mut file, Errno::EWOULDBLOCK)) => {
                return Err(StoreError::Locked { folder: folder.to_owned(), pid: read_pid(&mut file) });
            }
            Err((_, errno)) => return Err(at(&path)(errno.into())),
        };
        let written = lock.set_len(0).and_then(|()| write!(lock, "{}", process::id()));
        written.map_err(at(&path))?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// The file's path, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file's bytes; `None` when it isn't there.
    ///
    /// # Errors
    /// [`StoreError::Io`] for every other reason.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StoreError::Io { path, cause }),
        }
    }

    /// Replaces the file as a whole: after a crash there is the old or the new one.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the old file stands.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.folder);
        private_folder(folder).map_err(at(folder))?;
        replace(folder, &path, bytes).map_err(at(&path))
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the file stands.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StoreError::Io { path, cause }),
            _ => Ok(()),
        }
    }

    /// Gives a file or a folder another name in the same folder.
    ///
    /// # Errors
    /// [`StoreError::Io`], also when there is something of that name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let path = self.path(to);
        let renamed = fs::rename(self.path(from), &path).and_then(|()| File::open(&self.folder)?.sync_all());
        renamed.map_err(at(&path))
    }
}

/// Whether a control plane has the folder. It lets go of it last, when all is written.
///
/// # Errors
/// [`StoreError::Io`], when the lock can't be looked at.
pub fn is_held(folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join("lock");
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(at(&path))?,
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, errno)) => Err(at(&path)(errno.into())),
    }
}

fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // What a crash left there could have other permissions.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Makes the folder with mode 0700. One that is there already must be ours, and others may not
/// write to it: they could put files of theirs in place of ours.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::metadata(folder)?;
    let mode = found.permissions().mode() & 0o7777;
    let problem = if !found.is_dir() {
        "expected a folder, found another file".to_owned()
    } else if found.uid() != Uid::effective().as_raw() {
        format!("expected a folder of our own, found one of user {}", found.uid())
    } else if mode & 0o022 != 0 {
        format!("expected a folder that nobody else may write to, found mode {mode:o}")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |cause| StoreError::Io { path, cause }
}

/// Takes the lock. One that was killed holds it until the kernel has ended its last thread, so
/// that a start right after a crash looks again for a moment.
fn lock(mut file: File) -> Result<Flock<File>, (File, Errno)> {
    for _ in 0..LOCK_TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((again, Errno::EWOULDBLOCK)) => file = again,
            other => return other,
        }
        std::thread::sleep(LOCK_INTERVAL);
    }
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
}

/// Together, how long a killed control plane may take to go: 0.5 s.
const LOCK_TRIES: u32 = 20;
const LOCK_INTERVAL: Duration = Duration::from_millis(25);

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_and_private() {
        let base = tempfile::tempdir().unwrap();
        let store = Store::open(&base.path().join("state")).unwrap();
        assert_eq!(store.read("authority/root.key").unwrap(), None);
        store.write("authority/root.key", b"one").unwrap();
        fs::write(store.path("authority/root.key.new"), b"left by a crash").unwrap();
        store.write("authority/root.key", b"two").unwrap();
        assert_eq!(store.read("authority/root.key").unwrap().as_deref(), Some(b"two".as_slice()));
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.path("authority/root.key")), 0o600);
        assert_eq!(mode(store.path("authority")), 0o700);
        assert_eq!(mode(store.path("")), 0o700);
        assert!(!store.path("authority/root.key.new").exists());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Store::open(base.path()).unwrap_err().to_string();
        assert!(error.ends_with("expected a folder that nobody else may write to, found mode 777"), "{error}");
    }

    #[test]
    fn a_second_one_is_refused_and_told_by_whom() {
        let base = tempfile::tempdir().unwrap();
        let first = Store::open(base.path()).unwrap();
        match Store::open(base.path()) {
            Err(StoreError::Locked { pid, .. }) => assert_eq!(pid, Some(process::id())),
            other => panic!("expected a refusal, found {other:?}"),
        }
        assert!(is_held(base.path()).unwrap());
        drop(first);
        assert!(!is_held(base.path()).unwrap());
        Store::open(base.path()).unwrap();
    }
}
