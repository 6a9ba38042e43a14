//! The edge: sends requests and reads what the kernel answers.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use super::message::{Answer, Refusal, Request, answers};
use crate::sys;

/// A netlink socket in the network namespace where it was opened.
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens one; `protocol` is rtnetlink's or netfilter's.
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self, Errno> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // Kernels before 4.12 have neither: their errors come without words, and quote the request.
        let _ = sys::set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        let _ = sys::set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        Ok(Self(fd))
    }

    /// Sends requests in one packet and waits until each one that asked for it is acknowledged.
    pub(crate) fn exchange(&self, requests: &[Request]) -> Result<(), Refusal> {
        let packet: Vec<u8> = (0..).zip(requests).flat_map(|(sequence, request)| request.encode(sequence)).collect();
        let first = requests.first().map(|request| request.what.as_str()).unwrap_or_default();
        let here = |errno| Refusal { errno, detail: first.to_owned() };
        send(self.0.as_raw_fd(), &packet, MsgFlags::empty()).map_err(here)?;
        let answers = self.answers().map_err(here)?;
        if let Some(refused) = answers.iter().find(|answer| answer.errno != 0) {
            return Err(refusal(refused, requests));
        }
        let expected = requests.iter().filter(|request| request.flags & libc::NLM_F_ACK as u16 != 0).count();
        if answers.len() < expected {
            return Err(here(Errno::EPROTO));
        }
        Ok(())
    }

    /// All that is there: the kernel works on requests while they are sent, so nothing comes later.
    fn answers(&self) -> Result<Vec<Answer>, Errno> {
        let mut found = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => found.extend(answers(&buffer[..length])),
                Err(Errno::EAGAIN) => return Ok(found),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn refusal(answer: &Answer, requests: &[Request]) -> Refusal {
    let request = requests.get(answer.sequence as usize).map(|request| request.what.as_str()).unwrap_or_default();
    let words = answer.text.as_deref().filter(|text| !text.is_empty());
    let detail = words.map_or_else(|| request.to_owned(), |words| format!("{request}: {words}"));
    Refusal { errno: Errno::from_raw(answer.errno), detail }
}
