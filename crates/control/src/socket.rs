//! Sockets that decide about others: who may connect is decided by what the kernel knows of the peer.
//!
//! A peer must have our own user id and live in our own user namespace: programs that run under
//! `weft run` have the same id, but a namespace of their own. Root of this namespace is admitted.
//! This module knows nothing of what is said on the socket.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};

use crate::store::private_folder;

/// The socket's longest path in bytes (`sun_path` less its terminating NUL).
const MAX_PATH_BYTES: usize = 107;

/// Why the control socket can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something that is no socket stands at the path.
    #[error("{}: expected a socket or nothing, found another file", .0.display())]
    Occupied(PathBuf),
    /// Unix sockets have short paths.
    #[error("{}: expected a path of at most {MAX_PATH_BYTES} bytes, found {}", .0.display(), .0.as_os_str().len())]
    TooLong(PathBuf),
    /// The system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The socket or its folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Why a peer is turned away.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Another user.
    #[error("expected a peer of user {ours}, found user {theirs}")]
    User {
        /// Our own user id.
        ours: u32,
        /// The peer's.
        theirs: u32,
    },
    /// Another user namespace: a program of the mesh, most likely.
    #[error("expected a peer of our own user namespace, found process {pid} in {theirs}")]
    Namespace {
        /// The peer's process id.
        pid: i32,
        /// Its namespace, as `/proc/PID/ns/user` tells it.
        theirs: String,
    },
    /// The peer has ended, or is outside of our PID namespace: nothing can be known of it.
    #[error("expected a living peer of our own PID namespace, found none")]
    Gone,
    /// The system refused to tell.
    #[error("the peer can't be known: {0}")]
    Unknown(#[from] io::Error),
}

/// Opens the socket with mode 0600 in a folder of mode 0700, in place of one that a former control
/// plane left. The caller holds the state folder's lock: what is there serves nobody.
///
/// # Errors
/// [`SocketError`], with the path.
pub fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |cause| SocketError::Io { path: path.to_owned(), cause };
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(SocketError::TooLong(path.to_owned()));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_folder(folder).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::Occupied(path.to_owned()));
        }
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Others who are quicker than this line meet `admit`.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Whether the peer may speak at all, and its process.
///
/// # Errors
/// [`PeerError`], for the log: the peer only sees a closed connection.
pub fn admit(stream: &UnixStream) -> Result<i32, PeerError> {
    let peer = getsockopt(stream, sockopt::PeerCredentials).map_err(io::Error::from)?;
    let ours = Uid::effective().as_raw();
    if peer.uid() == 0 && ours != 0 {
        return Ok(peer.pid());
    }
    if peer.uid() != ours {
        return Err(PeerError::User { ours, theirs: peer.uid() });
    }
    let pinned = pin(stream)?;
    let pid = match &pinned {
        Some(pidfd) => pid_of(pidfd)?,
        None => peer.pid(),
    };
    let theirs = fs::read_link(format!("/proc/{pid}/ns/user"))?;
    if pinned.is_some_and(|pidfd| has_ended(&pidfd)) {
        return Err(PeerError::Gone);
    }
    if theirs != fs::read_link("/proc/self/ns/user")? {
        return Err(PeerError::Namespace { pid, theirs: theirs.display().to_string() });
    }
    Ok(pid)
}

/// A descriptor of the peer's process, where the kernel has SO_PEERPIDFD (6.5): while it isn't
/// signalled, the process id belongs to the peer and to nobody who came after it.
fn pin(stream: &UnixStream) -> Result<Option<OwnedFd>, PeerError> {
    match getsockopt(stream, sockopt::PeerPidfd) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::ENOPROTOOPT) => Ok(None),
        Err(Errno::ESRCH | Errno::ENODATA) => Err(PeerError::Gone),
        Err(errno) => Err(PeerError::Unknown(errno.into())),
    }
}

/// proc_pid_fdinfo(5): `Pid:` is the process in our PID namespace; 0 outside of it, -1 once ended.
fn pid_of(pidfd: &OwnedFd) -> Result<i32, PeerError> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
    pid.filter(|&pid| pid > 0).ok_or(PeerError::Gone)
}

/// A pidfd becomes readable when its process ends (pidfd_open(2)). What can't be asked has ended.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut ask = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut ask, PollTimeout::ZERO), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_socket_is_replaced() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run/control.sock");
        drop(listen(&path).unwrap());
        drop(listen(&path).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&path), Err(SocketError::Occupied(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_bound_is_told() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(103)));
        assert!(matches!(listen(&path), Err(SocketError::TooLong(_))));
    }

    #[tokio::test]
    async fn we_ourselves_are_admitted() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(admit(&one).unwrap(), std::process::id().cast_signed());
    }
}
