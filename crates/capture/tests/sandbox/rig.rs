//! What the cases share: a plan, a program's output, a proxy that accepts and answers, waits.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, send};
use tempfile::TempDir;
use weft_capture::{Ended, InheritedSignals, Plan, Program, ResolvConf, Sandbox, prepare};
use weft_wire::maker::{ANSWER, Request};

pub(crate) const OWN: [&str; 2] = ["240.240.0.7", "fd77:6566:7400::7"];
pub(crate) const PEER: [&str; 2] = ["240.240.9.9", "fd77:6566:7400::99"];
pub(crate) const NAMESERVER: &str = "240.240.0.53";
pub(crate) const PYTHON: &str = "/usr/bin/python3";
/// How long a wait for an event may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A plan whose program writes what it says into a file.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) plan: Plan,
}

impl Scene {
    pub(crate) fn new(argv: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        let script = format!("exec \"$@\" >{} 2>&1", output.display());
        let argv = ["/bin/sh", "-c", script.as_str(), "sh"].iter().chain(argv).map(Into::into).collect();
        let plan = Plan {
            addresses: OWN.iter().map(|ip| ip.parse().unwrap()).collect(),
            nameservers: vec![NAMESERVER.parse().unwrap()],
            search: vec!["default.svc.cluster.local".into()],
            host_resolv: ResolvConf { search: vec!["lan".into()], ..ResolvConf::default() },
            hide: Vec::new(),
            forward: Vec::new(),
            redirection: None,
            program: Program { argv, user: None, signals: InheritedSignals::of_this_process() },
        };
        Self { folder, plan }
    }

    pub(crate) fn python(code: &str, arguments: &[&str]) -> Self {
        Self::new(&[&[PYTHON, "-c", code], arguments].concat())
    }

    pub(crate) fn prepare(&self) -> Sandbox {
        let sandbox = prepare(&self.plan).unwrap_or_else(|error| panic!("{error}; {:?}", error.hint()));
        for note in &sandbox.notes {
            println!("note: {note}");
        }
        sandbox
    }

    /// Runs to the end without a proxy; how it ended and what it said.
    pub(crate) fn run(&self) -> (Ended, String) {
        let mut program = self.prepare().program.start().unwrap();
        (program.wait().unwrap(), self.output())
    }

    /// Runs to the end beside a proxy.
    pub(crate) fn run_with_proxy(&self) -> (String, Vec<Accepted>) {
        let Sandbox { outbound, program, .. } = self.prepare();
        let accepted = serve(outbound);
        let ended = program.start().unwrap().wait().unwrap();
        let output = self.output();
        assert_eq!(ended, Ended::Code(0), "{output}");
        (output, accepted.try_iter().collect())
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// Waits until the program has said a line that begins so; the rest of it.
    pub(crate) fn said(&self, beginning: &str) -> String {
        let mut found = None;
        wait_until(beginning, || {
            let output = self.output();
            let whole = output.rfind('\n').map_or("", |end| &output[..end]);
            found = whole.lines().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A connection that reached the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// SO_ORIGINAL_DST, where addresses are translated.
    pub(crate) translated_from: Option<SocketAddr>,
}

/// A proxy that answers each connection by itself, in HTTP/1.1.
pub(crate) fn serve(listeners: Vec<OwnedFd>) -> Receiver<Accepted> {
    let (tell, told) = channel();
    for listener in listeners.into_iter().map(TcpListener::from) {
        listener.set_nonblocking(false).unwrap();
        let tell = tell.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // The case may have ended.
                let _ = tell.send(accepted(&stream));
                answer(stream);
            }
        });
    }
    told
}

fn accepted(stream: &TcpStream) -> Accepted {
    let socket = socket2::SockRef::from(stream);
    let translated_from = socket.original_dst_v4().ok().and_then(|address| address.as_socket());
    Accepted { local: stream.local_addr().unwrap(), peer: stream.peer_addr().unwrap(), translated_from }
}

fn answer(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    if stream.read(&mut buffer).is_ok() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(format!("{head}proxy\n").as_bytes());
    }
}

/// A query at the DNS listener: its bytes, who asked, and whom.
pub(crate) fn receive_query(dns: &[OwnedFd]) -> (usize, Vec<u8>, SocketAddr, Option<SocketAddr>) {
    let mut watched: Vec<PollFd<'_>> = dns.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    assert_ne!(poll(&mut watched, PollTimeout::try_from(PATIENCE).unwrap()).unwrap(), 0, "no query came");
    let index = watched.iter().position(|fd| fd.any() == Some(true)).unwrap();
    let mut bytes = [0; 2048];
    let mut control = nix::cmsg_space!(libc::sockaddr_in6, libc::sockaddr_in6);
    let mut buffer = [std::io::IoSliceMut::new(&mut bytes)];
    let received = recvmsg::<nix::sys::socket::SockaddrStorage>(
        dns[index].as_raw_fd(),
        &mut buffer,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .unwrap();
    let asked = received.cmsgs().unwrap().find_map(|control| match control {
        ControlMessageOwned::Ipv4OrigDstAddr(address) => {
            let ip = IpAddr::from(address.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip, u16::from_be(address.sin_port)))
        }
        ControlMessageOwned::Ipv6OrigDstAddr(address) => {
            Some(SocketAddr::new(address.sin6_addr.s6_addr.into(), u16::from_be(address.sin6_port)))
        }
        _ => None,
    });
    let from = received.address.unwrap();
    let from = from.as_sockaddr_in().map_or_else(
        || SocketAddr::from(std::net::SocketAddrV6::from(*from.as_sockaddr_in6().unwrap())),
        |v4| SocketAddr::from(std::net::SocketAddrV4::from(*v4)),
    );
    let length = received.bytes;
    (index, bytes[..length].to_vec(), from, asked)
}

/// An answer to a DNS query (RFC 1035): one A record, or none for another type.
pub(crate) fn dns_answer(query: &[u8], ip: [u8; 4]) -> (String, Vec<u8>) {
    let (mut name, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let question = &query[12..at + 5];
    let is_a = query[at + 1..at + 3] == [0, 1];
    let mut answer = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0], question].concat();
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        answer.extend(ip);
    }
    (name.join("."), answer)
}

/// An IP packet with a UDP datagram (RFC 768).
pub(crate) fn datagram(from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + bytes.len()).unwrap();
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let addresses = [octets(from.ip()), octets(to.ip())].concat();
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes(), length.to_be_bytes()].concat();
    let words = [addresses.as_slice(), &length.to_be_bytes(), &[0, 17], &ports, bytes].concat();
    let sum: u32 =
        words.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low))).sum();
    let checksum = !u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap();
    let header = if from.is_ipv4() {
        [&[0x45, 0][..], &(20 + length).to_be_bytes(), &[0, 0, 0, 0, 64, 17, 0, 0]].concat()
    } else {
        [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[17, 64]].concat()
    };
    [header, addresses, ports, checksum.to_be_bytes().to_vec(), bytes.to_vec()].concat()
}

/// Asks the socket maker.
#[allow(unsafe_code, reason = "received descriptors are numbers")]
pub(crate) fn make(maker: &OwnedFd, request: Request) -> Vec<OwnedFd> {
    send(maker.as_raw_fd(), &request.encode(), MsgFlags::empty()).unwrap();
    let mut bytes = [0; 8];
    let mut control = nix::cmsg_space!([RawFd; 64]);
    let mut buffer = [std::io::IoSliceMut::new(&mut bytes)];
    let received =
        recvmsg::<()>(maker.as_raw_fd(), &mut buffer, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let numbers: Vec<RawFd> = received
        .cmsgs()
        .unwrap()
        .flat_map(|control| match control {
            ControlMessageOwned::ScmRights(numbers) => numbers,
            other => panic!("{other:?}"),
        })
        .collect();
    let length = received.bytes;
    assert_eq!(bytes[..length], [ANSWER]);
    // SAFETY: the kernel has just made these descriptors for this process, and they are adopted once.
    let adopt = |number: &RawFd| unsafe { OwnedFd::from_raw_fd(*number) };
    numbers.iter().map(adopt).collect()
}

/// Waits for something that happens in another process, with [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

pub(crate) fn socket(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}
