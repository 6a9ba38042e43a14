//! A large cluster on one machine: the real controller beside a real API server, and for each proxy the
//! real proxy's control thread. `bench/scale` starts it in namespaces of its own; README.md beside that
//! says what is measured, and how.

mod api;
mod changes;
mod cluster;
mod controller;
mod fleet;
mod objects;
mod plan;
mod pod;
mod report;
mod wire;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;
use weft_proxy::records::Update;

use crate::api::{Api, Failure, Outcome};
use crate::changes::{Rounds, Scene};
use crate::cluster::Cluster;
use crate::controller::{Controller, Launch};
use crate::fleet::{Expected, Fleet};
use crate::plan::Plan;
use crate::pod::Lodger;
use crate::report::{Machine, Phase, ProxyMemory, Report};

/// Measures a control plane that serves a large cluster. `bench/scale` calls it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Proxies, each of a pod of its own.
    #[arg(long, default_value_t = 1000)]
    proxies: usize,
    /// Pods, with a proxy or without.
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Services, each of as many pods.
    #[arg(long, default_value_t = 1000)]
    services: usize,
    /// Namespaces, each of as many Services.
    #[arg(long, default_value_t = 100)]
    namespaces: usize,
    /// Fewer changes of each kind.
    #[arg(long)]
    quick: bool,
    /// Where the figures go; the table goes to standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The command line whose `controller` is measured.
    #[arg(long, value_name = "FILE")]
    weft: PathBuf,
    /// The proxy of a real pod.
    #[arg(long, value_name = "FILE")]
    proxy: PathBuf,
    /// Where logs and tokens go.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = match runtime {
        Ok(runtime) => runtime.block_on(measure(&arguments)),
        Err(error) => Err(Failure::new("a runtime", error)),
    };
    match measured.and_then(|report| write(&report, &arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("failed: {failure}"));
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Outcome<Report> {
    let Arguments { proxies, pods, services, namespaces, .. } = *arguments;
    let plan = Plan::new(proxies, pods, services, namespaces).map_err(|why| Failure::new("the sizes", why))?;
    let api = Api::connect().await?;
    let launch = Launch::new(&api, &arguments.weft, &arguments.folder).await?;
    let first = launch.start().await?;
    let lodger = Lodger::move_in(&api, &arguments.folder).await?;
    let small = lodger.measure_often(&arguments.proxy, &arguments.folder).await?;
    say("making the cluster");
    let mut phases = Phases::begin(first.cost()?.cpu_ns);
    let cluster = Cluster::make(api, plan).await?;
    phases.end("cluster made", &first)?;
    drop(first);

    let controller = phases.restart(&launch, "started: all listed").await?;
    let mut fleet = phases.start_proxies(&cluster, &controller, arguments).await?;
    let mut scene = Scene { cluster: &cluster, controller: &controller, fleet: &mut fleet };
    say("changing things");
    let changes = scene.all(rounds(arguments)).await?;
    phases.end("changes", &controller)?;
    drop(controller);

    let controller = phases.restart(&launch, "killed and started: all listed").await?;
    controller.settled(plan.proxies).await?;
    phases.end("all proxies back, all acknowledged", &controller)?;
    let large = lodger.measure_often(&arguments.proxy, &arguments.folder).await?;
    let proxy = ProxyMemory { small, large };
    let Phases { all, certified_s, .. } = phases;
    Ok(Report { date: today(), machine: machine(), plan, phases: all, certified_s, changes, proxy })
}

/// The phases so far, and when and with what the present one began.
struct Phases {
    all: Vec<Phase>,
    begun: Instant,
    cpu_ns: u64,
    /// How long it took until the last of all proxies had a certificate.
    certified_s: f64,
}

impl Phases {
    fn begin(cpu_ns: u64) -> Self {
        Self { all: Vec::new(), begun: Instant::now(), cpu_ns, certified_s: 0.0 }
    }

    fn end(&mut self, name: &'static str, controller: &Controller) -> Outcome<()> {
        let cost = controller.cost()?;
        let phase = Phase::new(name, self.begun.elapsed(), (self.cpu_ns, cost));
        say(&format!(
            "{name}: {:.2} s, {:.2} s of CPU, {} MiB, at most {} MiB",
            phase.seconds,
            phase.cpu_seconds,
            cost.rss_kib >> 10,
            cost.peak_kib >> 10
        ));
        self.all.push(phase);
        (self.begun, self.cpu_ns) = (Instant::now(), cost.cpu_ns);
        Ok(())
    }

    async fn restart(&mut self, launch: &Launch, name: &'static str) -> Outcome<Controller> {
        (self.begun, self.cpu_ns) = (Instant::now(), 0);
        let controller = launch.start().await?;
        self.end(name, &controller)?;
        Ok(controller)
    }

    /// All proxies start at once.
    async fn start_proxies(
        &mut self,
        cluster: &Cluster,
        controller: &Controller,
        arguments: &Arguments,
    ) -> Outcome<Fleet> {
        let members = cluster.members(&arguments.folder).await?;
        self.end("a token for each proxy", controller)?;
        let mut fleet = Fleet::start(members)?;
        let proxies: Vec<usize> = (0..cluster.plan.proxies).collect();
        let certified =
            Expected { proxies, since: Instant::now(), holds: Box::new(|it| matches!(it, Update::Credential(_))) };
        let seen = fleet.watch(&[certified]).await?;
        controller.settled(cluster.plan.proxies).await?;
        self.certified_s = seen.last[0].as_secs_f64();
        self.end("all proxies certified, all acknowledged", controller)?;
        sleep(REST).await;
        self.end("at rest", controller)?;
        Ok(fleet)
    }
}

fn rounds(arguments: &Arguments) -> Rounds {
    match arguments.quick {
        true => Rounds { endpoint: 10, policy: 4, mesh_wide: 2, rolled: 10 },
        false => Rounds { endpoint: 200, policy: 100, mesh_wide: 30, rolled: 100 },
    }
}

fn write(report: &Report, arguments: &Arguments) -> Outcome<()> {
    let text = report.markdown();
    // A reader that went away is no error.
    let _gone = std::io::stdout().write_all(text.as_bytes());
    let Some(path) = &arguments.json else { return Ok(()) };
    let failure = |error: String| Failure::new(path.display(), error);
    let json = serde_json::to_string_pretty(report).map_err(|error| failure(error.to_string()))?;
    fs::write(path, json + "\n").map_err(|error| failure(error.to_string()))?;
    fs::write(path.with_extension("md"), text).map_err(|error| failure(error.to_string()))
}

fn say(text: &str) {
    let _gone = writeln!(std::io::stderr(), "{text}");
}

fn today() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default().chars().take(10).collect()
}

fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Machine {
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu: model.map(|(_, name)| name.to_owned()).unwrap_or_default(),
        load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// So long the control plane is looked at while nothing happens.
const REST: Duration = Duration::from_secs(10);
