//! A pod as it really is: the real `weft-proxy`, told what the injector wrote, in a network namespace
//! with a pod's redirection, and a program that talks to ten Services through it. What the proxy holds
//! is measured; it should hang on those ten, and not on the size of the mesh.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;
use weft_capture::pod::{capture, parse};

use crate::api::{Api, Failure, Outcome};
use crate::controller::{Cost, cost, write};
use crate::objects::Object;
use crate::plan::CALLED_EACH;

/// The pod, and the Services that its program calls.
pub(crate) struct Lodger {
    /// What the injector wrote into the pod, with what the kubelet makes of references.
    environment: Vec<(String, String)>,
    services: Vec<IpAddr>,
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Lodger {
    /// Makes the pod, its ten Services and what serves them; the controller must run.
    pub(crate) async fn move_in(api: &Api, folder: &Path) -> Outcome<Self> {
        create(
            api,
            "/api/v1/namespaces",
            json!({"metadata": {"name": HOME, "annotations": {"linkerd.io/inject": "enabled"}}}),
        )
        .await?;
        create(api, &of("serviceaccounts"), json!({"metadata": {"name": "lodger"}})).await?;
        let mut services = Vec::new();
        for number in 0..CALLED_EACH {
            services.push(serve(api, number).await?);
        }
        let pod = create(
            api,
            &of("pods"),
            json!({
                "metadata": {"name": "lodger"},
                "spec": {"serviceAccountName": "lodger", "automountServiceAccountToken": false, "nodeName": "node-0",
                         "containers": [{"name": "app", "image": "registry.example/lodger:1"}]},
            }),
        )
        .await?;
        let status = json!({"status": {"phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]}});
        api.patch(&format!("{}/lodger/status", of("pods")), &status).await?;
        let token = folder.join("lodger-token");
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        write(&token, &crate::cluster::token(api, (HOME, "lodger"), ("lodger", uid)).await?)?;
        hand_over(&token)?;
        furnish()?;
        tokio::spawn(answer(TcpListener::bind(SERVED).await.map_err(|error| Failure::new(SERVED, error))?));
        Ok(Self { environment: environment(&pod, &token), services })
    }

    /// Measures proxies that start anew, one after another.
    pub(crate) async fn measure_often(&self, proxy: &Path, folder: &Path) -> Outcome<Vec<Cost>> {
        let mut found = Vec::new();
        for _ in 0..PROXIES {
            found.push(self.measure(proxy, folder).await?);
        }
        Ok(found)
    }

    /// Starts the proxy, has the program talk to the ten Services, and measures.
    async fn measure(&self, proxy: &Path, folder: &Path) -> Outcome<Cost> {
        let running = self.start(proxy, folder)?;
        let begun = Instant::now();
        while !matches!(inside(|| get((ADDRESS, 15020), "/ready")), Ok(answer) if answer.contains(" 200 ")) {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new("the pod's proxy", "it isn't ready; its log is lodger.log"));
            }
            sleep(PAUSE).await;
        }
        for service in self.services.iter().cycle().take(CALLS * CALLED_EACH) {
            let (service, task) = (service.to_string(), tokio::task::spawn_blocking);
            let answer = task(move || inside(|| get((&service, 80), "/"))).await;
            let answer = answer.map_err(|error| Failure::new("a call", error))??;
            if !answer.ends_with(ANSWER_BODY) {
                return Err(Failure::new("a call through the proxy", answer));
            }
        }
        sleep(REST).await;
        cost(running.0.id())
    }

    fn start(&self, proxy: &Path, folder: &Path) -> Outcome<Running> {
        let failure = |error: std::io::Error| Failure::new(proxy.display(), error);
        let log = File::options().create(true).append(true).open(folder.join("lodger.log")).map_err(failure)?;
        let mut command = Command::new("nsenter");
        command.arg(NAMESPACE_FLAG).args(["setpriv", "--reuid", PROXY_USER, "--regid", PROXY_USER, "--clear-groups"]);
        command.arg(proxy).arg("--kubernetes").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().map(Running).map_err(failure)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

async fn create(api: &Api, collection: &str, body: Value) -> Outcome<Value> {
    api.create(&Object { collection: collection.to_owned(), body }).await
}

fn of(collection: &str) -> String {
    format!("/api/v1/namespaces/{HOME}/{collection}")
}

/// A Service with an endpoint outside the mesh. Returns its ClusterIP.
async fn serve(api: &Api, number: usize) -> Outcome<IpAddr> {
    let name = format!("called-{number}");
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    let made = create(api, &of("services"), json!({"metadata": {"name": name}, "spec": {"ports": ports}})).await?;
    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{HOME}/endpointslices");
    create(
        api,
        &slices,
        json!({
            "metadata": {"name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [format!("10.2.0.{}", number + 1)], "conditions": {"ready": true}}],
        }),
    )
    .await?;
    made["spec"]["clusterIP"].as_str().unwrap_or_default().parse().map_err(|error| Failure::new("a ClusterIP", error))
}

/// The variables of the proxy's container.
fn environment(pod: &Value, token: &Path) -> Vec<(String, String)> {
    let containers = pod["spec"]["initContainers"].as_array();
    let proxy = containers.into_iter().flatten().find(|container| container["name"] == "weft-proxy");
    let variables = proxy.and_then(|container| container["env"].as_array()).into_iter().flatten();
    let value = |variable: &Value| {
        let name = variable["name"].as_str()?;
        let token = token.display().to_string();
        let given = match (name, variable["valueFrom"]["fieldRef"]["fieldPath"].as_str()) {
            ("WEFT_TOKEN_FILE", _) => &token,
            (_, Some("metadata.name" | "spec.serviceAccountName")) => "lodger",
            (_, Some("metadata.namespace")) => HOME,
            (_, Some("metadata.uid")) => pod["metadata"]["uid"].as_str()?,
            (_, Some("status.podIPs")) => ADDRESS,
            (_, Some("spec.nodeName")) => "node-0",
            (_, _) => variable["value"].as_str()?,
        };
        Some((name.to_owned(), given.replace("$$", "$")))
    };
    variables.filter_map(value).collect()
}

/// The token is the proxy's to read.
fn hand_over(token: &Path) -> Outcome<()> {
    let user = PROXY_USER.parse().ok();
    let folder = token.parent().unwrap_or(token);
    std::os::unix::fs::chown(token, user, user).map_err(|error| Failure::new(token.display(), error))?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder, open).map_err(|error| Failure::new(folder.display(), error))
}

/// The pod's network, and its redirection.
fn furnish() -> Outcome<()> {
    let address = format!("{ADDRESS}/24");
    let commands: [&[&str]; 8] = [
        &["netns", "add", "lodger"],
        &["link", "add", "lodger", "type", "veth", "peer", "name", "eth0", "netns", "lodger"],
        &["addr", "add", "192.168.15.1/24", "dev", "lodger"],
        &["link", "set", "lodger", "up"],
        &["-n", "lodger", "link", "set", "lo", "up"],
        &["-n", "lodger", "addr", "add", &address, "dev", "eth0"],
        &["-n", "lodger", "link", "set", "eth0", "up"],
        &["-n", "lodger", "route", "add", "default", "via", "192.168.15.1"],
    ];
    for arguments in commands {
        let output = Command::new("ip").args(arguments).output().map_err(|error| Failure::new("ip", error))?;
        if !output.status.success() {
            return Err(Failure::new("ip", String::from_utf8_lossy(&output.stderr)));
        }
    }
    let arguments = ["--proxy-uid", PROXY_USER, "--outbound-port", "15001", "--inbound-port", "15006"];
    let pairs = arguments.chunks(2).map(|pair| pair.join("="));
    let rules = parse(&pairs.collect::<Vec<_>>()).map_err(|error| Failure::new("the redirection", error))?;
    inside(|| capture(&rules).map(drop).map_err(|error| Failure::new("the redirection", error)))
}

/// Does something in the pod's network.
fn inside<T: Send>(work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    let entered = || {
        let namespace = File::open(NAMESPACE).map_err(|error| Failure::new(NAMESPACE, error))?;
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|error| Failure::new(NAMESPACE, error))?;
        work()
    };
    let joined = std::thread::scope(|scope| scope.spawn(entered).join());
    joined.unwrap_or_else(|_| Err(Failure::new("a thread", "it panicked")))
}

/// Asks a server for a page, and returns the whole answer.
fn get((host, port): (&str, u16), path: &str) -> Outcome<String> {
    let asked = || {
        let address = SocketAddr::new(host.parse().map_err(std::io::Error::other)?, port);
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<String, std::io::Error>(answer)
    };
    asked().map_err(|error| Failure::new(format!("http://{host}:{port}{path}"), error))
}

/// The program of every endpoint.
async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut request = [0; 4096];
            // Callers send a head in one piece, and no body.
            while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                if stream.write_all(ANSWER.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

const HOME: &str = "lodgings";
const ADDRESS: &str = "192.168.15.2";
const NAMESPACE: &str = "/run/netns/lodger";
const NAMESPACE_FLAG: &str = "--net=/run/netns/lodger";
const PROXY_USER: &str = "2102";
const SERVED: &str = "0.0.0.0:8080";
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const ANSWER_BODY: &str = "hello";
/// How many are measured, to see the noise.
const PROXIES: usize = 5;
/// Calls of each Service.
const CALLS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// Until buffers are given back.
const REST: Duration = Duration::from_secs(3);
