//! A sandbox's namespaces as descriptors: whoever holds them can run another program in there. They
//! are handed over, never looked up by a pid: the processes that stand in them can't be looked into,
//! and a pid may have become another's.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, setns};

use crate::channel::{receive_packet, send_packet};
use crate::error::{Failure, Step};
use crate::namespace::errno_of;

/// The namespaces of a running sandbox; some may be the launcher's own.
#[derive(Debug)]
pub struct Namespaces {
    user: OwnedFd,
    network: OwnedFd,
    processes: OwnedFd,
    mounts: OwnedFd,
}

impl Namespaces {
    /// Those of this process.
    pub(crate) fn of_this_process() -> Result<Self, Failure> {
        let open = |name: &str| {
            let file = File::open(format!("/proc/self/ns/{name}"));
            file.map(OwnedFd::from).map_err(|error| Failure::new(Step::HandOver, errno_of(&error), name))
        };
        Ok(Self { user: open("user")?, network: open("net")?, processes: open("pid")?, mounts: open("mnt")? })
    }

    /// Those that came with a message, in the order in which they are sent.
    pub(crate) fn adopt(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let [user, network, processes, mounts] = <[OwnedFd; 4]>::try_from(descriptors).ok()?;
        Some(Self { user, network, processes, mounts })
    }

    /// In the order in which they are sent.
    pub(crate) fn numbers(&self) -> [RawFd; 4] {
        self.descriptors().map(|descriptor| descriptor.as_raw_fd())
    }

    /// In the order in which they are sent.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 4] {
        [&self.user, &self.network, &self.processes, &self.mounts].map(AsFd::as_fd)
    }

    /// Hands copies to the process at the other end of a Unix socket. The caller knows who that is.
    ///
    /// # Errors
    /// The kernel's, when the other end is closed or may have no more open files.
    pub fn send(&self, socket: &impl AsFd) -> std::io::Result<()> {
        Ok(send_packet(socket.as_fd(), &[HERE], &self.numbers())?)
    }

    /// Waits for what [`Namespaces::send`] sends.
    ///
    /// # Errors
    /// The kernel's; `UnexpectedEof` when the other end closed without sending them.
    pub fn receive(socket: &impl AsFd) -> std::io::Result<Self> {
        let descriptors = receive_packet(socket.as_fd())?;
        Self::adopt(descriptors).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }

    /// Moves this process, which must have one thread, into all but the mounts; for processes, its
    /// children are moved. The mounts come last and by themselves: behind them `/proc` is another's.
    pub(crate) fn enter_all_but_mounts(&self) -> Result<(), Failure> {
        enter(&self.user, "user", CloneFlags::CLONE_NEWUSER)?;
        enter(&self.network, "net", CloneFlags::CLONE_NEWNET)?;
        enter(&self.processes, "pid", CloneFlags::CLONE_NEWPID)
    }

    /// Moves this process to the sandbox's mounts, and its working folder to the root there.
    pub(crate) fn enter_mounts(&self) -> Result<(), Failure> {
        enter(&self.mounts, "mnt", CloneFlags::CLONE_NEWNS)
    }
}

/// Enters a namespace unless this process is in it: the kernel refuses to enter a user namespace twice.
fn enter(namespace: &OwnedFd, name: &str, kind: CloneFlags) -> Result<(), Failure> {
    let failed = |errno| Failure::new(Step::Join, errno, name);
    let there = nix::sys::stat::fstat(namespace).map_err(failed)?;
    let here = fs::metadata(format!("/proc/self/ns/{name}")).map_err(|error| failed(errno_of(&error)))?;
    if (here.dev(), here.ino()) == (there.st_dev, there.st_ino) {
        return Ok(());
    }
    setns(namespace, kind).map_err(failed)
}

/// The byte that accompanies the descriptors.
const HERE: u8 = b'n';
