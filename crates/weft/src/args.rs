//! What a user can say: clap types only, with help that teaches by example.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

mod analyze;
mod authz;
mod cluster;
mod controller;
mod inject;
mod machine;
mod observe;
mod parties;
mod port;
pub(crate) mod request;
mod resource;
mod run;
mod target;
mod watch;
mod why;

pub(crate) use analyze::{AnalyzeArgs, AnalyzeFormat, BugReportArgs, Threshold, UseKube};
pub(crate) use authz::{AuthzCommand, ExplainArgs, Protocol, ReportFormat, TestArgs};
pub(crate) use cluster::{ClusterArgs, InstallArgs, ManifestArgs, ManifestFormat, UninstallArgs, UpgradeArgs};
pub(crate) use controller::ControllerArgs;
pub(crate) use inject::{InjectArgs, TextArgs, UninjectArgs};
pub(crate) use machine::{ExecArgs, LogsArgs, ShellArgs, WorkloadName};
pub(crate) use observe::{
    CheckArgs, CheckFormat, EdgesArgs, IdentityArgs, ProxyStatusArgs, StatArgs, VersionArgs, VizCommand,
};
pub(crate) use parties::{Callee, Caller};
pub(crate) use port::PortFlag;
pub(crate) use resource::{Resources, TableFormat, nearest_kind};
pub(crate) use run::{ReadyArgs, ReadyTimingArgs, RunArgs};
pub(crate) use target::{Target, UNNAMED};
pub(crate) use watch::{FilterArgs, TapArgs, TopArgs};
pub(crate) use why::WhyArgs;

/// The variable that names the state folder.
pub(crate) const STATE_VARIABLE: &str = "WEFT_STATE_DIR";

/// Weft: mutual TLS, verified identity, policy and golden signals for unmodified programs.
#[derive(Debug, Parser)]
#[command(
    name = "weft",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  weft demo --once                         see it all in a few seconds
  weft up -f manifests/ -d                 start a mesh that follows a folder
  weft run payments -- ./payments          run an unmodified program in it
  weft run checkout -- curl http://payments:8080/"
)]
pub(crate) struct Arguments {
    /// The mesh's state folder [default: $XDG_STATE_HOME/weft or ~/.local/state/weft].
    #[arg(long, global = true, value_name = "DIR", env = STATE_VARIABLE)]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Those of this process. Ends it where they are none, or ask for help.
    pub(crate) fn given() -> Self {
        let matches = command_line().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The whole command line. The help of what runs on this machine alone says nothing of clusters.
pub(crate) fn command_line() -> clap::Command {
    let mut command = Arguments::command();
    command.build(); // so that the commands have the arguments that all of them take
    let local = |arg: clap::Arg| match arg.get_help_heading() {
        Some(cluster::HEADING) => arg.hide(true),
        _ => arg,
    };
    ["up", "run", "exec", "shell", "logs", "ps", "down", "demo"]
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |verb| verb.mut_args(local)))
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the control plane: authority, registry, policy, names.
    Up(UpArgs),
    /// Run an unmodified program as a workload of the mesh.
    Run(RunArgs),
    /// Run another program in a running workload: in its network, with its identity.
    Exec(ExecArgs),
    /// Open a shell in a running workload.
    Shell(ShellArgs),
    /// Show what workloads in the background have written.
    Logs(LogsArgs),
    /// List the running workloads.
    #[command(after_help = PS_HELP)]
    Ps(ReadArgs),
    /// End the mesh: its workloads, then the control plane.
    #[command(after_help = "Example:\n  weft down     workloads get 10 s to end by themselves")]
    Down,
    /// Show what Weft does, with programs that are not ours.
    Demo(DemoArgs),
    /// Ask what the policies decide.
    #[command(
        subcommand,
        after_help = "\
Examples:
  weft authz explain -f policies/ --from cluster.local/ns/shop/sa/checkout --to default/payments
  weft authz test -f policies/ cases.yaml"
    )]
    Authz(AuthzCommand),
    /// Show golden signals: success, rates, latencies, connections, bytes, of services and routes.
    Stat(StatArgs),
    /// Show who calls whom, as which identity, and whether that is secured.
    Edges(EdgesArgs),
    /// Watch calls as they end, and those that last.
    Tap(TapArgs),
    /// Show which calls are made now: how many, how fast, with what success.
    Top(TopArgs),
    /// Say what became of a request, and who ended it.
    Why(WhyArgs),
    /// List the certificates of workloads and of the authority.
    #[command(after_help = CERTS_HELP)]
    Certs(ReadArgs),
    /// List the proxies: their versions, whether they have their records, and their certificates' ends.
    ProxyStatus(ProxyStatusArgs),
    /// Print the certificates that a cluster's pods show.
    Identity(IdentityArgs),
    /// Say what is wrong with a cluster's objects, with files of them, or with both together.
    Analyze(AnalyzeArgs),
    /// Gather what helps others to see what is wrong with a cluster's mesh; no secret is in it.
    BugReport(BugReportArgs),
    /// Print the versions of this program, the control plane and the proxies.
    Version(VersionArgs),
    /// Check the running mesh, and this machine or the cluster; exit 0 when nothing fails.
    Check(CheckArgs),
    /// Print what makes a Kubernetes cluster a mesh, for kubectl apply.
    Install(InstallArgs),
    /// Print what makes an installation one of this version, with its own values, for kubectl apply.
    Upgrade(UpgradeArgs),
    /// Print what Weft made in a cluster, for kubectl delete.
    Uninstall(UninstallArgs),
    /// Ask for a proxy in the pod templates of manifests, for Kubernetes.
    Inject(InjectArgs),
    /// Take out of manifests what `weft inject` put in.
    Uninject(UninjectArgs),
    /// stat, top, tap, edges and check under the names that Linkerd's users know.
    #[command(subcommand, after_help = "Examples:\n  weft viz stat payments\n  weft viz tap --status 5xx")]
    Viz(VizCommand),
    /// Run the control plane of a cluster, as its Deployment does.
    #[command(hide = true)]
    Controller(ControllerArgs),
    /// Print a shell's completions.
    #[command(
        alias = "completion",
        after_help = "\
Examples:
  weft completions bash > ~/.local/share/bash-completion/completions/weft
  weft completions zsh > ~/.zfunc/_weft      in a folder of zsh's $fpath"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// How a read command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// An aligned table or lines, for people.
    #[default]
    Text,
    /// JSON, for programs.
    Json,
}

/// Arguments of every command that only reads.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `weft up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft up -f manifests/        in the foreground; Ctrl-C ends it
  weft up -f manifests/ -d     in the background; weft down ends it")]
pub(crate) struct UpArgs {
    /// A folder of manifests; it is followed while Weft runs.
    #[arg(short = 'f', long = "folder", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Go to the background once the mesh is ready.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// The trust domain of the mesh's identities.
    #[arg(long, default_value = "cluster.local")]
    pub(crate) trust_domain: String,
    /// How long certificates live, such as 24h, 90m or 60s.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = cert_lifetime)]
    pub(crate) cert_lifetime: Duration,
    /// Where Prometheus finds the whole mesh's metrics, or none; port 0 chooses a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15014", value_parser = metrics_address)]
    pub(crate) metrics_address: MetricsAddress,
}

/// Where the mesh's metrics are served, if they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetricsAddress(pub(crate) Option<SocketAddr>);

impl std::fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str(NOWHERE),
        }
    }
}

fn metrics_address(text: &str) -> Result<MetricsAddress, String> {
    if text == NOWHERE {
        return Ok(MetricsAddress(None));
    }
    let wrong = |_| format!("expected an address such as 127.0.0.1:15014, or {NOWHERE}, found {text:?}");
    text.parse().map(|address| MetricsAddress(Some(address))).map_err(wrong)
}

const NOWHERE: &str = "none";

/// `weft demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft demo            a shop under load, live; two manifests close it to strangers; Ctrl-C ends it
  weft demo --once     run through in seconds, every claim checked; needs python3 and curl")]
pub(crate) struct DemoArgs {
    /// Run through once, check every claim, and exit non-zero when one doesn't hold.
    #[arg(long)]
    pub(crate) once: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected KEY=VALUE, found {text:?}")),
    }
}

/// A duration that certificates can live for.
fn cert_lifetime(text: &str) -> Result<Duration, String> {
    let least = weft_identity::LEAST_LIFETIME;
    match duration(text)? {
        lifetime if lifetime >= least => Ok(lifetime),
        _ => Err(format!(
            "expected {} s or more, found {text:?}: a certificate is renewed after a third of its life, and with less \
             in hand a control plane that is started again comes too late",
            least.as_secs()
        )),
    }
}

/// Reads `24h`, `90m`, `60s`, `500ms`, or a sum such as `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration such as 24h, 90m or 60s, found {text:?}");
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let unit = match &rest[digits..digits + letters] {
            "h" => Duration::from_secs(3600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return Err(wrong()),
        };
        sum += unit.checked_mul(number).ok_or_else(wrong)?;
        rest = &rest[digits + letters..];
    }
    if sum.is_zero() { Err(wrong()) } else { Ok(sum) }
}

const PS_HELP: &str = "\
Examples:
  weft ps
  weft ps -o json | jq -r '.[] | select(.state != \"ready\") | .workload'

JSON:
  [{\"namespace\": \"default\", \"name\": \"payments\", \"workload\": \"default/payments-4k2j9\",
    \"state\": \"starting\" | \"ready\" | \"unconfirmed\" | \"restart in 4 s (exit 1)\" | \"ended (exit 0)\",
    \"identity\": \"spiffe://cluster.local/ns/default/sa/payments\",
    \"address\": \"240.240.7.9\", \"mesh_address\": \"127.3.5.7\", \"pid\": 4711, \"age_seconds\": 90,
    \"command\": [\"./payments\"]}]";

const CERTS_HELP: &str = "\
Examples:
  weft certs
  weft certs -o json | jq '.workloads[] | select(.certificate.expires_in_seconds < 3600)'

JSON (a proxy that tells of no certificate has null):
  {\"workloads\": [
    {\"workload\": \"default/payments-4k2j9\",
     \"identity\": \"spiffe://cluster.local/ns/default/sa/payments\",
     \"certificate\": {\"identity\": \"spiffe://…\", \"serial\": \"5f3a…\",
       \"not_before\": \"2026-01-02T03:04:05Z\", \"not_after\": \"2026-01-03T03:04:05Z\",
       \"age_seconds\": 60, \"expires_in_seconds\": 86340, \"renewal\": \"2026-01-02T19:04:05Z\"} | null}],
   \"authority\": {
     \"root\": {\"subject\": …, \"serial\": …, \"not_before\": …, \"not_after\": …,
              \"expires_in_seconds\": 315359940},
     \"issuer\": {likewise}}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn what_runs_on_this_machine_speaks_of_no_cluster() {
        let help = |name| command_line().find_subcommand_mut(name).map(|verb| verb.render_help().to_string());
        assert!(!help("run").unwrap().contains("kubeconfig"));
        assert!(help("run").unwrap().contains("--state-dir"));
        assert!(help("stat").unwrap().contains("--kubeconfig"));
    }

    /// A line that is wrapped can't be copied.
    #[test]
    fn examples_fit_a_line() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() < 100, "weft {}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&command_line());
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "24", "h", "1d", "0s", "-1s", "1h 30m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(cert_lifetime("3s"), Ok(Duration::from_secs(3)));
        assert!(cert_lifetime("2999ms").unwrap_err().starts_with("expected 3 s or more"));
    }
}
