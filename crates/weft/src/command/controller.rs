//! `weft controller`: the control plane's process in a cluster. People don't type it.

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use weft_kube::controller::{Config, Listen, Proxies, run as serve};

use crate::args::ControllerArgs;
use crate::failure::{Context, Failure};

/// Runs until it is told to end.
pub(crate) fn run(args: &ControllerArgs) -> Result<ExitCode, Failure> {
    super::start_log(&args.log);
    raise_open_files();
    let config = Config {
        namespace: args.namespace.clone(),
        trust_domain: args.trust_domain.clone(),
        cluster_domain: args.cluster_domain.clone(),
        cert_lifetime: args.cert_lifetime,
        proxies: Proxies {
            image: args.proxy_image.clone(),
            image_pull_policy: args.image_pull_policy.clone(),
            resources: args.proxy_resources.clone(),
            log: args.proxy_log.clone(),
        },
        default_inbound: args.default_inbound_policy,
        listen: Listen {
            proxies: args.proxies_address,
            command_line: args.command_line_address,
            admin: args.admin_address,
            webhooks: args.webhooks_address,
        },
    };
    crate::runtime::of_this_thread()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("wait for signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("wait for signals")?;
        let asked = async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        };
        serve(config, asked).await.context("controller")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Each proxy has two or three connections, and the usual limit of 1,024 is there for programs that use select(2)
/// alone.
fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // With fewer, further proxies are turned away.
        let _as_before = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
