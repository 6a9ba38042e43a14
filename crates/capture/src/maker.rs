//! The socket maker: makes sockets inside the workload's network namespace for the proxy outside, which
//! connects them itself. The requests are [`weft_wire::maker`]'s.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::{SfdFlags, SigSet, SignalFd};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};
use weft_wire::maker::{ANSWER, Family, Request};

use crate::channel::send_packet;
use crate::sys;

/// Serves until PID 1 has ended; when the proxy's end is closed, only waits for that.
pub(crate) fn serve(requests: &OwnedFd, init: Pid) -> i32 {
    match serve_until(requests, init) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn serve_until(requests: &OwnedFd, init: Pid) -> Result<(), Errno> {
    // All of them are blocked already; see `sys::spawn`.
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    nix::fcntl::fcntl(requests, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    let mut turn = Turn::Request;
    loop {
        let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match &turn {
            Turn::Request => watched.push(PollFd::new(requests.as_fd(), PollFlags::POLLIN)),
            Turn::Answer(_) => watched.push(PollFd::new(requests.as_fd(), PollFlags::POLLOUT)),
            Turn::Nobody => {}
        }
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if watched[0].any() == Some(true) && has_ended(&signals, init)? {
            return Ok(());
        }
        if watched.get(1).and_then(PollFd::any) == Some(true) {
            turn = turn.take(requests);
        }
    }
}

/// What the maker waits for. An answer may have to wait: a proxy that doesn't read must not keep the maker
/// from seeing the program's end.
enum Turn {
    /// A request.
    Request,
    /// Room for this answer.
    Answer(Vec<OwnedFd>),
    /// The proxy's end is closed.
    Nobody,
}

impl Turn {
    fn take(self, requests: &OwnedFd) -> Self {
        let made = match self {
            Self::Answer(made) => made,
            Self::Nobody => return Self::Nobody,
            Self::Request => {
                let mut packet = [0; 64];
                match recv(requests.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                    Ok(0) => return Self::Nobody,
                    // No sockets tell that making failed, or that this was no request.
                    Ok(length) => {
                        Request::decode(&packet[..length]).ok().and_then(|r| make(r).ok()).unwrap_or_default()
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => return Self::Request,
                    Err(_) => return Self::Nobody,
                }
            }
        };
        let numbers: Vec<RawFd> = made.iter().map(AsRawFd::as_raw_fd).collect();
        match send_packet(requests.as_fd(), &[ANSWER], &numbers) {
            // ETOOMANYREFS: more descriptors are on their way than the user may have open.
            Err(Errno::EAGAIN | Errno::ETOOMANYREFS) => Self::Answer(made),
            Err(_) => Self::Nobody,
            Ok(()) => Self::Request,
        }
    }
}

fn make(request: Request) -> io::Result<Vec<OwnedFd>> {
    match request {
        Request::Streams(family, count) => (0..count).map(|_| stream(family)).collect(),
        Request::DnsReply(from) => Ok(vec![dns_reply(from)?]),
    }
}

/// Unconnected; it can be bound to a caller's address.
fn stream(family: Family) -> io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // As the listeners' connections: urgent bytes of the program are read in their place.
    socket.set_out_of_band_inline(true)?;
    stand_for_any(&socket, family)?;
    Ok(socket.into())
}

/// Bound to the address that was asked: a client drops answers from elsewhere. Several may be bound to one
/// address; queries still go to the DNS listener, to which the rules steer them.
fn dns_reply(from: SocketAddr) -> io::Result<OwnedFd> {
    let family = if from.is_ipv6() { Family::V6 } else { Family::V4 };
    let socket = Socket::new(Domain::for_address(from), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    stand_for_any(&socket, family)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    socket.bind(&from.into())?;
    Ok(socket.into())
}

fn stand_for_any(socket: &Socket, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => socket.set_freebind_v4(true),
        Family::V6 => socket.set_freebind_v6(true),
    }
}

/// Whether PID 1 has ended. All signals are taken in: realtime ones that a process group is sent would queue up here.
fn has_ended(signals: &SignalFd, init: Pid) -> Result<bool, Errno> {
    while signals.read_signal()?.is_some() {}
    loop {
        match sys::ended_child() {
            Ok(Some((pid, _))) if pid == init => return Ok(true),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(false),
            Err(Errno::ECHILD) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}
