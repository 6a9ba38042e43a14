//! A folder in memory, from which mounts are arranged.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Failure, Step};
use crate::sys::NOTHING;

/// A folder in memory while mounts are arranged; what is bound from it stays when it goes.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self, Failure> {
        let failed = |errno| Failure::new(Step::MountNamespace, errno, "a folder in memory");
        // None that anything below binds from or over.
        let folders = ["/tmp", "/var/tmp", "/mnt", "/home", "/srv"].map(Path::new);
        let folder = folders.into_iter().find(|folder| folder.is_dir()).ok_or(Errno::ENOENT).map_err(failed)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(Some("weft"), folder, Some("tmpfs"), flags, Some("mode=0755,size=1m")).map_err(failed)?;
        Ok(Self(folder.to_owned()))
    }

    /// A new file with this text.
    pub(crate) fn file(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The path of a name in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It can't be refused to the process that mounted it; were it, the program would see an odd folder.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Puts `source` over `target`.
pub(crate) fn bind(source: &Path, target: &Path) -> Result<(), Errno> {
    mount(Some(source), target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
}
