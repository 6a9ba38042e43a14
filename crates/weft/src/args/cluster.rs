//! Arguments that choose a cluster, and those of what is made in one.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which mesh is meant: this machine's, or a cluster's.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct ClusterArgs {
    /// Ask this machine's mesh, whatever kubeconfig there is.
    #[arg(long, global = true, conflicts_with_all = ["kubeconfig", "context"])]
    pub(crate) local: bool,
    /// Ask the cluster of this kubeconfig [default: $KUBECONFIG or ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Ask the cluster of this context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Act as this user.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(crate) as_user: Option<String>,
    /// Act as a member of this group; may be repeated.
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "as_user")]
    pub(crate) as_groups: Vec<String>,
    /// The namespace of Weft's control plane.
    #[arg(short = 'L', long, global = true, value_name = "NAMESPACE", env = "WEFT_NAMESPACE", default_value = "weft", value_parser = namespace)]
    pub(crate) weft_namespace: String,
}

/// Over these arguments in the help of every command that takes them.
pub(super) const HEADING: &str = "Which mesh";

/// How manifests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ManifestFormat {
    /// A document for each object.
    #[default]
    Yaml,
    /// One list.
    Json,
}

/// `weft install`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is applied: what is printed is for kubectl. It holds no key; the controller makes them.
docs/kubernetes.md lists the values.

Examples:
  weft install --crds | kubectl apply -f -
  weft install | kubectl apply -f -
  weft install --set trustDomain=example.org --values mine.yaml -o json

JSON:
  {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": …, \"kind\": \"Namespace\", …}, …]}")]
pub(crate) struct InstallArgs {
    /// Print without asking the cluster what it already has.
    #[arg(long)]
    pub(crate) ignore_cluster: bool,
    #[command(flatten)]
    pub(crate) what: ManifestArgs,
}

/// `weft upgrade`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints what weft install does, with the values that are installed in place of the defaults, and this
weft's version of the images. Nothing is applied: what is printed is for kubectl.

Examples:
  weft upgrade --crds | kubectl apply -f -
  weft upgrade | kubectl apply -f -
  weft upgrade --set proxy.logLevel=debug | kubectl apply -f -

JSON:
  {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": …, \"kind\": \"Namespace\", …}, …]}")]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    pub(crate) what: ManifestArgs,
}

/// What an installation consists of, and how it is printed.
#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    /// Print the resource definitions alone, which must be there first.
    #[arg(long)]
    pub(crate) crds: bool,
    /// Set a value, such as images.pullPolicy=Always; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Set a value to a string, whatever it looks like; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set_string: Vec<String>,
    /// Take values from a file in YAML, - for standard input; may be repeated. --set goes before it.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) values: Vec<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: ManifestFormat,
}

/// `weft uninstall`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is deleted: what is printed is for kubectl.

Examples:
  weft uninstall | kubectl delete -f -
  weft uninstall --crds | kubectl delete -f -     the policies of the whole cluster too

JSON:
  {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [
    {\"apiVersion\": …, \"kind\": …, \"metadata\": {\"name\": …}}, …]}")]
pub(crate) struct UninstallArgs {
    /// Print also while pods still have proxies.
    #[arg(long)]
    pub(crate) force: bool,
    /// Print the resource definitions that Weft made too: every policy goes with them.
    #[arg(long)]
    pub(crate) crds: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: ManifestFormat,
}

/// A namespace's name (RFC 1123).
fn namespace(text: &str) -> Result<String, String> {
    let inner = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match inner && !text.is_empty() && text.len() <= 63 && !text.starts_with('-') && !text.ends_with('-') {
        true => Ok(text.to_owned()),
        false => Err(format!("expected a namespace's name such as weft, found {text:?}")),
    }
}
