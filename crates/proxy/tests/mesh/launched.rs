//! A proxy as the launcher starts it: told by its bootstrap, with inherited sockets, a socket maker
//! and a control plane.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{Notify, mpsc};
use weft_mesh::record::Trust;
use weft_proxy::serve::{self, Channels};
use weft_proxy::{config, control, limits};
use weft_wire::bootstrap::{Bootstrap, ControlAddress, InheritedSockets, Names, Redirection};
use weft_wire::proto::envoy::service::discovery::v3 as xds;
use weft_wire::record::{DESTINATION_TYPE, INBOUND_TYPE, Record, TRUST_TYPE};

use crate::fakes::{Control, TOKEN, shared_udp, socket_maker};
use crate::harness::*;

/// The program of `api` is at 127.0.0.1; its own address is another of loopback, at which nobody
/// listens, so that both are tried.
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

struct Launched {
    control: Control,
    trust: Trust,
    mesh: SocketAddr,
    dns: SocketAddr,
    ready: std::fs::File,
    stop: Arc<Notify>,
    threads: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Launched {
    fn start(mesh: Mesh, host_address: IpAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control");
        let trust = mesh.trust();
        let control = Control::start(mesh, &socket);
        let dns = shared_udp("0.0.0.0:0".parse().unwrap());
        let (ready, tell_ready) = nix::unistd::pipe().unwrap();
        let at = SocketAddr::new("127.0.0.9".parse().unwrap(), dns.local_addr().unwrap().port());
        let bootstrap = Bootstrap {
            workload: "default/api".to_owned(),
            identity: id("api").to_string(),
            addresses: vec![OWN],
            host_address,
            control: ControlAddress { socket, token: TOKEN.to_owned() },
            sockets: InheritedSockets {
                outbound: vec![TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd()],
                redirection: Redirection::Tproxy,
                dns: vec![dns.into_raw_fd()],
                datagrams: Vec::new(),
                maker: socket_maker().into_raw_fd(),
                ready: tell_ready.into_raw_fd(),
            },
            names: Names {
                namespace: "default".to_owned(),
                suffix: "svc.cluster.local".to_owned(),
                upstream: Vec::new(),
            },
            publish: Vec::new(),
            forward: Vec::new(),
        };
        let (config, control_config) = config::from_bootstrap(bootstrap).unwrap();
        let (told, updates) = mpsc::channel(limits::UPDATES);
        let (orders, asked) = mpsc::unbounded_channel();
        let stop = Arc::new(Notify::new());
        let (reports, signals) = weft_proxy::report::channel();
        let channels = Channels { updates, orders, signals, stop: stop.clone() };
        let threads = vec![
            control::spawn(control_config, (told, asked), reports).unwrap(),
            std::thread::spawn(move || serve::run(config, channels).unwrap()),
        ];
        let mesh = SocketAddr::new(host_address, 15008);
        Self { control, trust, mesh, dns: at, ready: ready.into(), stop, threads, _folder: folder }
    }

    /// Answers the first requests, and waits until the proxy says that it serves.
    fn begin(&mut self) {
        self.control.wait(|r| r.type_url == INBOUND_TYPE && r.resource_names_subscribe == ["default/api"]);
        self.control.wait(|r| r.type_url == TRUST_TYPE);
        self.control.send(&[Record::Trust(self.trust.clone())], &[]);
        self.control.send(&[Record::Inbound(inbound("api", OWN, Vec::new()))], &[]);
        self.ready.read_exact(&mut [0]).unwrap();
    }
}

/// A host address at which no other test listens, in this process or in another one: the ports are fixed.
/// A process's number has 22 bits at most.
fn host_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id() << 2 | NEXT.fetch_add(1, Ordering::Relaxed) & 3;
    Ipv4Addr::from_bits(127 << 24 | own & 0xff_ffff).into()
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.stop.notify_one();
        for thread in self.threads.drain(..) {
            assert!(std::thread::panicking() || thread.join().is_ok());
        }
    }
}

#[test]
fn a_launched_proxy_serves_its_program() {
    let (listener, port) = program();
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let host_address = host_address();
    mesh.registry.put(service("api", &[(OWN, Tunnel::Mesh(SocketAddr::new(host_address, 15008)))]));
    let web = mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    let mut api = Launched::start(mesh, host_address);
    api.begin();
    // More than one batch of sockets.
    for round in 0..40u8 {
        let mut caller = web.connect();
        let mut called = accept(&listener);
        caller.write_all(&[round]).unwrap();
        let mut got = [99];
        called.read_exact(&mut got).unwrap();
        assert_eq!(got, [round]);
        assert_eq!(called.peer_addr().unwrap().ip(), caller.local_addr().unwrap().ip());
    }
    // Whoever isn't of the mesh doesn't get in.
    let stranger = other.proxy("web", CALLER, SocketAddr::new(SERVICE, port));
    other.registry.put(service("api", &[(OWN, Tunnel::Mesh(api.mesh))]));
    assert!(is_reset(&mut stranger.connect()));
}

#[test]
fn records_are_acknowledged_refused_and_reconciled() {
    let mut api = Launched::start(Mesh::new(), host_address());
    api.begin();
    api.control.wait(|r| r.response_nonce == INBOUND_TYPE && r.error_detail.is_none());
    // A record that can't be understood is refused by name, and nothing else happens.
    let any = prost_types::Any { type_url: INBOUND_TYPE.to_owned(), value: vec![0xff; 9] };
    let broken = xds::Resource { name: "default/api".to_owned(), resource: Some(any), ..Default::default() };
    let nonce = "broken".to_owned();
    let type_url = INBOUND_TYPE.to_owned();
    api.control.respond(xds::DeltaDiscoveryResponse { resources: vec![broken], type_url, nonce, ..Default::default() });
    let nack = api.control.wait(|r| r.response_nonce == "broken");
    assert!(nack.error_detail.unwrap().message.contains("default/api"));

    let asked = std::thread::spawn({
        let at = api.dns;
        move || crate::dns::ask_at(at, "pay.default.svc.cluster.local", simple_dns::TYPE::A)
    });
    let host = "pay.default.svc.cluster.local";
    api.control.wait(|r| r.resource_names_subscribe == [host]);
    api.control.send(&[Record::Destination(service("pay", &[]))], &[]);
    asked.join().unwrap();

    // A new stream begins with what is known, so that only changes are sent.
    api.control.hang_up();
    let again = api.control.wait(|r| r.type_url == DESTINATION_TYPE && !r.resource_names_subscribe.is_empty());
    assert_eq!(again.resource_names_subscribe, [host]);
    assert_eq!(again.initial_resource_versions.get(host).map(String::as_str), Some("1"));
    let again = api.control.wait(|r| r.type_url == INBOUND_TYPE);
    assert_eq!(again.initial_resource_versions.get("default/api").map(String::as_str), Some("1"));
    api.control.send(&[], &[host]);
    // Without TPROXY, the socket that answered first takes what comes to its address: ask others.
    let unknown = (10..250).any(|n| {
        let another = SocketAddr::new(IpAddr::from([127, 0, 0, n]), api.dns.port());
        let answer = crate::dns::ask_at(another, host, simple_dns::TYPE::A);
        simple_dns::Packet::parse(&answer).unwrap().rcode() == simple_dns::RCODE::NameError
    });
    assert!(unknown);
}
