//! A pair of connected sockets that carry one [`Message`] a packet, with descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recvmsg,
    sendmsg, setsockopt, socketpair,
};
use nix::unistd::Pid;

use crate::message::Message;
use crate::sys;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// A message and what came with it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) message: Message,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Who sent it, as this process's PID namespace numbers it; the kernel says so, not the sender.
    pub(crate) sender: Option<Pid>,
}

/// A pair of raw ends, for packets of another kind.
pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// Sends bytes and descriptors as one packet.
pub(crate) fn send_packet(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[RawFd]) -> Result<(), Errno> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights };
    let bytes = [IoSlice::new(bytes)];
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &bytes, rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Waits for a packet and returns the descriptors that came with it; none when the other end is closed.
pub(crate) fn receive_packet(socket: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut bytes = [0; 1];
    receive(socket, &mut bytes, MsgFlags::empty()).map(|received| received.descriptors)
}

/// What came in one packet.
#[derive(Default)]
struct Received {
    /// 0: the other end is closed.
    length: usize,
    descriptors: Vec<OwnedFd>,
    sender: Option<Pid>,
}

fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8], flags: MsgFlags) -> Result<Received, Errno> {
    let mut control = cmsg_space!([RawFd; MAX_DESCRIPTORS], UnixCredentials);
    let mut buffer = [IoSliceMut::new(bytes)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let packet = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut buffer, Some(&mut control), flags) {
            // ECONNRESET is told once, when the other end closed before it had read all: what it sent is still here.
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            other => break other?,
        }
    };
    let mut received = Received { length: packet.bytes, ..Received::default() };
    // There is room for all descriptors that come: if some were cut off, no more files may be open here.
    for control in packet.cmsgs().map_err(|_| Errno::EMFILE)? {
        match control {
            ControlMessageOwned::ScmCredentials(sender) => received.sender = Some(Pid::from_raw(sender.pid())),
            other => received.descriptors.extend(sys::adopt(&other)),
        }
    }
    Ok(received)
}

impl Channel {
    /// The launcher's end, which learns who sends, and the other.
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let (here, there) = socket_pair()?;
        setsockopt(&here, PassCred, &true)?;
        Ok((Self(here), Self(there)))
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: &Message) -> Result<(), Errno> {
        self.send_with(message, &[])
    }

    /// Sends a message with descriptors, of which the receiver gets copies.
    pub(crate) fn send_with(&self, message: &Message, descriptors: &[RawFd]) -> Result<(), Errno> {
        send_packet(self.0.as_fd(), &message.encode(), descriptors)
    }

    /// Waits for a message. `None`: the other end is closed.
    pub(crate) fn receive(&self) -> Result<Option<Packet>, Errno> {
        self.receive_flagged(MsgFlags::empty())
    }

    /// A message that is there already, else EAGAIN.
    pub(crate) fn try_receive(&self) -> Result<Option<Packet>, Errno> {
        self.receive_flagged(MsgFlags::MSG_DONTWAIT)
    }

    fn receive_flagged(&self, flags: MsgFlags) -> Result<Option<Packet>, Errno> {
        let mut bytes = [0; 4096];
        let Received { length, descriptors, sender } = receive(self.0.as_fd(), &mut bytes, flags)?;
        if length == 0 {
            return Ok(None);
        }
        Message::decode(&bytes[..length]).map(|message| Some(Packet { message, descriptors, sender }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Four sockets for each of two families, or four namespaces.
const MAX_DESCRIPTORS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_who_has_not_read_all_is_heard() {
        let (launcher, init) = Channel::pair().unwrap();
        launcher.send(&Message::Signal(15, None)).unwrap();
        init.send(&Message::Ended(15)).unwrap();
        drop(init);
        assert_eq!(launcher.receive().unwrap().map(|packet| packet.message), Some(Message::Ended(15)));
        assert!(launcher.receive().unwrap().is_none());
    }

    #[test]
    fn a_message_with_too_many_descriptors_is_refused_and_the_next_is_heard() {
        let (launcher, init) = Channel::pair().unwrap();
        let send = |count| init.send_with(&Message::Ended(15), &vec![init.as_fd().as_raw_fd(); count]).unwrap();
        send(MAX_DESCRIPTORS);
        assert_eq!(launcher.receive().unwrap().map(|packet| packet.descriptors.len()), Some(MAX_DESCRIPTORS));
        send(2 * MAX_DESCRIPTORS);
        assert_eq!(launcher.receive().unwrap_err(), Errno::EMFILE);
        send(1);
        assert_eq!(launcher.receive().unwrap().map(|packet| packet.descriptors.len()), Some(1));
    }
}
