//! Arguments of `weft analyze` and `weft bug-report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use weft_kube::analyze::Suppression;

/// `weft analyze`.
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at the cluster, at files, or at both as if the files were applied. Codes are Istio's where the
meaning is the same; an object's annotation galley.istio.io/analyze-suppress: CODE,… silences some.

Examples:
  weft analyze -n shop
  weft analyze -A manifests/
  weft analyze --use-kube=false manifests/ --failure-threshold warning
  kubectl get deploy -n shop -o yaml | weft analyze -

Exit status: 0, or 1 when a message is as bad as --failure-threshold, whatever the output.

JSON:
  [{\"code\": \"IST0103\", \"level\": \"Info\" | \"Warning\" | \"Error\", \"origin\": \"Pod web-7d9f-x1.shop\",
    \"reference\": \"FILE:LINE\" | \"\", \"message\": …}]")]
pub(crate) struct AnalyzeArgs {
    /// Files, folders of *.yaml, *.yml and *.json, addresses of the web, or - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Look at this namespace of the cluster [default: the kubeconfig's].
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Look at all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Whether to look at the cluster.
    #[arg(long, value_name = "true|false", value_enum, num_args = 0..=1, require_equals = true, default_value_t, default_missing_value = "true")]
    pub(crate) use_kube: UseKube,
    /// The least bad message that makes the command fail.
    #[arg(long, value_enum, default_value_t = Threshold::Error)]
    pub(crate) failure_threshold: Threshold,
    /// The least bad message that is shown.
    #[arg(long, value_enum, default_value_t = Threshold::Info)]
    pub(crate) output_threshold: Threshold,
    /// Leave out a code's messages about an object, such as "IST0103=Pod web-*.shop"; may be repeated.
    #[arg(short = 'S', long, value_name = "CODE=OBJECT")]
    pub(crate) suppress: Vec<Suppression>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: AnalyzeFormat,
}

/// Whether the cluster is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum UseKube {
    /// It is.
    #[default]
    True,
    /// Files alone count.
    False,
}

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Threshold {
    /// Worth knowing.
    #[value(alias = "Info")]
    Info,
    /// Perhaps not as it was meant.
    #[value(aliases = ["Warning", "warn", "Warn"])]
    Warning,
    /// Wrong.
    #[value(alias = "Error")]
    Error,
}

/// How messages are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum AnalyzeFormat {
    /// A line for each.
    #[default]
    #[value(alias = "text")]
    Log,
    /// JSON, for programs.
    Json,
    /// YAML, likewise.
    Yaml,
}

/// `weft bug-report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Writes what helps others to see what is wrong: versions, checks, pods, events, logs, policies, proxies,
certificates' dates, metrics and messages of weft analyze. Secrets are never read; values of
environment variables and whatever looks like a key or a token are left out. Look through it before
you send it on.

Examples:
  weft bug-report                          into weft-bug-report-TIME.tar.gz
  weft bug-report -n shop -o report.tar.gz     of one namespace beside Weft's
  tar xzf report.tar.gz")]
pub(crate) struct BugReportArgs {
    /// The namespaces to tell of beside Weft's [default: those with proxies]; may be repeated.
    #[arg(short, long)]
    pub(crate) namespace: Vec<String>,
    /// The archive to write, which isn't there yet, or a folder for it [default: this folder].
    #[arg(short, long, value_name = "DIR|FILE")]
    pub(crate) output: Option<PathBuf>,
}
