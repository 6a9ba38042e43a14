//! Datagrams of the program with the address that they were meant for. Knows nothing of what is in them.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use tokio::net::UdpSocket;

/// What was received, apart from its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) length: usize,
    /// Who sent it.
    pub(crate) from: SocketAddr,
    /// To whom, if the kernel tells it.
    pub(crate) to: Option<SocketAddr>,
}

/// Has the kernel tell each datagram's original destination.
pub(crate) fn tell_destinations(socket: &UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv4() {
        setsockopt(socket, sockopt::Ipv4OrigDstAddr, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv6OrigDstAddr, &true)?;
    }
    Ok(())
}

/// The next datagram; what doesn't fit into `bytes` is lost. Never waits.
pub(crate) fn receive(socket: &UdpSocket, bytes: &mut [u8]) -> io::Result<Received> {
    let mut control = nix::cmsg_space!(libc::sockaddr_in6);
    let mut iov = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut iov, Some(&mut control), flags)?;
    let from = message.address.as_ref().and_then(address).ok_or_else(|| io::Error::other("a datagram from nobody"))?;
    let to = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4OrigDstAddr(found) => Some(v4(found).into()),
        ControlMessageOwned::Ipv6OrigDstAddr(found) => Some(v6(found).into()),
        _ => None,
    });
    Ok(Received { length: message.bytes, from, to })
}

fn v4(found: libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(u32::from_be(found.sin_addr.s_addr).into(), u16::from_be(found.sin_port))
}

fn v6(found: libc::sockaddr_in6) -> SocketAddrV6 {
    SocketAddrV6::new(found.sin6_addr.s6_addr.into(), u16::from_be(found.sin6_port), 0, 0)
}

fn address(found: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = found.as_sockaddr_in().map(|a| SocketAddr::from((a.ip(), a.port())));
    v4.or_else(|| found.as_sockaddr_in6().map(|a| SocketAddr::from((a.ip(), a.port()))))
}
