//! The only unsafe place of the proxy: file descriptors that come by number, inherited from the
//! launcher or received from the socket maker, become owned.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};

/// Takes a descriptor that this process was given by number. The number must be given only once:
/// whoever gives it gives up ownership.
///
/// # Errors
/// When the number isn't an open descriptor, or one of standard input, output and error.
#[allow(unsafe_code, reason = "ownership of inherited descriptors can't be expressed otherwise")]
pub(crate) fn own(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::other(format!("expected a descriptor above 2, found {number}")));
    }
    // SAFETY: the descriptor is only borrowed for the check, which fails when it isn't open.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_GETFD)?;
    // SAFETY: it is open, as was just seen, and callers give each number once, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
