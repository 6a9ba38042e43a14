//! Where sockets towards the program come from: the socket maker inside its network namespace, or
//! the host itself. Knows neither policy nor the mesh protocol.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use socket2::{SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream, UnixDatagram};
use tokio::sync::Mutex;
use weft_wire::maker::{ANSWER, Family, MAX_BATCH, Request};

use crate::config::{INBOUND_PORT, MESH_PORT, OUTBOUND_PORT};
use crate::fds;
use crate::limits::{PROGRAM_CONNECT, SOCKET_BATCH, SOCKET_REFILL};
use crate::range;

/// Where sockets come from.
pub(crate) enum SocketSource {
    /// Made inside the program's network namespace.
    Maker(Rc<Maker>),
    /// Plain sockets of the host: for a proxy run from a file. Ports that aren't named are loopback's.
    Host(BTreeMap<u16, SocketAddr>),
    /// Plain sockets of the pod, which the proxy shares with the program.
    Pod,
}

impl SocketSource {
    /// Connects to the program's port: at the workload's address first, then 127.0.0.1, then ::1. In a
    /// pod only at the address that was called: what listens on loopback alone is not meant for others,
    /// and they couldn't reach it without a mesh either. The program sees `caller`'s address, where the
    /// sockets allow it.
    ///
    /// # Errors
    /// The last address's error, or `TimedOut`.
    pub(crate) async fn connect(
        &self,
        addresses: &[IpAddr],
        called: SocketAddr,
        caller: IpAddr,
    ) -> io::Result<TcpStream> {
        let port = called.port();
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let at = |ip: &IpAddr| SocketAddr::new(*ip, port);
        let candidates: Vec<SocketAddr> = match self {
            // A forwarded port of its loopback is the host's: nobody of the mesh was meant to get there.
            Self::Maker(maker) if maker.forwarded.contains(&port) => addresses.iter().map(at).collect(),
            Self::Maker(_) => addresses.iter().chain(&loopback).map(at).collect(),
            Self::Host(programs) => match programs.get(&port) {
                Some(program) => vec![*program],
                None => loopback.iter().map(at).collect(),
            },
            // The proxy calls nothing but itself there.
            Self::Pod if PROXY_PORTS.contains(&port) => Vec::new(),
            Self::Pod => vec![called],
        };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let connecting = async {
            for to in candidates {
                match self.connect_one(to, caller).await {
                    Ok(stream) => return Ok(stream),
                    // It accepted, and has ended the connection since.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(error),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        match tokio::time::timeout(PROGRAM_CONNECT, connecting).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn connect_one(&self, to: SocketAddr, caller: IpAddr) -> io::Result<TcpStream> {
        let stream = match self {
            Self::Maker(maker) => {
                let socket = Socket::from(maker.stream(family(to)).await?);
                if let Some(caller) = range::in_family_of(to.ip(), caller) {
                    socket.bind(&SockAddr::from(SocketAddr::new(caller, 0)))?;
                }
                TcpSocket::from_std_stream(socket.into()).connect(to).await?
            }
            Self::Host(_) | Self::Pod => TcpStream::connect(to).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The socket maker's client. Sockets are asked for in batches, ahead of need.
pub(crate) struct Maker {
    /// Packets both ways: `SOCK_SEQPACKET` behaves as connected datagrams do.
    channel: UnixDatagram,
    /// One request at a time: answers come in the order of the requests.
    asking: Mutex<()>,
    /// Ports of the program's loopback that are the host's.
    forwarded: BTreeSet<u16>,
    v4: Stock,
    v6: Stock,
}

#[derive(Default)]
struct Stock {
    ready: RefCell<VecDeque<OwnedFd>>,
    refilling: Cell<bool>,
}

impl Maker {
    /// Speaks with the socket maker at the other end of `channel`.
    ///
    /// # Errors
    /// When the descriptor can't be watched.
    pub(crate) fn new(channel: OwnedFd, forwarded: BTreeSet<u16>) -> io::Result<Self> {
        let channel = std::os::unix::net::UnixDatagram::from(channel);
        channel.set_nonblocking(true)?;
        let channel = UnixDatagram::from_std(channel)?;
        Ok(Self { channel, asking: Mutex::new(()), forwarded, v4: Stock::default(), v6: Stock::default() })
    }

    /// Ports of the program's loopback that are the host's.
    pub(crate) fn forwarded(&self) -> &BTreeSet<u16> {
        &self.forwarded
    }

    /// A UDP socket bound to `address` inside the namespace.
    ///
    /// # Errors
    /// When the socket maker is gone or couldn't make one.
    pub(crate) async fn dns_reply(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let mut made = self.ask(Request::DnsReply(address)).await?;
        made.pop().ok_or_else(none_made)
    }

    async fn stream(self: &Rc<Self>, family: Family) -> io::Result<OwnedFd> {
        let taken = self.stock(family).ready.borrow_mut().pop_front();
        if self.stock(family).ready.borrow().len() < SOCKET_REFILL && !self.stock(family).refilling.replace(true) {
            let maker = self.clone();
            tokio::task::spawn_local(async move {
                if let Err(error) = maker.refill(family).await {
                    tracing::warn!(%error, "no sockets from the socket maker");
                }
                maker.stock(family).refilling.set(false);
            });
        }
        if let Some(socket) = taken {
            return Ok(socket);
        }
        self.refill(family).await?;
        let refilled = self.stock(family).ready.borrow_mut().pop_front();
        refilled.ok_or_else(none_made)
    }

    async fn refill(&self, family: Family) -> io::Result<()> {
        let asking = self.asking.lock().await;
        if self.stock(family).ready.borrow().len() < SOCKET_REFILL {
            let made = self.exchange(Request::Streams(family, SOCKET_BATCH)).await?;
            self.stock(family).ready.borrow_mut().extend(made);
        }
        drop(asking);
        Ok(())
    }

    fn stock(&self, family: Family) -> &Stock {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    async fn ask(&self, request: Request) -> io::Result<Vec<OwnedFd>> {
        let _asking = self.asking.lock().await;
        self.exchange(request).await
    }

    /// Answers bear no number: one that a dead proxy had asked for before this one, or a caller that went away while it
    /// waited, may come first. Sockets of another kind than was asked for tell, and are dropped.
    async fn exchange(&self, request: Request) -> io::Result<Vec<OwnedFd>> {
        self.channel.send(&request.encode()).await?;
        loop {
            let made = self.channel.async_io(Interest::READABLE, || receive(&self.channel)).await?;
            if made.iter().all(|socket| answers(request, socket)) {
                return Ok(made);
            }
        }
    }
}

/// Whether it is what the request asks for.
fn answers(request: Request, socket: &OwnedFd) -> bool {
    let socket = SockRef::from(socket);
    let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    let own = socket.local_addr().ok().and_then(|own| own.as_socket());
    match request {
        Request::Streams(asked, _) => is_stream && own.is_some_and(|own| family(own) == asked),
        Request::DnsReply(asked) => !is_stream && own == Some(asked),
    }
}

fn receive(channel: &UnixDatagram) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0; 1];
    let mut control = nix::cmsg_space!([i32; MAX_BATCH as usize]);
    let mut iov = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(channel.as_raw_fd(), &mut iov, Some(&mut control), flags)?;
    let mut made = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            for number in numbers {
                made.push(fds::own(number)?);
            }
        }
    }
    let bytes = message.bytes;
    if bytes == 0 || byte != [ANSWER] {
        return Err(io::Error::other("the socket maker has ended"));
    }
    Ok(made)
}

/// The proxy's ports in a pod, those of probes and metrics aside.
const PROXY_PORTS: [u16; 3] = [OUTBOUND_PORT, INBOUND_PORT, MESH_PORT];

fn family(address: SocketAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

fn none_made() -> io::Error {
    io::Error::other("the socket maker made no socket")
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use nix::sys::socket::{AddressFamily, ControlMessage, SockFlag, SockType, recv, sendmsg, socketpair};
    use socket2::Domain;
    use tokio::task::LocalSet;

    use super::*;

    fn channel() -> (OwnedFd, OwnedFd) {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        pair.unwrap()
    }

    fn give(channel: &OwnedFd, family: Family, count: u8) {
        let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM, None).unwrap();
        let rights = vec![socket.as_raw_fd(); count.into()];
        let (iov, rights) = ([IoSlice::new(&[ANSWER])], [ControlMessage::ScmRights(&rights)]);
        sendmsg::<()>(channel.as_raw_fd(), &iov, &rights, MsgFlags::empty(), None).unwrap();
    }

    /// Answers requests with as many sockets as are asked for. Ends with all that were asked.
    fn answer(channel: &OwnedFd) -> Vec<Request> {
        let mut asked = Vec::new();
        let mut packet = [0; 64];
        loop {
            let length = recv(channel.as_raw_fd(), &mut packet, MsgFlags::empty()).unwrap();
            let Ok(request) = Request::decode(&packet[..length]) else { return asked };
            asked.push(request);
            let Request::Streams(family, count) = request else { panic!("{request:?}") };
            give(channel, family, count);
        }
    }

    #[tokio::test]
    async fn sockets_are_asked_for_in_batches_before_none_is_left() {
        let (ours, theirs) = channel();
        let answering = std::thread::spawn(move || answer(&theirs));
        let using = async {
            let maker = Rc::new(Maker::new(ours, BTreeSet::new()).unwrap());
            let left = || maker.v4.ready.borrow().len();
            while left() != 6 {
                maker.stream(Family::V4).await.unwrap();
            }
            maker.refill(Family::V4).await.unwrap();
            assert_eq!(left(), 6, "they suffice");
            maker.stream(Family::V4).await.unwrap();
            maker.refill(Family::V4).await.unwrap();
            assert_eq!(left(), 5 + 16);
        };
        LocalSet::new().run_until(using).await;
        assert_eq!(answering.join().unwrap(), [Request::Streams(Family::V4, 16); 2]);
    }

    #[tokio::test]
    async fn what_a_dead_proxy_had_asked_for_is_no_answer() {
        let (ours, theirs) = channel();
        give(&theirs, Family::V4, 16);
        let answering = std::thread::spawn(move || answer(&theirs));
        let using = async {
            let maker = Rc::new(Maker::new(ours, BTreeSet::new()).unwrap());
            for asked in [Family::V6, Family::V4, Family::V6] {
                let socket = Socket::from(maker.stream(asked).await.unwrap());
                let own = socket.local_addr().unwrap().as_socket().unwrap();
                assert_eq!(family(own), asked);
            }
        };
        LocalSet::new().run_until(using).await;
        let asked = [Request::Streams(Family::V6, 16), Request::Streams(Family::V4, 16)];
        assert_eq!(answering.join().unwrap(), asked);
    }
}
