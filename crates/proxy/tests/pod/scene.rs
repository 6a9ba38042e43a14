//! What must hold in pods: who is captured, what is encrypted, who is refused, what goes on working.

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use weft_mesh::record::{
    AppProtocol, Destination, Endpoint, Inbound, MtlsMode, Peer, PeerAuthentication, Scoped, ServicePort, Tunnel,
    Undeclared,
};
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};

use crate::control::Control;
use crate::net::{NODE, Node, PROXY_UID, Place, addresses, is_skipped, page, wait};

pub(crate) const WEB: Place = Place::Pod(0);
pub(crate) const API: Place = Place::Pod(1);
pub(crate) const OUTSIDER: Place = Place::Pod(2);
/// The ClusterIPs of the service `api`.
pub(crate) const SERVICE: [&str; 2] = ["10.96.0.20", "fd77:96::20"];
/// The service's port, and the program's.
const PORT: u16 = 80;
pub(crate) const TARGET: u16 = 8080;

pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) control: Control,
    folder: tempfile::TempDir,
    proxies: [u32; 2],
}

impl Scene {
    /// The pods `web` and `api`, each with its proxy, and one that has none as yet.
    pub(crate) fn new(lifetime: Duration) -> Self {
        let node = Node::new(&["web", "api", "outsider"]);
        let inbounds = vec![inbound("web", "web", 0), inbound("api", "api", 1), inbound("api-2", "api", 2)];
        let destinations = vec![service(&[1]), pod("web", 0), pod("api", 1)];
        let tokens = [("token-of-web", id("web")), ("token-of-api", id("api"))];
        let control = Control::new(&tokens, lifetime, (inbounds, destinations));
        node.inside(Place::Node, || control.serve(control_address()));
        let folder = tempfile::Builder::new().prefix("weft-pod-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut scene = Self { node, control, folder, proxies: [0; 2] };
        scene.proxies = [("web", "web", 0), ("api", "api", 1)].map(|pod| scene.start_pod(pod));
        for (pod, at) in [(WEB, 0), (API, 1)] {
            scene.wait_ready(pod, at);
        }
        scene
    }

    fn wait_ready(&self, pod: Place, at: usize) {
        let admin = SocketAddr::new(addresses(at)[0], 15020);
        self.node.wait_listening(pod, admin);
        self.node.inside(pod, || wait("a proxy that is ready", || page(admin, "/ready").contains(" 200 ")));
    }

    fn start_pod(&mut self, (name, account, at): (&str, &str, usize)) -> u32 {
        let arguments = ["--proxy-uid=2102", "--outbound-port=15001", "--inbound-port=15006"].map(str::to_owned);
        let rules = weft_capture::pod::parse(&arguments).unwrap();
        self.node.inside(Place::Pod(at), || weft_capture::pod::capture(&rules).unwrap());
        self.start_proxy((name, account, at))
    }

    fn start_proxy(&mut self, pod: (&str, &str, usize)) -> u32 {
        self.start_proxy_with(pod, &[])
    }

    /// A proxy whose environment differs from what the injector writes.
    fn start_proxy_with(&mut self, (name, account, at): (&str, &str, usize), changed: &[(&str, &str)]) -> u32 {
        let token = self.folder.path().join(name);
        std::fs::write(&token, format!("token-of-{account}\n")).unwrap();
        let uid = PROXY_UID.to_string();
        let mut command = self.node.command(Place::Pod(at), "setpriv");
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--bounding-set=-all"]);
        command.args([env!("CARGO_BIN_EXE_weft-proxy"), "--kubernetes"]).env_clear().envs([
            ("WEFT_POD_NAME", name),
            ("WEFT_POD_NAMESPACE", "default"),
            ("WEFT_SERVICE_ACCOUNT", account),
            ("WEFT_TRUST_DOMAIN", "cluster.local"),
            ("WEFT_CONTROL_ADDRESS", "10.77.0.1:15012"),
            ("WEFT_CONTROL_IDENTITY", Control::identity().as_str()),
            ("WEFT_TRUST_ANCHORS", &self.control.anchors_pem()),
            ("WEFT_TOKEN_FILE", token.to_str().unwrap()),
            ("WEFT_POD_IPS", &addresses(at).map(|ip| ip.to_string()).join(",")),
            ("WEFT_PROBES", r#"{"/app-health/app/readyz":{"httpGet":{"port":8080,"path":"/"}}}"#),
            ("WEFT_SCRAPE", r#"{"port":8080,"path":"/metrics"}"#),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        ]);
        command.envs(changed.iter().copied());
        let path = self.folder.path().join(format!("{name}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        self.node.start(command.stderr(log))
    }

    /// A program that serves the file `index.html` with these contents, and one of metrics.
    pub(crate) fn serve(&mut self, place: Place, address: &str, contents: &str) {
        let folder = self.folder.path().join(contents);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("index.html"), contents).unwrap();
        std::fs::write(folder.join("metrics"), "own_metric 7\n").unwrap();
        let mut command = self.node.command(place, "python3");
        let port = TARGET.to_string();
        command.args(["-m", "http.server", &port, "--protocol", "HTTP/1.1", "--bind", address, "--directory"]);
        self.node.start(command.arg(&folder).stdout(Stdio::null()).stderr(Stdio::null()));
        let at = if address == "::" { "::1" } else { address };
        self.node.wait_listening(place, SocketAddr::new(at.parse().unwrap(), TARGET));
    }

    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap()
    }

    fn strict(&self) {
        self.control.change("default/api", |inbound| {
            inbound.peer_authentication.default = Scoped { mode: MtlsMode::Strict, origin: None };
        });
    }
}

#[test]
fn programs_in_pods_talk_by_way_of_their_proxies() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(3600));
    scene.serve(API, "::", "hello from api");
    for service in SERVICE.map(bracketed) {
        let (code, said) = scene.node.curl(WEB, &["-i", &format!("http://{service}/")]);
        assert_eq!(code, Some(0), "{said}\n{}", scene.log("web"));
        assert!(said.contains("hello from api"), "{said}");
    }
    wait("the caller's proved identity in the log", || {
        scene.log("api").contains("spiffe://cluster.local/ns/default/sa/web")
    });

    for ip in addresses(1).map(|ip| bracketed(&ip.to_string())) {
        let (_, said) = scene.node.curl(WEB, &[&format!("http://{ip}:{TARGET}/")]);
        assert!(said.contains("hello from api"), "a pod by its own address: {said}");
        let (_, said) = scene.node.curl(API, &[&format!("http://{ip}:{TARGET}/")]);
        assert!(said.contains("hello from api"), "the pod's own address, from inside: {said}");
        let (_, said) = scene.node.curl(OUTSIDER, &[&format!("http://{ip}:{TARGET}/")]);
        assert!(said.contains("hello from api"), "a plain caller, while that is permitted: {said}");
    }
    let (_, said) = scene.node.curl(API, &[&format!("http://{}/", SERVICE[0])]);
    assert!(said.contains("hello from api"), "the pod's own service, from inside: {said}");
}

#[test]
fn under_strict_only_the_mesh_and_the_kubelet_get_an_answer() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(3600));
    scene.serve(API, "0.0.0.0", "strictly");
    scene.strict();
    let plain = format!("http://{}:{TARGET}/", addresses(1)[0]);
    wait("a refusal", || scene.node.curl(OUTSIDER, &[&plain]).0 != Some(0));
    let (code, said) = scene.node.curl(OUTSIDER, &[&plain]);
    assert!(matches!(code, Some(7 | 52 | 55 | 56)) && !said.contains("strictly"), "{code:?} {said}");
    let (_, said) = scene.node.curl(WEB, &[&format!("http://{}/", SERVICE[0])]);
    assert!(said.contains("strictly"), "{said}\n{}", scene.log("web"));

    let admin = format!("http://{}:15020", addresses(1)[0]);
    let (_, said) = scene.node.curl(Place::Node, &["-i", &format!("{admin}/app-health/app/readyz")]);
    assert!(said.starts_with("HTTP/1.1 200 ") && !said.contains("strictly"), "{said}");
    let (_, said) = scene.node.curl(Place::Node, &["-i", &format!("{admin}/app-health/app/livez")]);
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    let (_, said) = scene.node.curl(Place::Node, &[&format!("{admin}/metrics")]);
    assert!(said.contains("own_metric 7") && said.contains("weft_"), "{said}");

    // The proxy's own ports lead nowhere, and never in a circle.
    for port in [15001, 15006] {
        let (code, _) = scene.node.curl(OUTSIDER, &[&format!("http://{}:{port}/", addresses(1)[0])]);
        assert!(matches!(code, Some(7 | 52 | 55 | 56)), "{port}: {code:?}");
        let (code, _) = scene.node.curl(API, &[&format!("http://127.0.0.1:{port}/")]);
        assert!(matches!(code, Some(7 | 52 | 55 | 56)), "{port}: {code:?}");
    }
}

#[test]
fn what_is_said_between_pods_is_encrypted_and_what_is_outside_passes() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(3600));
    scene.serve(API, "0.0.0.0", "nobody-overhears-this");
    scene.serve(Place::Node, NODE[0], "from-outside");
    scene.serve(OUTSIDER, "0.0.0.0", "from-a-pod-without-a-proxy");
    let wire = Wire::tap(&mut scene);
    let (_, said) = scene.node.curl(WEB, &[&format!("http://{}/", SERVICE[0])]);
    assert!(said.contains("nobody-overhears-this"), "{said}");
    for (place, expected) in [(NODE[0].to_owned(), "from-outside"), (addresses(2)[0].to_string(), "from-a-pod-with")] {
        let (_, said) = scene.node.curl(WEB, &[&format!("http://{place}:{TARGET}/")]);
        assert!(said.contains(expected), "{said}\n{}", scene.log("web"));
    }
    let heard = wire.heard(&mut scene, b"from-a-pod-without-a-proxy");
    let hears = |word: &str| heard.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    assert!(hears("from-outside"), "the tap hears what is plain");
    assert!(!hears("nobody-overhears-this"), "it was heard");
}

#[test]
fn what_listens_on_loopback_alone_stays_the_pods_own() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(3600));
    scene.serve(API, "127.0.0.1", "private");
    let (_, said) = scene.node.curl(API, &[&format!("http://127.0.0.1:{TARGET}/")]);
    assert!(said.contains("private"), "{said}");
    for (place, url) in
        [(WEB, format!("http://{}/", SERVICE[0])), (OUTSIDER, format!("http://{}:{TARGET}/", addresses(1)[0]))]
    {
        let (_, said) = scene.node.curl(place, &[&url]);
        assert!(!said.contains("private"), "{said}");
    }
}

#[test]
fn certificates_are_renewed_and_streams_begun_with_the_newest() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(15));
    scene.serve(API, "0.0.0.0", "still here");
    wait("a stream with a newer certificate", || {
        let (_, said) = scene.node.curl(WEB, &[&format!("http://{}/", SERVICE[0])]);
        assert!(said.contains("still here"), "{said}\n{}", scene.log("web"));
        scene.control.certificates_of(&id("web")) > 2
    });
}

#[test]
fn without_a_good_token_or_the_right_control_plane_a_pod_is_never_ready() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(3600));
    let token = scene.folder.path().join("stale");
    std::fs::write(&token, "somebody else's").unwrap();
    let other = "spiffe://cluster.local/ns/weft/sa/somebody-else";
    for (changed, told) in [
        (("WEFT_TOKEN_FILE", token.to_str().unwrap()), "expected a token"),
        (("WEFT_TOKEN_FILE", "/nowhere"), "/nowhere: No such file"),
        (("WEFT_SERVICE_ACCOUNT", "web"), "web"),
        (("WEFT_CONTROL_IDENTITY", other), "somebody-else"),
    ] {
        let proxy = scene.start_proxy_with(("api-2", "api", 2), &[changed]);
        wait(told, || scene.log("api-2").lines().any(|line| line.contains("no certificate") && line.contains(told)));
        let admin = SocketAddr::new(addresses(2)[0], 15020);
        scene.node.inside(OUTSIDER, || {
            assert!(page(admin, "/ready").contains(" 503 "));
            assert!(page(admin, "/live").contains(" 200 "));
        });
        terminate(proxy);
        scene.node.ended(proxy);
    }
}

#[test]
fn a_proxy_ends_when_it_is_told_to() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(3600));
    let [web, _] = scene.proxies;
    terminate(web);
    assert!(scene.node.ended(web), "{}", scene.log("web"));
    assert!(!scene.log("web").contains(DRAINED_IN_VAIN), "nothing was open: {}", scene.log("web"));
}

/// The pods of `api` end one after another and come back, as in a rolling restart, while `web` calls
/// without a pause. Then callers are told again of what has ended, as if they learnt of it too late.
#[test]
fn a_rolling_restart_loses_nothing() {
    if is_skipped() {
        return;
    }
    let mut scene = Scene::new(Duration::from_secs(3600));
    let second = scene.start_pod(("api-2", "api", 2));
    scene.wait_ready(OUTSIDER, 2);
    let mut pods = [("api", API, 1, scene.proxies[1]), ("api-2", OUTSIDER, 2, second)];
    let mut programs = pods.map(|(name, place, ..)| scene.graceful(place, name));
    scene.control.replace(service(&[1, 2]), &["default/web"]);
    let mut load = scene.load();
    for turn in 0..4 {
        let at = turn % 2;
        let (name, place, address, proxy) = pods[at];
        load.wait_served_by(name);
        scene.control.replace(service(&[3 - address]), &["default/web"]);
        terminate(programs[at]);
        assert!(scene.node.ended(programs[at]), "the program of {name}");
        scene.control.replace(service(&[1, 2]), &["default/web"]);
        load.wait_answers(20);
        terminate(proxy);
        assert!(scene.node.ended(proxy), "{}", scene.log(name));
        assert!(!scene.log(name).contains(DRAINED_IN_VAIN), "callers' connections held it: {}", scene.log(name));
        load.wait_answers(20);
        pods[at].3 = scene.start_proxy((name, "api", address));
        scene.wait_ready(place, address);
        programs[at] = scene.graceful(place, name);
        scene.control.replace(service(&[1, 2]), &["default/web"]);
    }
    let failures = load.end(&mut scene);
    assert!(failures.is_empty(), "{failures:#?}\n{}", scene.log("web"));
}

/// What a proxy says that has waited for all of its time for somebody to end.
const DRAINED_IN_VAIN: &str = "connections were still open at the end of the drain";

/// Calls that go on until they are ended, some on connections that are kept, some on new ones.
struct Load {
    id: u32,
    file: std::path::PathBuf,
}

impl Load {
    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.file).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn wait_answers(&self, more: usize) {
        let before = self.lines().len();
        wait("answers", || self.lines().len() >= before + more);
    }

    /// From now on.
    fn wait_served_by(&mut self, name: &str) {
        let before = self.lines().len();
        wait(name, || self.lines()[before..].iter().any(|line| line == name));
    }

    fn end(self, scene: &mut Scene) -> Vec<String> {
        terminate(self.id);
        scene.node.ended(self.id);
        self.lines().into_iter().filter(|line| !line.starts_with("api")).collect()
    }
}

impl Scene {
    /// A program that answers with its pod's name and ends, when it is told to, once it has answered
    /// what it has accepted. For a moment it goes on accepting, for callers who don't know yet.
    fn graceful(&mut self, place: Place, name: &str) -> u32 {
        let code = "import sys,signal,threading,time\n\
                    from http.server import *\n\
                    class H(BaseHTTPRequestHandler):\n \
                    protocol_version='HTTP/1.1'\n \
                    def do_GET(s):\n  \
                    time.sleep(0.02); b=sys.argv[2].encode()\n  \
                    s.send_response(200); s.send_header('content-length',str(len(b))); s.end_headers(); s.wfile.write(b)\n  \
                    s.close_connection=s.close_connection or ending.is_set()\n \
                    def log_message(s,*a): pass\n\
                    ending=threading.Event()\n\
                    class S(ThreadingHTTPServer):\n \
                    daemon_threads=False\n \
                    request_queue_size=128\n\
                    s=S(('0.0.0.0',int(sys.argv[1])),H)\n\
                    H.timeout=1\n\
                    def end(*a): ending.set(); threading.Timer(0.3,s.shutdown).start()\n\
                    signal.signal(signal.SIGTERM,end)\n\
                    s.serve_forever(0.02); s.server_close()\n";
        let mut command = self.node.command(place, "python3");
        let id = self.node.start(command.args(["-c", code, &TARGET.to_string(), name]));
        self.node.wait_listening(place, SocketAddr::new("127.0.0.1".parse().unwrap(), TARGET));
        id
    }

    fn load(&mut self) -> Load {
        let file = self.folder.path().join("load");
        let code = "import sys,signal,threading,http.client\n\
                    ending=threading.Event(); lock=threading.Lock()\n\
                    signal.signal(signal.SIGTERM,lambda *a: ending.set())\n\
                    f=open(sys.argv[2],'w',1)\n\
                    def say(t):\n \
                    with lock: f.write(t+'\\n')\n\
                    def run(keep):\n \
                    c=None\n \
                    while not ending.is_set():\n  \
                    try:\n   \
                    c=c or http.client.HTTPConnection(sys.argv[1],80,timeout=30)\n   \
                    c.request('GET','/'); r=c.getresponse(); b=r.read().decode()\n   \
                    say(b if r.status==200 else f'status {r.status} {b} {r.getheaders()}')\n   \
                    if not keep or r.will_close: c.close(); c=None\n  \
                    except Exception as e: say(f'error {keep} {e!r}'); c=None\n\
                    t=[threading.Thread(target=run,args=(i%2,)) for i in range(8)]\n\
                    for x in t: x.start()\n\
                    ending.wait()\n\
                    for x in t: x.join()\n";
        let mut command = self.node.command(WEB, "python3");
        let id = self.node.start(command.args(["-c", code, SERVICE[0]]).arg(&file));
        let load = Load { id, file };
        load.wait_answers(1);
        load
    }
}

/// Everything that passes on the node's links.
struct Wire {
    tap: u32,
    file: std::path::PathBuf,
}

impl Wire {
    fn tap(scene: &mut Scene) -> Self {
        let file = scene.folder.path().join("wire");
        let code = "import socket,sys\n\
                    s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3))\n\
                    f=open(sys.argv[1],'wb',0)\n\
                    f.write(b'listening')\n\
                    while True: f.write(s.recv(65535))\n";
        let mut command = scene.node.command(Place::Node, "python3");
        let tap = scene.node.start(command.args(["-c", code]).arg(&file));
        wait("the tap", || std::fs::read(&file).is_ok_and(|heard| heard.starts_with(b"listening")));
        Self { tap, file }
    }

    /// What was heard, once `last` was.
    fn heard(&self, scene: &mut Scene, last: &[u8]) -> Vec<u8> {
        wait("the last word on the wire", || {
            std::fs::read(&self.file).unwrap().windows(last.len()).any(|bytes| bytes == last)
        });
        terminate(self.tap);
        scene.node.ended(self.tap);
        std::fs::read(&self.file).unwrap()
    }
}

/// Where the control plane serves, on the node.
pub(crate) fn control_address() -> SocketAddr {
    SocketAddr::new(NODE[0].parse().unwrap(), 15012)
}

fn terminate(id: u32) {
    let sent = Command::new("kill").arg(id.to_string()).status().unwrap();
    assert!(sent.success());
}

fn id(account: &str) -> SpiffeId {
    SpiffeId::new(&TrustDomain::default(), "default", account).unwrap()
}

fn inbound(name: &str, account: &str, at: usize) -> Inbound {
    Inbound {
        workload: WorkloadId::new("default", name).unwrap(),
        identity: id(account),
        service: account.to_owned(),
        addresses: addresses(at).to_vec(),
        ports: Vec::new(),
        peer_authentication: PeerAuthentication::default(),
        policies: Vec::new(),
    }
}

/// The service `api`, served by the pods at these places.
fn service(pods: &[usize]) -> Destination {
    Destination {
        host: "api.default.svc.cluster.local".to_owned(),
        service: "api".to_owned(),
        namespace: "default".to_owned(),
        addresses: SERVICE.iter().map(|ip| ip.parse().unwrap()).collect(),
        ports: vec![ServicePort { port: PORT, target: TARGET, protocol: AppProtocol::Detect }],
        undeclared: Undeclared::Refuse,
        endpoints: pods.iter().map(|at| endpoint("api", addresses(*at)[0])).collect(),
    }
}

/// A pod as it is called by its own addresses.
fn pod(name: &str, at: usize) -> Destination {
    Destination {
        host: format!("default/{name}"),
        service: name.to_owned(),
        namespace: "default".to_owned(),
        addresses: addresses(at).to_vec(),
        ports: Vec::new(),
        undeclared: Undeclared::Forward,
        endpoints: vec![endpoint(name, addresses(at)[0])],
    }
}

fn endpoint(name: &str, address: IpAddr) -> Endpoint {
    Endpoint {
        workload: Some(WorkloadId::new("default", name).unwrap()),
        address,
        tunnel: Tunnel::Mesh(Peer { address: SocketAddr::new(address, 15008), identity: id(name) }),
        weight: 1,
        ports: Vec::new(),
    }
}

fn bracketed(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() }
}
