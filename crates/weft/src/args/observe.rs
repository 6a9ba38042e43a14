//! Arguments of the commands that read signals and state.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::resource::{Resources, ScopeArgs, TableFormat, resources};
use super::watch::{TapArgs, TopArgs};
use super::{ReadArgs, duration};

/// `weft stat`.
#[derive(Debug, Args)]
#[command(after_help = "\
SUCCESS counts requests without a 5xx, a missing response or a gRPC status that blames the server;
of plain TCP, connections that ended well. Latencies are within 5 %. MTLS is the share of calls
that came by mutual TLS.

In a cluster, a kind (deploy, sts, ds, rs, job, cronjob, po, svc, ns) asks for its resources: what they
were called, or with --to and --from what passed between two. MESHED is how many of their pods have a
proxy. Pods are told of for the last five minutes.

Examples:
  weft stat
  weft stat payments --window 10m
  weft stat deploy -n shop
  weft stat deploy/web -n shop --to svc/payments
  weft stat ns
  weft stat -o json | jq '.services[] | select(.success_rate < 0.99)'

JSON of resources:
  [{\"namespace\": \"shop\", \"kind\": \"deployment\", \"name\": \"web\", \"meshed\": \"2/2\" | null,
    \"status\": \"Running\" (of pods alone),
    \"success\": 0.998 | null, \"rps\": 20.0 | null,
    \"latency_ms_p50\": 1.2 | null, \"latency_ms_p95\": …, \"latency_ms_p99\": …,
    \"tcp_open_connections\": 3, \"tcp_read_bytes_rate\": 10.5, \"tcp_write_bytes_rate\": 20.5}]
JSON of services (a value that nothing can be told of is null):
  {\"window_seconds\": 60, \"covered_seconds\": 61.5, \"services\": [
    {\"namespace\": \"default\", \"service\": \"payments\", \"host\": \"payments.default.svc.cluster.local\",
     \"success_rate\": 0.998, \"requests\": 1230, \"requests_per_second\": 20.0,
     \"latency_ms\": {\"p50\": 1.2, \"p95\": 4.1, \"p99\": 9.0},
     \"tcp\": {\"open\": 3, \"opened\": 10, \"closed\": 7, \"failed\": 0},
     \"bytes\": {\"received\": 1000, \"sent\": 2000}, \"mtls_share\": 1.0, \"denied\": 0,
     \"routes\": [{\"route\": \"GET /charge/{id}\", \"success_rate\": 0.998, …}]}]}")]
pub(crate) struct StatArgs {
    /// Only this service, NAME or NAMESPACE/NAME; or a cluster's resources: KIND, KIND/NAME or KIND NAME.
    #[arg(value_name = "SERVICE|KIND", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    /// Only their calls to this, such as svc/payments or deploy.
    #[arg(long, value_name = "KIND[/NAME]", value_parser = resources)]
    pub(crate) to: Option<Resources>,
    /// The namespace of --to [default: that of the resources].
    #[arg(long, requires = "to")]
    pub(crate) to_namespace: Option<String>,
    /// Only calls to them from this.
    #[arg(long, value_name = "KIND[/NAME]", value_parser = resources, conflicts_with = "to")]
    pub(crate) from: Option<Resources>,
    /// The namespace of --from [default: that of the resources].
    #[arg(long, requires = "from")]
    pub(crate) from_namespace: Option<String>,
    #[command(flatten)]
    pub(crate) window: WindowArgs,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: TableFormat,
}

/// `weft edges`.
#[derive(Debug, Args)]
#[command(after_help = "\
SECURED is yes for mutual TLS; no for a plaintext caller; outside for a call to the outside of the
mesh; ? where no proxy of the callee told anything. In a cluster, a kind (deploy, sts, ds, rs, job,
cronjob, po, svc, ns) asks for edges between its resources, by either side's namespace.

Examples:
  weft edges -o json | jq '.edges[] | select(.security == \"none\")'
  weft edges deploy -n shop
  weft edges ns -A -o wide

JSON of resources (src is empty where the caller is unknown):
  [{\"src\": \"checkout\", \"src_namespace\": \"shop\", \"dst\": \"payments\", \"dst_namespace\": \"shop\",
    \"client_id\": \"spiffe://…\" | null, \"server_id\": \"spiffe://…\" | null,
    \"security\": \"mutual_tls\" | \"none\", \"no_tls_reason\": \"\",
    \"success\": 1.0 | null, \"rps\": 0.2, \"tcp_open_connections\": 0}]
JSON of applications:
  {\"window_seconds\": 60, \"covered_seconds\": 61.5, \"edges\": [
    {\"source\": {\"namespace\": \"default\", \"app\": \"checkout\", \"identity\": \"spiffe://…\"},
     \"destination\": {\"namespace\": \"default\", \"app\": \"payments\", \"identity\": \"spiffe://…\"},
     \"service\": \"payments.default.svc.cluster.local\",
     \"security\": \"mutual_tls\" | \"none\" | \"outside\" | \"unknown\",
     \"success_rate\": 1.0, \"requests\": 12, \"requests_per_second\": 0.2,
     \"tcp\": {\"open\": 0, \"opened\": 0, \"closed\": 0, \"failed\": 0}, \"denied\": 0}]}")]
pub(crate) struct EdgesArgs {
    /// A cluster's resources: KIND, KIND/NAME or KIND NAME.
    #[arg(value_name = "KIND", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    #[command(flatten)]
    pub(crate) window: WindowArgs,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: TableFormat,
}

/// How far a command looks back.
#[derive(Debug, Args)]
pub(crate) struct WindowArgs {
    /// How far to look back, such as 30s, 10m or 1h (the most).
    #[arg(short = 't', long, visible_alias = "time-window", value_name = "DURATION", default_value = "1m", value_parser = window)]
    pub(crate) window: u32,
}

/// `weft proxy-status`.
#[derive(Debug, Args)]
#[command(after_help = "\
RECORDS is acked when the proxy has confirmed the newest records of policies and destinations; stale
while a newer one is on its way; refused when it keeps an older one; disconnected without a stream.

Examples:
  weft proxy-status
  weft proxy-status -n shop
  weft proxy-status -o json | jq '.[] | select(.records != \"acked\")'

JSON (null where the proxy tells nothing):
  [{\"namespace\": \"shop\", \"name\": \"web-7d9f-x1\", \"version\": \"0.1.0\" | null,
    \"records\": \"acked\" | \"stale\" | \"refused\" | \"disconnected\", \"refused\": [\"RECORD: REASON\"],
    \"destinations\": 3 | null, \"certificate_expires_in_seconds\": 80000 | null,
    \"last_seen_seconds\": 2 | null}]")]
pub(crate) struct ProxyStatusArgs {
    /// Only this proxy's: the name of its pod or workload, or NAMESPACE/NAME.
    #[arg(value_name = "POD")]
    pub(crate) workload: Option<String>,
    /// Only proxies of this namespace.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// `weft identity`.
#[derive(Debug, Args)]
#[command(after_help = "\
The certificate is the one that the pod's proxy shows to its callers, over a port-forward; it isn't
verified here.

Examples:
  weft identity -n shop web-7d9f-x1
  weft identity -n shop -l app=web -o json

JSON:
  [{\"namespace\": \"shop\", \"pod\": \"web-7d9f-x1\", \"uris\": [\"spiffe://…\"], \"serial\": \"5f:3a…\",
    \"issuer\": \"CN=…\", \"not_before\": \"2026-01-02T03:04:05Z\", \"not_after\": …}]")]
pub(crate) struct IdentityArgs {
    /// The pods.
    #[arg(value_name = "POD", required_unless_present = "selector")]
    pub(crate) pods: Vec<String>,
    /// The pods' namespace [default: the kubeconfig's].
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// All pods with a proxy that these labels select, in place of names.
    #[arg(short = 'l', long, conflicts_with = "pods")]
    pub(crate) selector: Option<String>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// `weft version`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft version
  weft version --client --short
  weft version --proxy -n shop

JSON (server is null where no mesh answers):
  {\"client\": \"0.1.0\", \"server\": \"0.1.0\" | null, \"proxies\": [{\"version\": \"0.1.0\", \"pods\": 5}]}")]
pub(crate) struct VersionArgs {
    /// Only this program's.
    #[arg(long, conflicts_with_all = ["proxy", "namespace"])]
    pub(crate) client: bool,
    /// The version numbers alone.
    #[arg(long)]
    pub(crate) short: bool,
    /// The proxies' too.
    #[arg(long)]
    pub(crate) proxy: bool,
    /// Only proxies of this namespace.
    #[arg(short, long, requires = "proxy")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// `weft check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Checks this machine's mesh, or the cluster that a kubeconfig names. Exits 0 when nothing fails (warnings
allowed), else 1; 1 while no mesh runs. In a cluster, what is only still starting is waited for.

Examples:
  weft check
  weft check --wait=30s     until nothing fails, for half a minute at most
  weft check --pre          whether Weft can be installed in the cluster
  weft check --proxy -n shop

JSON, of this machine's mesh:
  {\"ok\": false, \"checks\": [
    {\"name\": \"control plane\", \"status\": \"ok\" | \"warn\" | \"fail\", \"detail\": …, \"hint\": … | null}]}
JSON, of a cluster (hint and error only where something isn't fine):
  {\"success\": false, \"categories\": [{\"categoryName\": \"weft-existence\", \"checks\": [
    {\"description\": …, \"hint\": …, \"error\": …, \"result\": \"success\" | \"warning\" | \"error\"}]}]}")]
pub(crate) struct CheckArgs {
    /// Only what must be so before an installation.
    #[arg(long, conflicts_with_all = ["proxy", "crds"])]
    pub(crate) pre: bool,
    /// Only the cluster's resource definitions.
    #[arg(long, conflicts_with = "proxy")]
    pub(crate) crds: bool,
    /// The proxies of a cluster's pods too.
    #[arg(long)]
    pub(crate) proxy: bool,
    /// Only pods of this namespace of a cluster.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// The version that everything should have [default: this weft's own].
    #[arg(long, value_name = "VERSION")]
    pub(crate) expected_version: Option<String>,
    /// Wait until nothing fails, for so long at most [default: 60s].
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "60s", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// How to print; short leaves out what is fine.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: CheckFormat,
}

/// How `weft check` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum CheckFormat {
    /// A line for each check.
    #[default]
    #[value(alias = "text")]
    Table,
    /// Only what isn't fine.
    Short,
    /// JSON, for programs.
    Json,
}

impl CheckArgs {
    /// Whether only a cluster can be meant.
    pub(crate) fn is_about_a_cluster(&self) -> bool {
        self.pre || self.crds || self.proxy || self.namespace.is_some()
    }
}

/// `weft viz`.
#[derive(Debug, Subcommand)]
pub(crate) enum VizCommand {
    /// weft stat
    Stat(StatArgs),
    /// weft top
    Top(TopArgs),
    /// weft tap
    Tap(TapArgs),
    /// weft edges
    Edges(EdgesArgs),
    /// weft check
    Check(CheckArgs),
    /// What Linkerd's users install first.
    #[command(hide = true)]
    Install {
        /// Whatever was said.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

fn window(text: &str) -> Result<u32, String> {
    match duration(text)?.as_secs() {
        seconds @ 1..=MAX_WINDOW_SECONDS => Ok(seconds as u32),
        _ => Err(format!("expected a window from 1s to 1h, found {text:?}")),
    }
}

/// What the control plane remembers.
const MAX_WINDOW_SECONDS: u64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read() {
        assert_eq!((window("1s"), window("1h")), (Ok(1), Ok(3_600)));
        for wrong in ["500ms", "61m", "0s", "1"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }
}
