//! Connections to the program that wait for their next exchange, by the caller whose address the
//! program sees and by port. Few and not for long: programs close idle connections when they like.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use weft_http::head::Fields;

use crate::limits::{IDLE_PROGRAMS, PROGRAM_IDLE};

/// The waiting connections of one data thread.
#[derive(Default)]
pub(crate) struct Programs {
    idle: RefCell<HashMap<(IpAddr, u16), Vec<Waiting>>>,
    count: Cell<usize>,
}

/// A connection, and since when it waits.
type Waiting = (TcpStream, Instant);

impl Programs {
    /// The connection that waits for the shortest time, and lives as far as the kernel knows.
    pub(super) fn take(&self, caller: IpAddr, port: u16) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&(caller, port))?;
        while let Some((mut socket, since)) = waiting.pop() {
            self.count.set(self.count.get() - 1);
            let waited = since.elapsed();
            if waited < PROGRAM_IDLE && is_quiet(&mut socket, waited) {
                return Some(socket);
            }
        }
        None
    }

    /// Keeps a connection whose last exchange ended cleanly.
    pub(super) fn give_back(&self, caller: IpAddr, port: u16, socket: TcpStream) {
        if self.count.get() < IDLE_PROGRAMS {
            self.count.set(self.count.get() + 1);
            self.idle.borrow_mut().entry((caller, port)).or_default().push((socket, Instant::now()));
        }
    }

    /// Closes what has waited too long. Returns whether any are left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut left = 0;
        self.idle.borrow_mut().retain(|_, waiting| {
            waiting.retain(|(_, since)| now.saturating_duration_since(*since) < PROGRAM_IDLE);
            left += waiting.len();
            !waiting.is_empty()
        });
        self.count.set(left);
        left > 0
    }
}

/// What a program remembers of a connection, beyond its exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bond {
    /// Nothing, as HTTP has it.
    None,
    /// Whose it is: two schemes authenticate the connection and not the request (RFC 4559, 6). Another user's request
    /// on it would be served as this one's.
    User,
}

impl Bond {
    /// What a request with these fields makes of its connection.
    pub(super) fn of(fields: &Fields<'_>) -> Self {
        let binds = |value: &[u8]| {
            let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            [&b"negotiate"[..], b"ntlm"].iter().any(|name| scheme.eq_ignore_ascii_case(name))
        };
        if fields.values("authorization").any(binds) { Self::User } else { Self::None }
    }
}

/// Whether nothing has arrived where nothing should. What has waited for more than a turn of the
/// loop may have an end that the loop hasn't heard of: then the kernel is asked.
fn is_quiet(socket: &mut TcpStream, waited: Duration) -> bool {
    let mut byte = [0];
    let mut cx = Context::from_waker(Waker::noop());
    if Pin::new(&mut *socket).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_ready() {
        return false;
    }
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    waited < ASKED_AFTER || recv(socket.as_raw_fd(), &mut byte, flags) == Err(nix::errno::Errno::EAGAIN)
}

const ASKED_AFTER: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn one_beyond_the_bound_is_closed() {
        let listener = TcpListener::bind((CALLER, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let programs = Programs { count: Cell::new(IDLE_PROGRAMS - 1), ..Programs::default() };
        for _ in 0..2 {
            programs.give_back(CALLER, at.port(), TcpStream::connect(at).await.unwrap());
        }
        let kept = programs.take(CALLER, at.port());
        assert!(kept.is_some() && programs.take(CALLER, at.port()).is_none());
        let (_first, mut second) = (listener.accept().await.unwrap(), listener.accept().await.unwrap().0);
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
        programs.give_back(CALLER, at.port(), TcpStream::connect(at).await.unwrap());
        assert!(programs.take(CALLER, at.port()).is_some(), "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_too_long_is_not_used() {
        let listener = TcpListener::bind((CALLER, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let programs = Programs::default();
        for (waited, is_left) in [(PROGRAM_IDLE - Duration::from_millis(1), true), (PROGRAM_IDLE, false)] {
            programs.give_back(CALLER, at.port(), TcpStream::connect(at).await.unwrap());
            tokio::time::advance(waited).await;
            assert_eq!(programs.take(CALLER, at.port()).is_some(), is_left);
            programs.give_back(CALLER, at.port(), TcpStream::connect(at).await.unwrap());
            tokio::time::advance(waited).await;
            assert_eq!(programs.sweep(Instant::now()), is_left);
        }
    }
}
