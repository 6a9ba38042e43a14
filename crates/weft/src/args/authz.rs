//! `weft authz explain` and `weft authz test`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use weft_mesh::TrustDomain;

use super::parties::{Callee, Caller, callee, caller};
use super::{ReadArgs, request};

/// `weft authz`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthzCommand {
    /// Say whether a call is allowed, and by which rule of which file.
    Explain(Box<ExplainArgs>),
    /// Check a folder's policies against a list of expectations.
    Test(TestArgs),
}

/// `weft authz explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft authz explain -f policies/ --from cluster.local/ns/shop/sa/checkout --to default/payments
  weft authz explain --from spiffe://cluster.local/ns/shop/sa/checkout \\
      --to default/app=payments,tier=back --method POST --path /charge --header x-team=red
  weft authz explain -n shop --from deploy/checkout --to deploy/payments --port 8080

The exit status is 0 whatever the verdict; weft authz test is for checks.

JSON (a verdict that no rule decided has null):
  {\"verdict\": \"allow\" | \"deny\",
   \"rule\": {\"policy\": \"default/payments\", \"index\": 0, \"file\": \"payments.yaml\", \"line\": 12} | null,
   \"reason\": \"allowed: ALLOW rule 0 matches (default/payments at payments.yaml:12)\",
   \"problems\": []}")]
pub(crate) struct ExplainArgs {
    /// A folder of manifests; without it, the running mesh is asked, or what the cluster says.
    #[arg(short = 'f', long = "folder", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Who calls: an identity, with or without spiffe://; NAMESPACE/ACCOUNT; in a cluster po/NAME or
    /// deploy/NAME; left out: a plaintext caller.
    #[arg(long, value_name = "ID", value_parser = caller)]
    pub(crate) from: Option<Caller>,
    /// The caller's address [default: in a cluster that of the caller's pod, else one that is the cluster's;
    /// 127.0.0.1 elsewhere].
    #[arg(long, value_name = "IP")]
    pub(crate) from_ip: Option<IpAddr>,
    /// Whom: NAMESPACE/NAME (a service, or the label app) or NAMESPACE/KEY=VALUE,…; in a cluster po/NAME, deploy/NAME
    /// or svc/NAME too.
    #[arg(long, value_name = "NS/NAME", value_parser = callee)]
    pub(crate) to: Callee,
    /// The namespace of po/NAME and the like [default: the kubeconfig's].
    #[arg(short, long, conflicts_with = "folder")]
    pub(crate) namespace: Option<String>,
    /// The workload's port [default: the only one that it declares, else 80].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// What is spoken [default: http with --method, --path, --host or --header; else as the port is declared, or tcp].
    #[arg(long, value_enum)]
    pub(crate) protocol: Option<Protocol>,
    /// The server name of the caller's own TLS, which passes as tcp.
    #[arg(long, value_name = "HOST", value_parser = request::host)]
    pub(crate) sni: Option<String>,
    /// The HTTP method [default: GET, with grpc POST].
    #[arg(long, value_parser = request::method)]
    pub(crate) method: Option<String>,
    /// The HTTP path, query and all [default: /].
    #[arg(long, value_parser = request::target)]
    pub(crate) path: Option<String>,
    /// The HTTP authority [default: the workload's full name].
    #[arg(long, value_parser = request::host)]
    pub(crate) host: Option<String>,
    /// A header field; may be repeated.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = request::header)]
    pub(crate) headers: Vec<(String, String)>,
    /// The mesh's trust domain, with -f.
    #[arg(long, default_value_t, requires = "folder")]
    pub(crate) trust_domain: TrustDomain,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// `weft authz test`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft authz test -f policies/ cases.yaml
  weft authz test -f policies/ cases.yaml -o junit > report.xml

A file of cases:
  cases:
    - name: checkout may charge
      from: {principal: cluster.local/ns/shop/sa/checkout}
      to: {namespace: default, labels: {app: payments}, port: 8080, protocol: http}
      request: {method: POST, path: /charge, headers: {x-team: red}}
      expect: allow

JSON:
  {\"cases\": [{\"name\": \"checkout may charge\", \"expect\": \"allow\", \"verdict\": \"deny\", \"ok\": false,
              \"rule\": {\"policy\": …, \"index\": 0, \"file\": …, \"line\": 12} | null, \"reason\": …}],
   \"problems\": []}

Exit status: 0 when every case came out as expected, 1 when one differs, 2 when the cases or the folder can't be used.")]
pub(crate) struct TestArgs {
    /// A folder of manifests.
    #[arg(short = 'f', long = "folder", value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// A file of cases.
    #[arg(value_name = "CASES.yaml")]
    pub(crate) cases: PathBuf,
    /// The mesh's trust domain.
    #[arg(long, default_value_t)]
    pub(crate) trust_domain: TrustDomain,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: ReportFormat,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP requests.
    #[default]
    Http,
    /// gRPC: HTTP requests too.
    Grpc,
    /// Bytes: HTTP fields can't be seen.
    Tcp,
}

/// How a test's outcome is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Lines, for people.
    #[default]
    Text,
    /// JSON, for programs.
    Json,
    /// JUnit's XML, for CI systems.
    Junit,
}
