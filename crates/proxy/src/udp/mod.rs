//! The program's datagrams, DNS apart: to the outside of the mesh each flow goes on from a socket of the host's, and
//! its answers come back as if from where it was sent. To the mesh none go: the program gets an error, and people a line.
//! Without TPROXY the kernel refuses them all (`capture/src/netlink/rules.rs`), and nothing of this runs.

mod flows;
mod judge;
mod lines;
mod log;
mod packet;

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::SystemTime;

use nix::sys::socket::{MsgFlags, recv, send};
use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::Instant;

use crate::data::Data;
use crate::datagram;
use crate::limits::{ACCEPT_PAUSE, UDP_DATAGRAM_BYTES, UDP_TURN};
use crate::metrics::{Gauged, count, count_many};
use crate::sockets::SocketSource;
use flows::{Ends, Flows};
use judge::Refusal;
use lines::Lines;
use packet::{HEADROOM, Way};

/// The sockets of one family.
pub struct Sockets {
    /// Where datagrams arrive, each with its original destination.
    pub captured: std::net::UdpSocket,
    /// Sends whole IP packets to the program.
    pub answers: OwnedFd,
}

/// Another handle of the raw socket that is of the family of `address`, if there is one.
pub(crate) fn answers_like(sockets: &[Sockets], address: SocketAddr) -> io::Result<Option<Socket>> {
    for Sockets { captured, answers } in sockets {
        if captured.local_addr()?.is_ipv4() == address.is_ipv4() {
            return Ok(Some(answers.try_clone()?.into()));
        }
    }
    Ok(None)
}

/// Sends the program one datagram, by a raw socket, as if from the first of these to the other.
pub(crate) fn answer(answers: &Socket, bytes: &[u8], (from, to): (SocketAddr, SocketAddr)) -> io::Result<()> {
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(bytes);
    let packet = Way::new(from, to).and_then(|way| packet::datagram(&mut buffer, bytes.len(), way));
    let packet = packet.ok_or_else(|| io::Error::other("a datagram that can't be"))?;
    answers.send_to(packet, &at(to)).map(drop)
}

/// Carries one family's datagrams until the proxy drains.
pub(crate) async fn serve(data: Rc<Data>, captured: UdpSocket, answers: OwnedFd) {
    let open = data.drain.open();
    let relay = Rc::new(Relay {
        data: data.clone(),
        answers: answers.into(),
        flows: RefCell::new(Flows::new()),
        added: Notify::new(),
        lines: RefCell::default(),
        buffer: RefCell::default(),
    });
    tokio::select! {
        () = relay.take(&captured) => {}
        () = relay.sweep() => {}
        () = data.drain.begun() => {}
    }
    while let Some(kept) = relay.take_oldest() {
        relay.end(kept);
    }
    drop(open);
}

/// What the flows of one family share.
struct Relay {
    data: Rc<Data>,
    /// A raw socket in the program's namespace.
    answers: Socket,
    flows: RefCell<Flows<Kept>>,
    /// Told when there is a flow that may become idle.
    added: Notify,
    lines: RefCell<Lines>,
    /// One datagram at a time, with room for its headers. Empty while there is no flow.
    buffer: RefCell<Vec<u8>>,
}

/// One flow.
struct Flow {
    ends: Ends,
    /// Connected to the destination.
    outside: UdpSocket,
    start: SystemTime,
    began: Instant,
    sent: Cell<u64>,
    received: Cell<u64>,
}

/// A flow that is open, and the task that waits for its answers.
struct Kept {
    flow: Rc<Flow>,
    answering: JoinHandle<()>,
}

impl Relay {
    /// Takes the program's datagrams. Between turns others have theirs.
    async fn take(self: &Rc<Self>, captured: &UdpSocket) {
        loop {
            if let Err(error) = captured.async_io(Interest::READABLE, || self.take_some(captured)).await {
                tracing::warn!(%error, "receiving datagrams failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            yield_now().await;
        }
    }

    fn take_some(self: &Rc<Self>, captured: &UdpSocket) -> io::Result<()> {
        let mut buffer = self.buffer();
        turn(|| {
            let received = datagram::receive(captured, &mut buffer)?;
            if let Some(destination) = received.to {
                self.take_one(Ends { source: received.from, destination }, &buffer[..received.length]);
            }
            Ok(())
        })
    }

    fn take_one(self: &Rc<Self>, ends: Ends, bytes: &[u8]) {
        let now = Instant::now();
        let found = self.flows.borrow_mut().find(ends, now).map(|kept| kept.flow.clone());
        match found.map_or_else(|| self.open(ends, now), Ok) {
            Ok(flow) => self.send(&flow, bytes),
            Err(NoFlow::Refused(refusal)) => self.refuse(ends, bytes.len(), refusal),
            Err(NoFlow::Failed(error)) => {
                count(&self.data.metrics.process.udp.dropped);
                tracing::debug!(source = %ends.source, destination = %ends.destination, %error, "no flow of datagrams");
                self.tell(ends, bytes.len(), &error);
            }
        }
    }

    fn open(self: &Rc<Self>, ends: Ends, now: Instant) -> Result<Rc<Flow>, NoFlow> {
        let SocketSource::Maker(maker) = &self.data.sockets else { return Err(NoFlow::Refused(Refusal::Loopback)) };
        let target = judge::target(ends, &self.data.addresses, maker.forwarded()).map_err(NoFlow::Refused)?;
        let outside = match connected(target) {
            // No more files may be open: an older flow gives way.
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                self.take_oldest().into_iter().for_each(|kept| self.end(kept));
                connected(target)
            }
            made => made,
        };
        let outside = outside.map_err(NoFlow::Failed)?;
        let (sent, received) = Default::default();
        let flow = Rc::new(Flow { ends, outside, start: SystemTime::now(), began: now, sent, received });
        let answering = spawn_local(self.clone().answer(flow.clone()));
        let gone = self.flows.borrow_mut().add(ends, Kept { flow: flow.clone(), answering }, now);
        if let Some(kept) = gone {
            self.end(kept);
        }
        self.data.report.touch();
        self.added.notify_one();
        Ok(flow)
    }

    /// Never waits: what doesn't go is lost, as it may be on any network.
    fn send(&self, flow: &Flow, bytes: &[u8]) {
        let udp = &self.data.metrics.process.udp;
        match send(flow.outside.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => {
                count(&udp.sent);
                count_many(&udp.sent_bytes, bytes.len() as u64);
                count_many(&flow.sent, bytes.len() as u64);
            }
            Err(errno) => {
                count(&udp.dropped);
                self.tell(flow.ends, bytes.len(), &errno.into());
            }
        }
    }

    /// Brings a flow's answers to the program until it is aborted.
    async fn answer(self: Rc<Self>, flow: Rc<Flow>) {
        let _gauged = Gauged::new(&self.data.metrics.process.udp.flows);
        // An error alone doesn't make a socket readable.
        let interest = Interest::READABLE | Interest::ERROR;
        loop {
            if let Err(error) = flow.outside.async_io(interest, || self.answer_some(&flow)).await {
                self.tell(flow.ends, 0, &error);
            }
            yield_now().await;
        }
    }

    fn answer_some(&self, flow: &Flow) -> io::Result<()> {
        let mut buffer = self.buffer();
        turn(|| {
            let length = recv(flow.outside.as_raw_fd(), &mut buffer[HEADROOM..], MsgFlags::MSG_DONTWAIT)?;
            self.flows.borrow_mut().find(flow.ends, Instant::now());
            self.answer_one(flow, &mut buffer, length);
            Ok(())
        })
    }

    fn answer_one(&self, flow: &Flow, buffer: &mut [u8], length: usize) {
        let udp = &self.data.metrics.process.udp;
        let way = Way::new(flow.ends.destination, flow.ends.source);
        let packet = way.and_then(|way| packet::datagram(buffer, length, way));
        match packet.map(|packet| self.answers.send_to(packet, &at(flow.ends.source))) {
            Some(Ok(_)) => {
                count(&udp.received);
                count_many(&udp.received_bytes, length as u64);
                count_many(&flow.received, length as u64);
            }
            Some(Err(_)) | None => count(&udp.dropped),
        }
    }

    /// Tells the program what became of a datagram of `length` bytes, if that is more than a loss.
    fn tell(&self, ends: Ends, length: usize, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied => self.tell_unreachable(ends, length),
            _ => {}
        }
    }

    fn tell_unreachable(&self, ends: Ends, length: usize) {
        let way = Way::new(ends.source, ends.destination);
        if let Some(packet) = way.and_then(|way| packet::unreachable(way, length)) {
            // It is a courtesy: the datagram is lost either way.
            let _lost = self.answers.send_to(&packet, &at(ends.source));
        }
    }

    fn refuse(&self, ends: Ends, length: usize, refusal: Refusal) {
        count(&self.data.metrics.process.udp.refused);
        self.tell_unreachable(ends, length);
        if self.lines.borrow_mut().take(ends.destination, Instant::now()) {
            self.data.report.touch();
            spawn_local(log::refused(self.data.clone(), ends, length, refusal));
        }
    }

    /// Ends flows that nobody uses.
    async fn sweep(&self) {
        loop {
            let next = self.flows.borrow().next_idle();
            match next {
                None => {
                    self.buffer.take();
                    self.added.notified().await;
                }
                Some(next) => tokio::time::sleep_until(next).await,
            }
            while let Some(kept) = self.take_idle() {
                self.end(kept);
            }
        }
    }

    fn buffer(&self) -> RefMut<'_, Vec<u8>> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.resize(HEADROOM + UDP_DATAGRAM_BYTES, 0);
        buffer
    }

    fn take_idle(&self) -> Option<Kept> {
        self.flows.borrow_mut().take_idle(Instant::now())
    }

    fn take_oldest(&self) -> Option<Kept> {
        self.flows.borrow_mut().take_oldest()
    }

    fn end(&self, Kept { flow, answering }: Kept) {
        answering.abort();
        let bytes = (flow.sent.get(), flow.received.get());
        log::ended(&self.data, flow.ends, (flow.start, flow.began.elapsed()), bytes);
    }
}

/// Why a datagram goes nowhere.
enum NoFlow {
    Refused(Refusal),
    Failed(io::Error),
}

/// Does `one` until there is nothing more to do, but not for longer than a turn.
fn turn(mut one: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    one()?;
    for _ in 1..UDP_TURN {
        match one() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            done => done?,
        }
    }
    Ok(())
}

/// A socket of the host's that takes datagrams from nobody else.
fn connected(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(target)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Where a raw socket sends: for IPv6 a port would name a protocol.
fn at(to: SocketAddr) -> socket2::SockAddr {
    SocketAddr::new(to.ip(), 0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_have_their_turn_though_more_waits() {
        let mut done = 0;
        turn(|| {
            done += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(done, UDP_TURN);
    }
}
