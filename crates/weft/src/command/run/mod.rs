//! `weft run`: one unmodified program as a workload.
//!
//! Order matters: the control plane assigns names and addresses, the sandbox is forked while this
//! process has a single thread, the proxy starts and serves, and only then does the program.

mod detach;
mod door;
pub(crate) mod output;
mod proxy;
mod readiness;
mod register;
mod supervise;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::time::Instant;
use weft_capture::{InheritedSignals, Plan, Program, ResolvConf, RunAs, Sandbox};
use weft_mesh::record::PortProtocol;
use weft_wire::bootstrap::{Bootstrap, ControlAddress, InheritedSockets, Names, Redirection};
use weft_wire::proto::weft::v1::{self, WorkloadSpec};

use crate::args::RunArgs;
use crate::failure::{Context, Failure};
use crate::home::Home;
use crate::print;
pub(crate) use door::Card;
use door::Door;
use proxy::Sockets;
pub(crate) use proxy::find as find_proxy;
use readiness::{Asked, Check};
use register::{Readiness, Registration};
use supervise::{Beside, supervise};

/// Runs the program and ends as it ends.
pub(crate) fn run(home: &Home, args: &RunArgs) -> Result<ExitCode, Failure> {
    let mut signals = InheritedSignals::of_this_process();
    if args.detach && !args.detached {
        return detach::start(home, args);
    }
    let output = args.output.as_deref().map(output::redirect).transpose()?;
    if output.is_some() {
        signals = signals.with_output();
    }
    let user = args.user.as_deref().map(RunAs::find).transpose().map_err(Failure::new)?;
    let runtime = crate::runtime::of_this_thread()?;
    let mut registration = runtime.block_on(Registration::new(home, spec(args)))?;
    let assigned = Assignment::read(registration.assigned())?;
    let host = ResolvConf::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let Sandbox { outbound, dns, datagrams, redirection, maker, namespaces, notes, program } =
        weft_capture::prepare(&sandbox(home, args, &assigned, (&host, signals, user.clone())))
            .context("make the workload's sandbox")?;
    for text in &notes {
        print::note(&format!("weft: {text}"));
    }
    let sockets = Sockets { outbound, dns, datagrams, maker, redirection };
    let plan = proxy::Plan {
        bootstrap: bootstrap(home, args, &assigned, &host),
        log: home.logs().join(format!("{}.log", assigned.workload.replace('/', "."))),
    };
    output::forget_oldest(&home.logs(), &args.namespace, &args.name);
    let proxy = proxy::start(&plan, &sockets)?;
    let namespaces = Arc::new(namespaces);
    runtime.block_on(async {
        let card = Card {
            name: args.name.clone(),
            namespace: args.namespace.clone(),
            workload: assigned.workload.clone(),
            user: args.user.clone(),
        };
        let door = Door::new(home, Arc::clone(&namespaces), card)?;
        output::bound(args.output.iter().cloned().chain([plan.log.clone()]).collect());
        let asked = Asked { namespaces, addresses: assigned.addresses, user, signals };
        let readiness = Check::of(&args.ready).map(|check| readiness::watch(check, args.ready_timing, asked));
        if readiness.is_none() {
            registration.tell(Readiness::Ready).await?;
        }
        let (proxy_since, proxy_due) = (Instant::now(), None);
        let (plan, sockets, door) = (&plan, &sockets, &door);
        let beside = Beside { registration, proxy, proxy_since, proxy_due, plan, sockets, door, readiness };
        supervise(program, beside).await
    })
}

/// What the control plane assigned, with addresses read.
struct Assignment {
    workload: String,
    identity: String,
    addresses: Vec<IpAddr>,
    host_address: IpAddr,
    nameserver: IpAddr,
    search: Vec<String>,
    token: String,
}

impl Assignment {
    fn read(assigned: &v1::Assigned) -> Result<Self, Failure> {
        let wrong = || Failure::new("register the workload: the control plane assigned an address that is none");
        let addresses: Option<Vec<IpAddr>> = assigned.addresses.iter().map(|bytes| ip(bytes)).collect();
        Ok(Self {
            workload: assigned.workload.clone(),
            identity: assigned.identity.clone(),
            addresses: addresses.filter(|all| !all.is_empty()).ok_or_else(wrong)?,
            host_address: ip(&assigned.host_address).ok_or_else(wrong)?,
            nameserver: ip(&assigned.nameserver).ok_or_else(wrong)?,
            search: assigned.search.clone(),
            token: assigned.token.clone(),
        })
    }
}

/// An address of 4 or 16 bytes.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

fn spec(args: &RunArgs) -> WorkloadSpec {
    let port = |flag: &crate::args::PortFlag| {
        v1::Port::from(&PortProtocol { port: flag.port, name: flag.name.clone(), protocol: flag.protocol })
    };
    WorkloadSpec {
        name: args.name.clone(),
        namespace: args.namespace.clone(),
        service_account: args.service_account.clone().unwrap_or_else(|| args.name.clone()),
        labels: args.labels.iter().cloned().collect(),
        ports: args.ports.iter().map(port).collect(),
        pid: std::process::id(),
        command: args.program.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        owner: args.owner.clone(),
        user: args.user.clone().unwrap_or_default(),
    }
}

fn sandbox(
    home: &Home,
    args: &RunArgs,
    assigned: &Assignment,
    (host, signals, user): (&ResolvConf, InheritedSignals, Option<RunAs>),
) -> Plan {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !args.keep_runtime_dir).map(PathBuf::from);
    Plan {
        addresses: assigned.addresses.clone(),
        nameservers: vec![assigned.nameserver],
        search: assigned.search.clone(),
        host_resolv: host.clone(),
        hide: std::iter::once(home.state().to_path_buf()).chain(runtime_dir).collect(),
        forward: args.forward.clone(),
        redirection: None,
        program: Program { argv: args.program.clone(), user, signals },
    }
}

fn bootstrap(home: &Home, args: &RunArgs, assigned: &Assignment, host: &ResolvConf) -> Bootstrap {
    let upstream = host.nameservers.iter().map(|ip| SocketAddr::new(*ip, 53)).collect();
    let suffix = assigned.search.iter().find(|domain| domain.starts_with("svc.")).cloned();
    Bootstrap {
        workload: assigned.workload.clone(),
        identity: assigned.identity.clone(),
        addresses: assigned.addresses.clone(),
        host_address: assigned.host_address,
        control: ControlAddress { socket: home.socket(), token: assigned.token.clone() },
        sockets: InheritedSockets {
            outbound: Vec::new(),
            redirection: Redirection::Tproxy,
            dns: Vec::new(),
            datagrams: Vec::new(),
            maker: -1,
            ready: -1,
        },
        names: Names {
            namespace: args.namespace.clone(),
            suffix: suffix.unwrap_or_else(|| "svc.cluster.local".to_owned()),
            upstream,
        },
        publish: args.publish.clone(),
        forward: args.forward.clone(),
    }
}
