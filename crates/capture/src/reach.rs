//! A socket made inside a running sandbox, for a launcher that wants to know whether its program can be called.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use socket2::{Domain, Protocol, Socket, Type};
use weft_wire::maker::Family;

use crate::channel::{receive_packet, send_packet, socket_pair};
use crate::error::{CaptureError, Failure, Step};
use crate::namespace::errno_of;
use crate::namespaces::Namespaces;
use crate::sys::{self, NoProcess};

/// An unconnected TCP socket of the sandbox's network, non-blocking. The caller must have one thread.
///
/// # Errors
/// [`CaptureError`], when the sandbox is gone or the kernel makes none.
pub fn socket_inside(namespaces: &Namespaces, family: Family) -> Result<OwnedFd, CaptureError> {
    let failed = |errno| Failure::new(Step::HandOver, errno, "");
    let (here, there) = socket_pair().map_err(failed)?;
    let child = sys::spawn(|| {
        let made = namespaces.enter_all_but_mounts().and_then(|()| make(family));
        let sent = made.and_then(|socket| send_packet(there.as_fd(), b"s", &[socket.as_raw_fd()]).map_err(failed));
        i32::from(sent.is_err())
    });
    let child = child.map_err(|reason| match reason {
        NoProcess::Threads(count) => CaptureError::Threads(count),
        NoProcess::Refused(errno) => Failure::new(Step::Fork, errno, "").into(),
    })?;
    drop(there);
    let received = receive_packet(here.as_fd()).map_err(failed);
    // ECHILD: this process lets the kernel reap its children.
    let _ = waitpid(child, None);
    received?.pop().ok_or_else(|| failed(Errno::ESRCH).into())
}

fn make(family: Family) -> Result<Socket, Failure> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP));
    socket.map_err(|error| Failure::new(Step::HandOver, errno_of(&error), "a socket"))
}
