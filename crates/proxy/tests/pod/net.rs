//! A node with pods: namespaces joined by a bridge, dual stack. Dropping it removes them and ends
//! what was started in them.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use crate::skipped::skipped;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The user of the proxy, whose connections aren't redirected.
pub(crate) const PROXY_UID: u32 = 2102;
/// The machine that the pods are on, and whoever else is outside of the mesh.
pub(crate) const NODE: [&str; 2] = ["10.77.0.1", "fd77:77::1"];

/// An address that no mesh gives out, beyond the node.
pub(crate) const INTERNET: &str = "203.0.113.7";

pub(crate) struct Node {
    namespaces: Vec<String>,
    children: Vec<Child>,
}

/// Whether this scene can't be played here; why is told.
pub(crate) fn is_skipped() -> bool {
    let missing = ["ip", "nsenter", "curl", "python3"].iter().find(|program| {
        !Command::new("/bin/sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
    });
    match (nix::unistd::geteuid().is_root(), missing) {
        (true, None) => false,
        (false, _) => {
            skipped("network namespaces need root");
            true
        }
        (true, Some(program)) => {
            skipped(&format!("there is no {program}"));
            true
        }
    }
}

impl Node {
    /// A node whose pods have the addresses 10.77.0.10, .11 and so on.
    pub(crate) fn new(pods: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("weft-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let names = ["node"].iter().chain(pods).map(|name| format!("{prefix}-{name}"));
        let node = Self { namespaces: names.collect(), children: Vec::new() };
        for name in &node.namespaces {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        let here = &node.namespaces[0];
        ip(&["-n", here, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", here, "link", "set", "br0", "up"]);
        address(here, "br0", NODE);
        ip(&["-n", here, "addr", "add", &format!("{INTERNET}/32"), "dev", "lo"]);
        for (at, pod) in node.namespaces[1..].iter().enumerate() {
            let host = format!("v{at}");
            ip(&["link", "add", &host, "netns", here, "type", "veth", "peer", "name", "eth0", "netns", pod]);
            ip(&["-n", here, "link", "set", &host, "master", "br0", "up"]);
            ip(&["-n", pod, "link", "set", "eth0", "up"]);
            let [v4, v6] = addresses(at).map(|ip| ip.to_string());
            address(pod, "eth0", [&v4, &v6]);
            ip(&["-n", pod, "route", "add", "default", "via", NODE[0]]);
            ip(&["-n", pod, "-6", "route", "add", "default", "via", NODE[1]]);
        }
        node
    }

    /// A program in the namespace of a pod (its place from 0), or of the node.
    pub(crate) fn command(&self, place: Place, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace(place))).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Starts one, which ends with the node.
    pub(crate) fn start(&mut self, command: &mut Command) -> u32 {
        let child = command.process_group(0).spawn().unwrap();
        let id = child.id();
        self.children.push(child);
        id
    }

    /// Waits for one that was started to end; whether it ended well.
    pub(crate) fn ended(&mut self, id: u32) -> bool {
        let at = self.children.iter().position(|child| child.id() == id).unwrap();
        let mut child = self.children.remove(at);
        wait("the end of a process", || child.try_wait().unwrap().is_some());
        child.wait().unwrap().success()
    }

    /// What curl says, asked from there: its exit code, and the output.
    pub(crate) fn curl(&self, place: Place, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(place, "curl");
        let output = command.args(["-sS", "-m", "30", "--noproxy", "*"]).args(arguments).output().unwrap();
        (output.status.code(), text(&output))
    }

    /// Runs `body` on a thread of its own in a namespace.
    pub(crate) fn inside<T: Send>(&self, place: Place, body: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.namespace(place))).unwrap();
        let run = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            body()
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    /// Waits until somebody listens there.
    pub(crate) fn wait_listening(&self, place: Place, at: SocketAddr) {
        self.inside(place, || wait("a listener", || TcpStream::connect(at).is_ok()));
    }

    fn namespace(&self, place: Place) -> &str {
        match place {
            Place::Node => &self.namespaces[0],
            Place::Pod(at) => &self.namespaces[at + 1],
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Node,
    Pod(usize),
}

/// A pod's addresses.
pub(crate) fn addresses(at: usize) -> [IpAddr; 2] {
    [format!("10.77.0.{}", 10 + at).parse().unwrap(), format!("fd77:77::{}", 10 + at).parse().unwrap()]
}

/// Everything that a process has said.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} was waited for in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads a page of plain HTTP from this thread's namespace: its head and body.
pub(crate) fn page(at: SocketAddr, path: &str) -> String {
    use std::io::Write;
    let mut page = String::new();
    let mut socket = TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    socket.read_to_string(&mut page).unwrap();
    page
}

fn address(namespace: &str, link: &str, [v4, v6]: [&str; 2]) {
    ip(&["-n", namespace, "addr", "add", &format!("{v4}/24"), "dev", link]);
    ip(&["-n", namespace, "addr", "add", &format!("{v6}/64"), "dev", link, "nodad"]);
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", text(&output));
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ended = child.kill();
            let _ended = child.wait();
        }
        for name in &self.namespaces {
            let _gone = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}
