//! Where a program wanted to go, whose connection was taken on its way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::TcpStream;

use crate::config::OriginalDestination;

/// The address that the program connected to.
///
/// # Errors
/// The system's, when the socket doesn't know.
pub(crate) fn destination(socket: &TcpStream, original: OriginalDestination) -> io::Result<SocketAddr> {
    match original {
        OriginalDestination::Fixed(destination) => Ok(destination),
        OriginalDestination::LocalAddress => socket.local_addr().map(canonical),
        OriginalDestination::Tracked => {
            let fd = socket.as_fd();
            if let Ok(found) = getsockopt(&fd, sockopt::OriginalDst) {
                let ip = u32::from_be(found.sin_addr.s_addr).into();
                return Ok(SocketAddr::new(IpAddr::V4(ip), u16::from_be(found.sin_port)));
            }
            let found = getsockopt(&fd, sockopt::Ip6tOriginalDst)?;
            let ip = found.sin6_addr.s6_addr.into();
            Ok(canonical(SocketAddr::new(IpAddr::V6(ip), u16::from_be(found.sin6_port))))
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
