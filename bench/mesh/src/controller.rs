//! The control plane's process: the real `weft controller`, told what its Deployment says, with the
//! rights of its own service account; and what it costs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tonic::transport::Endpoint;
use weft_wire::proto::weft::v1::ProxiesRequest;
use weft_wire::proto::weft::v1::observe_client::ObserveClient;

use crate::api::{Api, Failure, Outcome};
use crate::objects::Object;

/// How it is started.
pub(crate) struct Launch {
    weft: PathBuf,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

/// One that runs, until this is dropped.
pub(crate) struct Controller(Child);

/// What it takes at one time.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cost {
    /// Nanoseconds that its threads have run.
    #[serde(skip)]
    pub(crate) cpu_ns: u64,
    pub(crate) anonymous_kib: u64,
    pub(crate) rss_kib: u64,
    /// The most that was resident at any time.
    pub(crate) peak_kib: u64,
}

impl Launch {
    /// Reads what is installed, and gets a token of the controller's account.
    pub(crate) async fn new(api: &Api, weft: &Path, folder: &Path) -> Outcome<Self> {
        let deployment = api.get("/apis/apps/v1/namespaces/weft/deployments/weft-controller").await?;
        let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut environment: Vec<(String, String)> =
            variables.into_iter().flatten().map(|pair| (text(&pair["name"]), text(&pair["value"]))).collect();
        let kubeconfig = folder.join("controller.kubeconfig");
        write(&kubeconfig, &kubeconfig_of(&token(api).await?)?)?;
        environment.push(("KUBECONFIG".to_owned(), kubeconfig.display().to_string()));
        Ok(Self { weft: weft.to_owned(), folder: folder.to_owned(), environment })
    }

    /// Starts one, and waits until it is ready.
    pub(crate) async fn start(&self) -> Outcome<Controller> {
        let begun = Instant::now();
        let log = self.folder.join("controller.log");
        let log = File::options().create(true).append(true).open(&log);
        let log = log.map_err(|error| Failure::new("the controller's log", error))?;
        let mut command = Command::new(&self.weft);
        command.args(["controller", "--webhooks-address", WEBHOOKS]).env_clear();
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(|error| Failure::new(self.weft.display(), error))?;
        let mut controller = Controller(child);
        while !is_ready().await {
            if let Ok(Some(status)) = controller.0.try_wait() {
                return Err(Failure::new("the controller", format!("ended with {status}; its log is controller.log")));
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new("the controller", format!("not ready within {PATIENCE:?}")));
            }
            sleep(PAUSE).await;
        }
        Ok(controller)
    }
}

impl Controller {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn cost(&self) -> Outcome<Cost> {
        cost(self.pid())
    }

    /// Waits until so many proxies have acknowledged everything, by the controller's own word.
    pub(crate) async fn settled(&self, proxies: usize) -> Outcome<()> {
        let begun = Instant::now();
        loop {
            let found = acknowledged().await?;
            if found >= proxies {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new("the controller", format!("{found} of {proxies} proxies have all")));
            }
            sleep(SETTLING).await;
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// What a process takes.
pub(crate) fn cost(pid: u32) -> Outcome<Cost> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).map_err(|error| Failure::new(path, error))
    };
    let rollup = read("smaps_rollup")?;
    Ok(Cost {
        cpu_ns: cpu_ns(pid)?,
        anonymous_kib: kib(&rollup, "Anonymous:"),
        rss_kib: kib(&rollup, "Rss:"),
        peak_kib: kib(&read("status")?, "VmHWM:"),
    })
}

fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn cpu_ns(pid: u32) -> Outcome<u64> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&path).map_err(|error| Failure::new(path, error))?;
    let of = |task: fs::DirEntry| -> Option<u64> {
        // A thread that ends meanwhile counts nothing.
        fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Ok(tasks.flatten().filter_map(of).sum())
}

/// How many proxies have a stream, and have acknowledged all that was sent on it.
async fn acknowledged() -> Outcome<usize> {
    let failure = |why: String| Failure::new("what the controller says of proxies", why);
    let channel = Endpoint::from_static(COMMAND_LINE).connect().await.map_err(|error| failure(error.to_string()))?;
    let mut client = ObserveClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    let answer = client.proxies(ProxiesRequest {}).await.map_err(|status| failure(status.to_string()))?;
    let has_all = |proxy: &&weft_wire::proto::weft::v1::ProxyState| {
        proxy.record_streams > 0 && proxy.unacknowledged == 0 && proxy.refused.is_empty()
    };
    Ok(answer.into_inner().proxies.iter().filter(has_all).count())
}

async fn is_ready() -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(ADMIN).await?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nhost: controller\r\nconnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    asked.await.unwrap_or(false)
}

async fn token(api: &Api) -> Outcome<String> {
    let request = Object {
        collection: "/api/v1/namespaces/weft/serviceaccounts/weft-controller/token".to_owned(),
        body: json!({"spec": {"expirationSeconds": DAY_SECONDS}}),
    };
    let answer = api.create(&request).await?;
    Ok(answer["status"]["token"].as_str().unwrap_or_default().to_owned())
}

/// The administrator's cluster, with the controller's token.
fn kubeconfig_of(token: &str) -> Outcome<String> {
    let failure = |why: String| Failure::new("KUBECONFIG", why);
    let own = kube::config::Kubeconfig::read().map_err(|error| failure(error.to_string()))?;
    let cluster = own.clusters.first().and_then(|named| named.cluster.as_ref());
    let cluster = serde_json::to_value(cluster).map_err(|error| failure(error.to_string()))?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "controller",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "controller", "user": {"token": token}}],
        "contexts": [{"name": "controller", "context": {"cluster": "cluster", "user": "controller"}}],
    })
    .to_string())
}

/// Writes a file that only its owner reads.
pub(crate) fn write(path: &Path, text: &str) -> Outcome<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let opened = File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| Failure::new(path.display(), error))
}

const ADMIN: &str = "127.0.0.1:15014";
const COMMAND_LINE: &str = "http://127.0.0.1:15013";
/// The API server calls webhooks at the Service's address and port: nobody translates that here.
const WEBHOOKS: &str = "[::]:443";
const DAY_SECONDS: u32 = 86_400;
const MAX_ANSWER_BYTES: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(20);
/// Asking costs the controller something, too.
const SETTLING: Duration = Duration::from_millis(200);
