//! Questions with the address that was asked, and answers that come from it. A client drops an
//! answer from any other address.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::data::Data;
use crate::limits::{DNS_DATAGRAM_BYTES, DNS_REPLY_SOCKETS};
use crate::sockets::SocketSource;
use crate::{datagram, udp};

/// How answers go to the program.
pub(super) struct Replies {
    /// A raw socket: it answers from any address, also from one that the program itself has bound.
    raw: Option<Socket>,
    /// Where there is none: sockets to answer from, the newest last.
    bound: RefCell<VecDeque<(SocketAddr, Rc<UdpSocket>)>>,
}

impl Replies {
    pub(super) fn new(raw: Option<Socket>) -> Self {
        Self { raw, bound: RefCell::default() }
    }

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
        if let Some(raw) = &self.raw {
            return udp::answer(raw, answer, (asked, from));
        }
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
        self.bound.borrow().iter().find(|(address, _)| *address == asked).map(|(_, socket)| socket.clone())
    }

    fn keep(&self, asked: SocketAddr, socket: Rc<UdpSocket>) {
        let mut kept = self.bound.borrow_mut();
        if kept.len() == DNS_REPLY_SOCKETS {
            kept.pop_front();
        }
        kept.push_back((asked, socket));
    }
}

/// The next datagram, who sent it, and the address that was asked, if the kernel tells it.
pub(super) async fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr, Option<SocketAddr>)> {
    let mut bytes = [0; DNS_DATAGRAM_BYTES];
    let received = socket.async_io(Interest::READABLE, || datagram::receive(socket, &mut bytes)).await?;
    Ok((bytes[..received.length].to_vec(), received.from, received.to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_socket_gives_way() {
        let replies = Replies::new(None);
        let asked = |n: usize| SocketAddr::from(([10, 0, 0, n as u8], 53));
        let mut sockets = Vec::new();
        for n in 0..=DNS_REPLY_SOCKETS {
            let socket = Rc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
            sockets.push(Rc::downgrade(&socket));
            replies.keep(asked(n), socket);
        }
        assert!(replies.kept(asked(0)).is_none() && sockets[0].upgrade().is_none(), "it is closed");
        assert!((1..=DNS_REPLY_SOCKETS).all(|n| replies.kept(asked(n)).is_some()));
    }
}
