//! Arguments of `weft why`.

use clap::Args;

use super::ReadArgs;

/// `weft why`.
#[derive(Debug, Args)]
#[command(after_help = "\
A refused caller finds the id in its answer's field x-request-id; access logs have it, and the program
that is called. The logs of all proxies are read, as far as they are kept.

Examples:
  weft why 18d92362-bf6c-45d0-be5d-c0a43c99da59
  weft why 18d92362-bf6c-45d0-be5d-c0a43c99da59 -n shop -o json

JSON:
  {\"request_id\": …, \"conclusion\": …, \"calls\": [lines of access logs: docs/access-log.md]}")]
pub(crate) struct WhyArgs {
    /// The request's id.
    pub(crate) request_id: String,
    /// In a cluster, only proxies of this namespace [default: all].
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}
