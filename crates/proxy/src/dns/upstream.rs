//! The host's own name servers: a question is passed on as it is, and so is the answer. A truncated
//! one tells the client to ask over TCP, which is passed on over TCP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket};

use crate::limits::{DNS_DATAGRAM_BYTES, DNS_UPSTREAM};

/// How a question came, and how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// UDP.
    Datagram,
    /// TCP.
    Stream,
}

/// Asks one name server after another. `None`: none answered.
pub(super) async fn ask(servers: &[SocketAddr], query: &[u8], over: Over) -> Option<Vec<u8>> {
    if query.len() < HEADER_BYTES {
        return None;
    }
    for server in servers {
        let asking = async {
            match over {
                Over::Datagram => by_datagram(*server, query).await,
                Over::Stream => by_stream(*server, query).await,
            }
        };
        match tokio::time::timeout(DNS_UPSTREAM, asking).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "a name server doesn't answer"),
            Err(_) => tracing::debug!(%server, "a name server doesn't answer in time"),
        }
    }
    None
}

/// A message with its length before it (RFC 7766, section 8).
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&message[..usize::from(length)]);
    framed
}

async fn by_datagram(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; DNS_DATAGRAM_BYTES];
    // A refusal alone doesn't make a socket readable.
    let interest = Interest::READABLE | Interest::ERROR;
    loop {
        let received = || Ok(recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?);
        let length = socket.async_io(interest, received).await?;
        // Whoever guesses our port must guess the question's id as well.
        if length >= HEADER_BYTES && answer[..2] == query[..2] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn by_stream(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(server).await?;
    socket.write_all(&framed(query)).await?;
    let length = socket.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    socket.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The header of every message (RFC 1035, section 4.1.1).
const HEADER_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_refusal_is_heard_at_once() {
        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(60), by_datagram(nobody, &[0; HEADER_BYTES])).await;
        assert_eq!(asked.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
