//! `weft run`: what can be said of one program.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedI64ValueParser;
use weft_wire::bootstrap::Published;

use super::port::PortFlag;

/// `weft run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft run payments --port 8080 -- ./payments
  weft run checkout -n shop -- ./checkout --payments http://payments.default:8080
  weft run web --publish 8080:80 -- nginx -g 'daemon off;'
  sudo weft run orders --user orders -- ./orders     by root: a real boundary between users
  weft run orders -d --ready-http 8080/healthz -- ./orders     in the background")]
pub(crate) struct RunArgs {
    /// The workload's name; also its service's, its label app, and its service account's.
    pub(crate) name: String,
    /// The namespace.
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
    /// The service account [default: the name].
    #[arg(long, value_name = "SA")]
    pub(crate) service_account: Option<String>,
    /// Declared ports.
    #[arg(
        long = "port",
        value_name = "[NAME:]PORT[/PROTOCOL]",
        help = "A port that the program serves, such as 8080, grpc:9000 or 5432/tcp; undeclared ones work too"
    )]
    pub(crate) ports: Vec<PortFlag>,
    /// Let callers outside the mesh reach a port, plainly, as policy allows.
    #[arg(long = "publish", value_name = "[ADDR:]HOSTPORT:PORT", value_parser = super::port::published)]
    pub(crate) publish: Vec<Published>,
    /// A port of the host's loopback, TCP and UDP, that the program finds at its own, such as a database's; any other port of
    /// the host's is reached at host.weft.internal.
    #[arg(long = "forward", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) forward: Vec<u16>,
    /// A label, for policies' selectors.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = super::key_value)]
    pub(crate) labels: Vec<(String, String)>,
    /// Go to the background once it can be called; `weft logs` shows its output.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// This is what `--detach` started.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    #[command(flatten)]
    pub(crate) ready: ReadyArgs,
    #[command(flatten)]
    pub(crate) ready_timing: ReadyTimingArgs,
    /// Write its output to this file, of which the newest 8 to 16 MiB are kept.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The folder's workload that this is a replica of.
    #[arg(long, hide = true, default_value = "")]
    pub(crate) owner: String,
    /// Run the program as this user of the machine; for root alone.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Let the program see $XDG_RUNTIME_DIR (its user's agents live there).
    #[arg(long)]
    pub(crate) keep_runtime_dir: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

/// How it is known that the program can be called.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(crate) struct ReadyArgs {
    /// It is called once it accepts connections at this port; else as soon as its proxy listens.
    #[arg(long = "ready-port", value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// It is called once it answers a GET with a status of 200 to 399.
    #[arg(long = "ready-http", value_name = "PORT[/PATH]", value_parser = ready_http)]
    pub(crate) http: Option<(u16, String)>,
    /// It is called once this line of the shell, run in the workload, ends with 0.
    #[arg(long = "ready-exec", value_name = "COMMAND")]
    pub(crate) exec: Option<String>,
}

/// How often that is asked, and which answers count.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ReadyTimingArgs {
    /// Seconds before the first question.
    #[arg(long = "ready-initial-delay", value_name = "SECONDS", default_value_t = 0)]
    pub(crate) initial_delay: u16,
    /// Seconds between two questions.
    #[arg(long = "ready-period", value_name = "SECONDS", default_value_t = 1, value_parser = at_least_one())]
    pub(crate) period: u16,
    /// Seconds that an answer may take.
    #[arg(long = "ready-timeout", value_name = "SECONDS", default_value_t = 1, value_parser = at_least_one())]
    pub(crate) timeout: u16,
    /// Good answers in a row that make it ready.
    #[arg(long = "ready-successes", value_name = "COUNT", default_value_t = 1, value_parser = at_least_one())]
    pub(crate) successes: u16,
    /// Bad answers in a row that make it unready.
    #[arg(long = "ready-failures", value_name = "COUNT", default_value_t = 3, value_parser = at_least_one())]
    pub(crate) failures: u16,
}

fn at_least_one() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

fn ready_http(text: &str) -> Result<(u16, String), String> {
    let (port, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    match port.parse() {
        Ok(port) if port != 0 && path.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok((port, if path.is_empty() { "/" } else { path }.to_owned()))
        }
        _ => Err(format!("expected PORT or PORT/PATH such as 8080/healthz, found {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_readiness_is_asked_is_read() {
        assert_eq!(ready_http("8080"), Ok((8080, "/".to_owned())));
        assert_eq!(ready_http("80/a?b=/c"), Ok((80, "/a?b=/c".to_owned())));
        for wrong in ["", "/", "0", "x/y", "80/a b", "80/\n"] {
            assert!(ready_http(wrong).is_err(), "{wrong:?}");
        }
    }
}
