//! Who isn't who it says is refused under STRICT, whether it calls or answers, in a mesh as users run it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use weft_identity::{MeshTls, client_config_without_identity, server_name};
use weft_mesh::SpiffeId;
use weft_tests::capture::contains;
use weft_tests::forge::{Forge, Until};
use weft_tests::mesh::{Mesh, PATIENCE, STRICT, told};
use weft_tests::{User, can_run};
use weft_wire::head::{ALPN, Head, Kind};
use weft_wire::proto::weft::v1::control_client::ControlClient;
use weft_wire::proto::weft::v1::launch_event::Event;
use weft_wire::proto::weft::v1::{Assigned, LaunchRequest, WorkloadSpec};

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  rules: [{from: [{source: {principals: ["cluster.local/ns/default/sa/caller"]}}]}]
"#;

fn mesh() -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    Some(Mesh::start(User::all().pop().unwrap(), &[STRICT, ("policies.yaml", POLICIES)], &[]).unwrap())
}

fn id(account: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/{account}")
}

/// Where a workload's proxy listens, and the workload itself.
fn addresses(mesh: &Mesh, name: &str) -> (SocketAddr, SocketAddr) {
    let output = mesh.weft().args(["ps", "-o", "json"]).output().unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", told(&output)));
    let row = rows.iter().find(|row| row["name"] == name).unwrap();
    let ip = |field: &str| row[field].as_str().unwrap().parse().unwrap();
    (SocketAddr::new(ip("mesh_address"), 15008), SocketAddr::new(ip("address"), 8080))
}

/// Asks for `/NAME` past any proxy of one's own, and says what came.
fn intrude(mesh: &Mesh, name: &str, config: Arc<ClientConfig>) -> String {
    let (proxy, destination) = addresses(mesh, "web");
    let source = "240.240.255.254:40000".parse().unwrap();
    let mut request = Vec::new();
    Head { kind: Kind::Http1, destination, source, trace: None }.encode(&mut request);
    write!(request, "GET /{name} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").unwrap();
    let connection = ClientConnection::new(config, server_name()).unwrap();
    let mut stream = StreamOwned::new(connection, patient(TcpStream::connect(proxy).unwrap()));
    let mut answer = Vec::new();
    let mut asked = stream.write_all(&request);
    // Proxies keep their connections: it isn't the end that tells when all has come.
    while asked.is_ok() && !is_whole(&answer) {
        let mut bytes = [0; 4096];
        asked = stream.read(&mut bytes).map(|length| answer.extend(&bytes[..length]));
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.is_empty() { format!("no answer: {asked:?}") } else { answer }
}

fn ask_plainly(address: SocketAddr) -> String {
    let mut plain = patient(TcpStream::connect(address).unwrap());
    let request = b"GET /stolen HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    // Who is refused at once may see it before all is asked.
    let asked = plain.write_all(request).and_then(|()| plain.read_to_end(&mut answer));
    if let Err(error) = asked {
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_whole(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn patient(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn a_caller_that_proves_nothing_gets_nothing() {
    let Some(mut mesh) = mesh() else { return };
    for name in ["honest", "stolen"] {
        std::fs::write(mesh.home().join(name), format!("{name} got in")).unwrap();
    }
    // Nobody else listens at this address, to whom the port could be lost.
    let own = Ipv4Addr::from_bits(127 << 24 | 1 << 23 | std::process::id() & 0x7f_ffff);
    let published = SocketAddr::from((own, 8088));
    let publish = format!("{published}:8080");
    mesh.start_workload(&["web", "--publish", &publish, "--", "python3", "-m", "http.server", "8080"]).unwrap();
    let first = ["caller", "--", "curl", "-sSf", "http://web:8080/honest"];
    mesh.run_until(&first, |output| output.stdout == b"honest got in").unwrap();

    let forge = Forge::of(&mesh);
    let caller = id("caller");
    let web = [id("web").parse::<SpiffeId>().unwrap()];
    let as_client = |tls: MeshTls| tls.client_config(&web, &[ALPN]);
    // Were all else refused, this test would prove nothing.
    let genuine = intrude(&mesh, "honest", as_client(forge.tls(&caller, Until::Year2200)));
    assert!(genuine.starts_with("HTTP/1.0 200 OK") && genuine.ends_with("honest got in"), "{genuine}");
    let stranger = intrude(&mesh, "stolen", as_client(forge.tls(&id("stranger"), Until::Year2200)));
    assert!(stranger.starts_with("HTTP/1.1 403 ") && stranger.ends_with("RBAC: access denied"), "{stranger}");

    let elsewhere = "spiffe://elsewhere.example/ns/default/sa/caller";
    for (what, config, alert) in [
        ("forged", as_client(forge.self_signed(&caller)), "UnknownCA"),
        ("of another authority", as_client(forge.another().tls(&caller, Until::Year2200)), "UnknownCA"),
        ("expired", as_client(forge.tls(&caller, Until::Year2021)), "CertificateExpired"),
        ("of another domain", as_client(forge.tls(elsewhere, Until::Year2200)), "Alert"),
        ("none", client_config_without_identity(forge.trust(), &web, &[ALPN]).unwrap(), "CertificateRequired"),
    ] {
        let answer = intrude(&mesh, "stolen", config);
        assert!(answer.starts_with("no answer: ") && answer.contains(alert), "{what}: {answer}");
    }

    // Without TLS: to its proxy, which sends an alert at most, and to the port that is open to those outside.
    let (proxy, _) = addresses(&mesh, "web");
    let answer = ask_plainly(proxy);
    assert!(answer.len() < 16, "{answer}");
    let answer = ask_plainly(published);
    assert!(answer.is_empty() || answer.ends_with("RBAC: access denied"), "{answer}");

    let seen = std::fs::read_to_string(mesh.home().join("web-0.out")).unwrap();
    assert!(seen.contains("GET /honest") && !seen.contains("/stolen"), "{seen}");
}

#[test]
fn a_server_that_is_somebody_else_gets_nothing() {
    let Some(mesh) = mesh() else { return };
    let impostor = Impostor::register(&mesh);
    let forge = Forge::of(&mesh);
    let web = id("web");
    let as_server = |tls: MeshTls| Some(tls.server_config(&[ALPN]));
    // Were all else refused, this test would prove nothing.
    let (said, seen) = impostor.answer(&mesh, as_server(forge.tls(&web, Until::Year2200)));
    assert!(seen.contains("GET /secret"), "{said}");
    let elsewhere = "spiffe://elsewhere.example/ns/default/sa/web";
    for (what, config) in [
        ("right, for another workload", as_server(forge.tls(&id("stranger"), Until::Year2200))),
        ("forged", as_server(forge.self_signed(&web))),
        ("of another authority", as_server(forge.another().tls(&web, Until::Year2200))),
        ("expired", as_server(forge.tls(&web, Until::Year2021))),
        ("of another domain", as_server(forge.tls(elsewhere, Until::Year2200))),
        ("none: it speaks plainly", None),
    ] {
        let (said, seen) = impostor.answer(&mesh, config);
        assert!(!seen.contains("secret"), "{what}: {seen}");
        assert!(said.contains("503 identity; ") || said.contains("503 tls; "), "{what}: {said}");
    }
}

/// A place that is registered as `web`, where nobody listens but the test.
struct Impostor {
    listener: TcpListener,
    /// It is registered for as long as this lives.
    _registered: oneshot::Sender<()>,
}

impl Impostor {
    fn register(mesh: &Mesh) -> Self {
        let socket = mesh.home().join(".local/state/weft/control.sock");
        let (registered, over) = oneshot::channel();
        let (told, assigned) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(launch(&socket, over, told));
        });
        let ip: [u8; 4] = assigned.recv().unwrap().host_address.try_into().unwrap();
        let listener = TcpListener::bind(SocketAddr::from((ip, 15008))).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, _registered: registered }
    }

    /// Answers a call of `caller`, with TLS or plainly. What the caller was told, and what the impostor read.
    fn answer(&self, mesh: &Mesh, config: Option<Arc<ServerConfig>>) -> (String, String) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let serving = scope.spawn(|| {
                let mut seen = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    match self.listener.accept() {
                        Ok((socket, _)) => listen(socket, config.clone(), &mut seen),
                        Err(_) => thread::yield_now(),
                    }
                }
                String::from_utf8_lossy(&seen).into_owned()
            });
            let call = ["-sS", "-m", "60", "-w", "%{http_code} %header{weft-error}", "http://web:8080/secret"];
            let output = mesh.run(&[&["caller", "--", "curl"], &call[..]].concat());
            over.store(true, Ordering::Relaxed);
            (told(&output.unwrap()), serving.join().unwrap())
        })
    }
}

/// Registers `web` as its launcher does, and keeps it so until `over`.
async fn launch(socket: &Path, over: oneshot::Receiver<()>, told: mpsc::Sender<Assigned>) {
    let workload = Some(WorkloadSpec { name: "web".to_owned(), ..WorkloadSpec::default() });
    let control = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap().connect().await.unwrap();
    let (requests, receiver) = tokio::sync::mpsc::channel(2);
    requests.send(LaunchRequest { workload, ..LaunchRequest::default() }).await.unwrap();
    let mut events = ControlClient::new(control).launch(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let first = events.message().await.unwrap().and_then(|event| event.event);
    let Some(Event::Assigned(assigned)) = first else { panic!("expected what was assigned, found {first:?}") };
    requests.send(LaunchRequest { ready: true, ..LaunchRequest::default() }).await.unwrap();
    told.send(assigned).unwrap();
    // It fails when the other end is dropped, and that is the end.
    let _over = over.await;
}

/// Reads what comes until the secret has come or the connection ends.
fn listen(socket: TcpStream, config: Option<Arc<ServerConfig>>, seen: &mut Vec<u8>) {
    socket.set_nonblocking(false).unwrap();
    let mut socket = patient(socket);
    let mut bytes = [0; 4096];
    let Some(config) = config else {
        let length = socket.read(&mut bytes).unwrap_or_default();
        seen.extend(&bytes[..length]);
        // Its caller may be gone already.
        let _gone = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain");
        return;
    };
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        seen.extend(&bytes[..length]);
        if contains(seen, "/secret") {
            return;
        }
    }
}
