//! The user that root runs a program as: a real boundary, since the program has that user's id and no capability, nor
//! any way to get one.

use std::ffi::{CString, OsString};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};

use crate::error::{Failure, Step};
use crate::sys;

/// Another user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// The name.
    pub name: String,
    home: PathBuf,
    shell: PathBuf,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl RunAs {
    /// Looks a user up. Only root may become one.
    ///
    /// # Errors
    /// In words: no such user, or who asks isn't root.
    pub fn find(name: &str) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("expected to be root, who alone can run programs as another user".to_owned());
        }
        let found =
            User::from_name(name).map_err(|errno| format!("cannot look up the user {name}: {}", errno.desc()))?;
        let user = found.ok_or_else(|| format!("expected a user of this machine, found {name:?}"))?;
        let c_name = CString::new(name).map_err(|_| format!("expected a user's name, found {name:?}"))?;
        let groups = getgrouplist(&c_name, user.gid);
        let groups = groups.map_err(|errno| format!("cannot list the groups of {name}: {}", errno.desc()))?;
        Ok(Self { name: user.name, home: user.dir, shell: user.shell, uid: user.uid, gid: user.gid, groups })
    }

    /// What the environment says of the user, as systemd's `User=` sets it.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 4] {
        let name = || OsString::from(&self.name);
        let (home, shell) = (self.home.clone().into(), self.shell.clone().into());
        [("HOME", home), ("USER", name()), ("LOGNAME", name()), ("SHELL", shell)]
    }

    /// Makes this process that user's, for good: no program that it runs gets a capability again.
    pub(crate) fn assume(&self) -> Result<(), Failure> {
        let failed = |errno| Failure::new(Step::User, errno, &self.name);
        for capability in 0..64 {
            match sys::drop_from_bounding_set(capability) {
                // There are no more.
                Err(Errno::EINVAL) => break,
                dropped => dropped.map_err(failed)?,
            }
        }
        setgroups(&self.groups).map_err(failed)?;
        setresgid(self.gid, self.gid, self.gid).map_err(failed)?;
        // The kernel takes all capabilities away with it: none of these ids is root's any more.
        setresuid(self.uid, self.uid, self.uid).map_err(failed)?;
        sys::set_capabilities(0).map_err(failed)
    }
}
