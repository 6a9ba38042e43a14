//! Datagrams with the address that was asked, and answers that come from it. A client drops an
//! answer from any other address.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::data::Data;
use crate::limits::{DNS_DATAGRAM_BYTES, DNS_REPLY_SOCKETS};
use crate::sockets::SocketSource;

/// Sockets to answer from, the most recently used last.
#[derive(Default)]
pub(super) struct Replies(RefCell<VecDeque<(SocketAddr, Rc<UdpSocket>)>>);

impl Replies {
    /// Sends `answer` to `from`, as if from the address that was `asked`.
    pub(super) async fn send(
        &self,
        data: &Data,
        received: &UdpSocket,
        answer: &[u8],
        (from, asked): (SocketAddr, Option<SocketAddr>),
    ) -> io::Result<()> {
        let (SocketSource::Maker(maker), Some(asked)) = (&data.sockets, asked) else {
            return received.send_to(answer, from).await.map(drop);
        };
        let kept = self.kept(asked);
        let socket = match kept {
            Some(socket) => socket,
            None => {
                let socket = std::net::UdpSocket::from(maker.dns_reply(asked).await?);
                socket.set_nonblocking(true)?;
                let socket = Rc::new(UdpSocket::from_std(socket)?);
                self.keep(asked, socket.clone());
                socket
            }
        };
        socket.send_to(answer, from).await.map(drop)
    }

    fn kept(&self, asked: SocketAddr) -> Option<Rc<UdpSocket>> {
        self.0.borrow().iter().find(|(address, _)| *address == asked).map(|(_, socket)| socket.clone())
    }

    fn keep(&self, asked: SocketAddr, socket: Rc<UdpSocket>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() == DNS_REPLY_SOCKETS {
            kept.pop_front();
        }
        kept.push_back((asked, socket));
    }
}

/// Has the kernel tell each datagram's original destination.
pub(super) fn tell_destinations(socket: &UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv4() {
        setsockopt(socket, sockopt::Ipv4OrigDstAddr, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv6OrigDstAddr, &true)?;
    }
    Ok(())
}

/// The next datagram, who sent it, and the address that was asked, if the kernel tells it.
pub(super) async fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr, Option<SocketAddr>)> {
    socket.async_io(Interest::READABLE, || receive_now(socket)).await
}

fn receive_now(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr, Option<SocketAddr>)> {
    let mut bytes = [0; DNS_DATAGRAM_BYTES];
    let mut control = nix::cmsg_space!(libc::sockaddr_in6);
    let mut iov = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut iov, Some(&mut control), MsgFlags::empty())?;
    let from = message.address.as_ref().and_then(address).ok_or_else(|| io::Error::other("a datagram from nobody"))?;
    let asked = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4OrigDstAddr(found) => address(&SockaddrStorage::from(nix_v4(found))),
        ControlMessageOwned::Ipv6OrigDstAddr(found) => address(&SockaddrStorage::from(nix_v6(found))),
        _ => None,
    });
    let length = message.bytes;
    Ok((bytes[..length].to_vec(), from, asked))
}

fn nix_v4(found: libc::sockaddr_in) -> std::net::SocketAddrV4 {
    let ip = u32::from_be(found.sin_addr.s_addr).into();
    std::net::SocketAddrV4::new(ip, u16::from_be(found.sin_port))
}

fn nix_v6(found: libc::sockaddr_in6) -> std::net::SocketAddrV6 {
    let ip = found.sin6_addr.s6_addr.into();
    std::net::SocketAddrV6::new(ip, u16::from_be(found.sin6_port), 0, found.sin6_scope_id)
}

fn address(found: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = found.as_sockaddr_in().map(|a| SocketAddr::from((a.ip(), a.port())));
    v4.or_else(|| found.as_sockaddr_in6().map(|a| SocketAddr::from((a.ip(), a.port()))))
}
