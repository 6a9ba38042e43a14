//! `weft inject` and `weft uninject`.

use clap::Args;

use super::ManifestFormat;

/// `weft inject`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft inject deploy.yaml | kubectl apply -f -
  kubectl get deploy -o yaml | weft inject - | kubectl apply -f -
  weft inject --skip-outbound-ports 4222 manifests/ | kubectl apply -f -
  weft inject https://example.org/app.yaml | kubectl apply -f -
  weft inject --manual deploy.yaml > injected.yaml     weft uninject gives back what it was

What was done to each object is said on standard error. Comments, order and all that isn't changed stay
as they are.

JSON:
  the object, or {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [the objects]} of several")]
pub(crate) struct InjectArgs {
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    /// Write the sidecar itself, as the injector of the cluster would, in place of an annotation that asks for it.
    #[arg(long)]
    pub(crate) manual: bool,
    /// Write linkerd.io/inject: ingress in place of enabled.
    #[arg(long)]
    pub(crate) ingress: bool,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
}

/// What is worked on, and how the result is written.
#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    /// A file, a folder of *.yaml, *.yml and *.json, an address of the web, or - for standard input; the
    /// result goes to standard output.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// How to print; JSON keeps no comments.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: ManifestFormat,
}

/// Settings of the proxy; each becomes an annotation config.linkerd.io/NAME.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings (annotations config.linkerd.io/…)")]
pub(crate) struct SettingArgs {
    /// Ports whose callers reach the program directly, such as 22,8100-8105.
    #[arg(long, value_name = "PORTS")]
    skip_inbound_ports: Option<String>,
    /// Ports to which the program's calls go out directly.
    #[arg(long, value_name = "PORTS")]
    skip_outbound_ports: Option<String>,
    /// Subnets from which callers reach the program directly.
    #[arg(long, value_name = "CIDRS")]
    skip_subnets: Option<String>,
    /// Ports that speak no HTTP.
    #[arg(long, value_name = "PORTS")]
    opaque_ports: Option<String>,
    /// Who may call where no policy says it, such as all-authenticated.
    #[arg(long, value_name = "POLICY")]
    default_inbound_policy: Option<String>,
    /// The proxy's image.
    #[arg(long, value_name = "IMAGE")]
    proxy_image: Option<String>,
    /// The tag of the proxy's image.
    #[arg(long, value_name = "TAG")]
    proxy_version: Option<String>,
    /// When the image is pulled: Always, IfNotPresent or Never.
    #[arg(long, value_name = "POLICY")]
    image_pull_policy: Option<String>,
    /// The proxy's user.
    #[arg(long, value_name = "UID")]
    proxy_uid: Option<String>,
    /// The proxy's group.
    #[arg(long, value_name = "GID")]
    proxy_gid: Option<String>,
    /// What the proxy logs: error, warn, info or debug.
    #[arg(long, value_name = "LEVEL")]
    proxy_log_level: Option<String>,
    /// CPU that is set aside for the proxy, such as 100m.
    #[arg(long, value_name = "AMOUNT")]
    proxy_cpu_request: Option<String>,
    /// CPU that the proxy may use.
    #[arg(long, value_name = "AMOUNT")]
    proxy_cpu_limit: Option<String>,
    /// Memory that is set aside for the proxy, such as 20Mi.
    #[arg(long, value_name = "AMOUNT")]
    proxy_memory_request: Option<String>,
    /// Memory that the proxy may use.
    #[arg(long, value_name = "AMOUNT")]
    proxy_memory_limit: Option<String>,
}

impl SettingArgs {
    /// Each setting that was given: the flag's name, which is the annotation's, and its value.
    pub(crate) fn given(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("skip-inbound-ports", &self.skip_inbound_ports),
            ("skip-outbound-ports", &self.skip_outbound_ports),
            ("skip-subnets", &self.skip_subnets),
            ("opaque-ports", &self.opaque_ports),
            ("default-inbound-policy", &self.default_inbound_policy),
            ("proxy-image", &self.proxy_image),
            ("proxy-version", &self.proxy_version),
            ("image-pull-policy", &self.image_pull_policy),
            ("proxy-uid", &self.proxy_uid),
            ("proxy-gid", &self.proxy_gid),
            ("proxy-log-level", &self.proxy_log_level),
            ("proxy-cpu-request", &self.proxy_cpu_request),
            ("proxy-cpu-limit", &self.proxy_cpu_limit),
            ("proxy-memory-request", &self.proxy_memory_request),
            ("proxy-memory-limit", &self.proxy_memory_limit),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

/// `weft uninject`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes out annotations that ask for a proxy, and sidecars that weft inject --manual wrote: what stood in
their place comes back.

Examples:
  kubectl get deploy -o yaml | weft uninject - | kubectl apply -f -
  weft uninject injected.yaml > deploy.yaml

JSON:
  the object, or {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [the objects]} of several")]
pub(crate) struct UninjectArgs {
    #[command(flatten)]
    pub(crate) texts: TextArgs,
}
