//! Which open files a process of the sandbox keeps. They are its launcher's copies: an end of a pipe or a lock
//! that stayed open here would outlive its purpose.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::sys;

/// Closes what the program wouldn't inherit either, save `keep`.
pub(crate) fn close_private(keep: &[BorrowedFd<'_>]) {
    for number in open_descriptors() {
        if sys::closes_on_exec(number) == Some(true) && !keep.iter().any(|fd| fd.as_raw_fd() == number) {
            sys::close(number);
        }
    }
}

/// Closes everything save `keep`; standard streams become `/dev/null`.
pub(crate) fn close_all(keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    for number in open_descriptors() {
        if number > 2 && !keep.iter().any(|fd| fd.as_raw_fd() == number) {
            sys::close(number);
        }
    }
    let null = fs::File::options().read(true).write(true).open("/dev/null").map_err(|_| Errno::last())?;
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    dup2_stderr(null.as_fd())
}

fn open_descriptors() -> Vec<RawFd> {
    let Ok(folder) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    // Collected before any is closed: the folder's own descriptor is among them, and gone by then.
    folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
