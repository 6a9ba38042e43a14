//! A folder with certificates, files for a pair of proxies, and programs on a loopback address. All that
//! is started is ended by its own pid.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use serde_json::{Value, json};

const PROXY: &str = env!("CARGO_BIN_EXE_weft-proxy");

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where the calling proxy takes calls to the service's port 80.
pub(crate) const DOOR: u16 = 9001;
pub(crate) const MESH: u16 = 9002;
pub(crate) const PUBLISHED: u16 = 9003;
pub(crate) const CLIENT_ADMIN: u16 = 9004;
pub(crate) const SERVER_ADMIN: u16 = 9005;
pub(crate) const PROGRAM: u16 = 9006;

pub(crate) struct Rig {
    pub(crate) folder: tempfile::TempDir,
    /// A loopback address at which no other test listens, in this process or in another one: the ports are fixed.
    pub(crate) host: Ipv4Addr,
}

impl Rig {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let own = std::process::id() << 6 | NEXT.fetch_add(1, Ordering::Relaxed) & 63;
        Self { folder, host: Ipv4Addr::from_bits(127 << 24 | own & 0xff_ffff) }
    }

    pub(crate) fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }

    /// What the calling proxy is told.
    pub(crate) fn client(&self) -> Value {
        json!({
            "workload": "default/client",
            "identity": id("client"),
            "certificate": {"chain": "client.crt", "key": "client.key"},
            "trust": {"anchors": "ca.crt"},
            "outbound": [{"listen": self.at(DOOR), "destination": "server.default.svc.cluster.local:80"}],
            "admin": self.at(CLIENT_ADMIN),
            "destinations": [{
                "host": "server.default.svc.cluster.local",
                "addresses": ["240.240.0.9"],
                "ports": [{"port": 80, "target": 8080, "protocol": "tcp"}],
                "endpoints": [{
                    "workload": "default/server",
                    "address": "240.240.1.9",
                    "identity": id("server"),
                    "tunnel": {"mesh": self.at(MESH)},
                }],
            }],
        })
    }

    /// What the called proxy is told: STRICT, and only the client's identity is admitted.
    pub(crate) fn server(&self) -> Value {
        json!({
            "workload": "default/server",
            "identity": id("server"),
            "certificate": {"chain": "server.crt", "key": "server.key"},
            "trust": {"domain": "cluster.local", "anchors": "ca.crt"},
            "addresses": ["240.240.1.9"],
            "mesh": self.at(MESH),
            "admin": self.at(SERVER_ADMIN),
            "published": [{"listen": self.at(PUBLISHED), "port": 8080}],
            "programs": {"8080": self.at(PROGRAM)},
            "accessLog": "access.log",
            "inbound": {
                "service": "server",
                "ports": [{"port": 8080, "protocol": "tcp"}],
                "peerAuthentication": {"mode": "STRICT"},
                "policies": [{
                    "name": "default/only-client",
                    "action": "ALLOW",
                    "rules": [{"from": [{"principals": ["cluster.local/ns/default/sa/client"]}]}],
                }],
            },
        })
    }

    pub(crate) fn write(&self, name: &str, file: &Value) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, file.to_string()).unwrap();
        path
    }

    /// A proxy that serves, seen at its admin port.
    pub(crate) fn proxy(&self, name: &str, file: &Value) -> Running {
        self.proxy_by(Command::new(PROXY), (name, file))
    }

    /// A proxy that may have so many descriptors. What it says goes to NAME.log.
    pub(crate) fn proxy_of(&self, descriptors: u32, (name, file): (&str, &Value)) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""), PROXY]);
        command.stderr(std::fs::File::create(self.folder.path().join(format!("{name}.log"))).unwrap());
        self.proxy_by(command, (name, file))
    }

    fn proxy_by(&self, mut command: Command, (name, file): (&str, &Value)) -> Running {
        let path = self.write(name, file);
        // Another working folder: paths in the file are relative to the file.
        command.arg("--records").arg(path).current_dir("/").env("WEFT_LOG", "warn");
        let running = Running(command.spawn().unwrap());
        let admin = file["admin"].as_str().unwrap().to_owned();
        wait(|| curl(&[&format!("http://{admin}/ready")]).is_some_and(|page| page == "ready\n"));
        running
    }

    /// python3's web server at the program's port, with `hello` in its folder.
    pub(crate) fn program(&self) -> Running {
        let site = self.folder.path().join("site");
        std::fs::create_dir_all(&site).unwrap();
        std::fs::write(site.join("hello"), "hello from the server").unwrap();
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", &self.host.to_string(), "--directory"]).arg(site);
        command.arg(PROGRAM.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running(command.spawn().unwrap());
        wait(|| TcpStream::connect((self.host, PROGRAM)).is_ok());
        running
    }

    pub(crate) fn through_the_pair(&self) -> Option<String> {
        curl(&[&format!("http://{}/hello", self.at(DOOR))])
    }

    pub(crate) fn metrics(&self, admin: u16) -> String {
        curl(&[&format!("http://{}/metrics", self.at(admin))]).unwrap()
    }

    /// The first line of the server's access log that `wanted` accepts, waited for.
    pub(crate) fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        wait(|| {
            let text = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            found = lines.find(|line| wanted(line));
            found.is_some()
        });
        found.unwrap()
    }
}

/// A process that ends with the test.
pub(crate) struct Running(Child);

impl Running {
    /// Asks it to end, and says how it ended.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.0.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The proxy's answer to a file or command line that it refuses.
pub(crate) fn refused(words: &[&Path]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weft-proxy"))
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status: child.wait().unwrap(), stdout, stderr }
}

/// What curl got with a status below 400; `None` for anything else.
pub(crate) fn curl(words: &[&str]) -> Option<String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--noproxy", "*", "--max-time", "60"]).args(words);
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

pub(crate) fn wait(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it didn't come about within {} s", PATIENCE.as_secs());
        std::thread::yield_now();
    }
}

pub(crate) fn id(account: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/{account}")
}

/// ca.crt, and NAME.crt and NAME.key of each account.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for name in ["client", "server", "stranger", "weft", "ztunnel"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id(name).try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.crt")), leaf.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
