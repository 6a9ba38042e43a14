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
            let found = tracked(socket)?;
            // Whoever calls the proxy itself would be carried to it again, and again.
            if found == canonical(socket.local_addr()?) {
                return Err(io::Error::other("it was to the proxy itself, and not redirected"));
            }
            Ok(found)
        }
    }
}

fn tracked(socket: &TcpStream) -> io::Result<SocketAddr> {
    let fd = socket.as_fd();
    // A socket of IPv6 may have taken a caller of IPv4, which was tracked as such.
    if socket.local_addr()?.ip().to_canonical().is_ipv4() {
        let found = getsockopt(&fd, sockopt::OriginalDst)?;
        let ip = u32::from_be(found.sin_addr.s_addr).into();
        return Ok(SocketAddr::new(IpAddr::V4(ip), u16::from_be(found.sin_port)));
    }
    let found = getsockopt(&fd, sockopt::Ip6tOriginalDst)?;
    let ip = found.sin6_addr.s6_addr.into();
    Ok(canonical(SocketAddr::new(IpAddr::V6(ip), u16::from_be(found.sin6_port))))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
