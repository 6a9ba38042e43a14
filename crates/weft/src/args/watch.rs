//! Arguments of `weft tap` and `weft top`, which watch calls as they end.

use std::time::Duration;

use clap::Args;

use super::resource::ScopeArgs;
use super::{ReadArgs, duration};

/// `weft tap`.
#[derive(Debug, Args)]
#[command(after_help = "\
Calls are shown when they end, as each proxy sees them: \"in\" is the callee's, \"out\" the caller's.
One that lasts (a stream, a WebSocket, a TCP connection) is shown before too, once, as \"open for\" so
long, if it began while weft tap ran; a filter by status waits for its end. What comes faster than it can be shown is left out, and counted on standard error.

Examples:
  weft tap payments --status 5xx
  weft tap deploy/payments -n shop
  weft tap --path '/charge/*' --identity cluster.local/ns/default/sa/checkout
  weft tap --count 10 -o json

JSON, a line for each call that ended or (\"open\": true) lasts:
  {\"start\": \"2026-01-02T03:04:05.678901Z\", \"duration_ms\": 1.25,
   \"reporter\": \"source\" | \"destination\",
   \"source\": {\"namespace\": …, \"workload\": …, \"app\": …, \"identity\": … | null, \"address\": …},
   \"destination\": {likewise}, \"service\": …, \"protocol\": \"tcp\" | \"http\" | \"grpc\", \"security\": …,
   \"method\": … | null, \"path\": … | null, \"status\": 200 | null, \"bytes\": {\"received\": 0, \"sent\": 0},
   \"verdict\": \"allow\" | \"deny\" | null, \"flag\": \"-\", \"why\": … | null, \"open\": true | false}")]
pub(crate) struct TapArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// End after so many lines.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// `weft top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Calls are gathered by side, source, destination, method and path, as they end: \"in\" is the callee's proxy,
\"out\" the caller's. Queries of paths are left out. On a terminal the table is drawn anew each second until
Ctrl-C; elsewhere it is printed once, after 10 s.

Examples:
  weft top payments
  weft top deploy/payments -n shop --hide-sources
  weft top deploy -n shop --for 30s -o json

JSON:
  [{\"reporter\": \"source\" | \"destination\", \"source\": \"shop/web-7d9f-x1\" | null,
    \"destination\": \"shop/payments\", \"method\": \"GET\", \"path\": \"/charge\", \"count\": 120,
    \"best_ms\": 1.2, \"worst_ms\": 30.5, \"last_ms\": 2.0, \"success\": 0.998}]")]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Don't tell callers apart.
    #[arg(long)]
    pub(crate) hide_sources: bool,
    /// Gather for so long, then print and end.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Which calls are watched.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only calls of or to this: NAME or NAMESPACE/NAME of a workload or of its application, or a
    /// cluster's KIND, KIND/NAME or KIND NAME.
    #[arg(value_name = "WORKLOAD|KIND", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    /// Only requests of this method.
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Only requests of this path; a * at the end stands for any rest.
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// Only requests answered so, such as 503 or 5xx.
    #[arg(long, value_parser = status)]
    pub(crate) status: Option<String>,
    /// Only calls with this identity on either side, with or without spiffe://.
    #[arg(long, value_name = "ID")]
    pub(crate) identity: Option<String>,
}

fn status(text: &str) -> Result<String, String> {
    let digits = text.strip_suffix("xx").map_or((text, 3), |class| (class, 1));
    let fits = digits.0.len() == digits.1 && digits.0.bytes().all(|b| b.is_ascii_digit());
    if fits { Ok(text.to_owned()) } else { Err(format!("expected a status such as 503 or 5xx, found {text:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read() {
        for right in ["503", "5xx", "200"] {
            assert_eq!(status(right).as_deref(), Ok(right));
        }
        for wrong in ["", "50", "5x", "5xxx", "xx", "abc"] {
            assert!(status(wrong).is_err(), "{wrong}");
        }
    }
}
