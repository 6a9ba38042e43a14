//! A packet capture of the loopback device, kept as what each direction of each TCP connection
//! carried, so that the demo can look for a payload where an eavesdropper would.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// One direction of one connection: from where to where.
pub(super) type Flow = (SocketAddr, SocketAddr);

/// A capture that runs until it is dropped.
pub(super) struct Sniffer {
    flows: Arc<Mutex<BTreeMap<Flow, Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Captures from now on. Needs CAP_NET_RAW over this network namespace.
    ///
    /// # Errors
    /// When the kernel gives no packet socket.
    pub(super) fn start() -> io::Result<Self> {
        let every_protocol = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(every_protocol))?;
        socket.set_read_timeout(Some(LOOK_UP_INTERVAL))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        let flows = Arc::new(Mutex::new(BTreeMap::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (flows, stop) = (Arc::clone(&flows), Arc::clone(&stop));
            move || {
                let mut packet = vec![0; MAX_PACKET_BYTES];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(length) = socket.read(&mut packet) {
                        keep(&packet[..length], &flows);
                    }
                }
            }
        });
        Ok(Self { flows, stop, thread: Some(thread) })
    }

    /// What was seen so far on flows that `select` picks.
    pub(super) fn seen(&self, select: impl Fn(&Flow) -> bool) -> Vec<(Flow, Vec<u8>)> {
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.iter().filter(|(flow, _)| select(flow)).map(|(flow, bytes)| (*flow, bytes.clone())).collect()
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A capture that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn keep(packet: &[u8], flows: &Mutex<BTreeMap<Flow, Vec<u8>>>) {
    let Some((flow, payload)) = tcp(packet) else { return };
    if payload.is_empty() {
        return;
    }
    let mut flows = flows.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = flows.entry(flow).or_default();
    if kept.len() < MAX_FLOW_BYTES {
        kept.extend_from_slice(payload);
    }
}

/// The flow and the payload of an Ethernet frame that holds TCP over IPv4 (RFC 791, RFC 9293).
/// Proxies find each other by IPv4 addresses on one machine.
fn tcp(frame: &[u8]) -> Option<(Flow, &[u8])> {
    let ip = frame.get(ETHERNET_HEADER_BYTES..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    if ip[0] >> 4 != 4 || *ip.get(9)? != 6 {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let segment = ip.get(header..total.min(ip.len()))?;
    let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let port = |at: usize| Some(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?]));
    let from = SocketAddr::new(address(12)?, port(0)?);
    let to = SocketAddr::new(address(16)?, port(2)?);
    let data = usize::from(segment.get(12)? >> 4) * 4;
    Some(((from, to), segment.get(data..)?))
}

const ETHERNET_HEADER_BYTES: usize = 14;
/// Loopback carries segments of up to 64 KiB.
const MAX_PACKET_BYTES: usize = 1 << 17;
/// A demo moves kilobytes; a flow that carries more is cut, and its start is what matters.
const MAX_FLOW_BYTES: usize = 4 << 20;
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_gives_flow_and_payload() {
        let mut frame = vec![0; 14];
        frame.extend([0x45, 0, 0, 43, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
        frame.extend([0x1f, 0x90, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(b"abc");
        frame.extend(b"padding");
        let flow = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.2:80".parse().unwrap());
        assert_eq!(tcp(&frame), Some((flow, &b"abc"[..])));
        for end in 0..frame.len() {
            let _ = tcp(&frame[..end]);
        }
        frame[14] = 0x60;
        assert_eq!(tcp(&frame), None);
    }
}
