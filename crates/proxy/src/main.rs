//! One workload's proxy. `--bootstrap-fd N` is how a launcher starts it, `--kubernetes` how a pod does;
//! `--records FILE` runs it from a file, without control plane.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{Notify, mpsc};
use weft_proxy::config::{self, Config, ConfigError, ControlConfig};
use weft_proxy::file::{self, FileError, Loaded};
use weft_proxy::serve::{self, Channels};
use weft_proxy::{control, limits, pod, report};

fn main() -> ExitCode {
    raise_open_files();
    // A log that can't be written, as on a full disk, is no reason to panic: it would say so there.
    let log = tracing_subscriber::fmt().log_internal_errors(false).with_writer(std::io::stderr);
    log.with_env_filter(filter()).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--bootstrap-fd", number] => match number.parse() {
            Ok(number) => ended(config::read_bootstrap(number).and_then(config::from_bootstrap).and_then(run)),
            Err(_) => usage(),
        },
        ["--kubernetes"] => {
            ended(pod::from_environment(|name| std::env::var(name).ok()).and_then(pod::config).and_then(run))
        }
        ["--records", path] => run_file(Path::new(path)),
        ["--help" | "-h"] => print(HELP),
        ["--version" | "-V"] => print(concat!("weft-proxy ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => usage(),
    }
}

/// Each connection and each flow of datagrams is an open file, and the usual limit of 1,024 is there for programs that
/// use select(2) alone.
fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // With fewer, connections wait and flows end earlier.
        let _as_before = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn run((config, control): (Config, ControlConfig)) -> Result<(), ConfigError> {
    let (told, updates) = mpsc::channel(limits::UPDATES);
    let (orders, asked) = mpsc::unbounded_channel();
    let (reports, signals) = report::channel();
    let control = control::spawn(control, (told, asked), reports);
    let control = control.map_err(|e| ConfigError::Socket("control thread", e))?;
    let channels = Channels { updates, orders, signals, stop: Arc::new(Notify::new()) };
    let served = serve::run(config, channels).map_err(|e| ConfigError::Socket("data thread", e));
    // It tells what is left to tell, bounded, and only panics by a bug, which the hook has reported.
    let _panicked = control.join();
    served
}

fn run_file(path: &Path) -> ExitCode {
    match file::load(path) {
        Ok(loaded) => ended(run_loaded(loaded)),
        Err(error @ FileError::Listen(_)) => {
            say(format_args!("{}: {error}; choose another address or end who has it", path.display()));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(format_args!("{}: {error}; docs/records-file.md tells what may stand there", path.display()));
            ExitCode::from(BAD_USE)
        }
    }
}

fn run_loaded(loaded: Loaded) -> Result<(), ConfigError> {
    let (told, updates) = mpsc::channel(limits::UPDATES);
    let (orders, asked) = mpsc::unbounded_channel();
    // A proxy run from a file has nobody to report to.
    let (_reports, signals) = report::channel();
    let destinations = loaded.destinations;
    std::thread::Builder::new()
        .name("records".to_owned())
        .stack_size(RECORDS_STACK_BYTES)
        .spawn(move || {
            if loaded.updates.into_iter().all(|update| told.blocking_send(update).is_ok()) {
                file::answer(&destinations, asked, &told);
            }
        })
        .map_err(|e| ConfigError::Socket("records thread", e))?;
    let channels = Channels { updates, orders, signals, stop: Arc::new(Notify::new()) };
    serve::run(loaded.config, channels).map_err(|e| ConfigError::Socket("data thread", e))
}

fn ended(result: Result<(), ConfigError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("can't run: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    // A reader that went away is no error.
    let _gone = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    say(format_args!(
        "expected --kubernetes, --records FILE or --bootstrap-fd NUMBER; weft-proxy --help has an example"
    ));
    ExitCode::from(BAD_USE)
}

/// One line on standard error.
fn say(text: impl Display) {
    let _gone = writeln!(std::io::stderr(), "weft-proxy: {text}");
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| "info".into())
}

/// The exit code for a command line or a file that can't be understood.
const BAD_USE: u8 = 2;
/// That thread only copies records.
const RECORDS_STACK_BYTES: usize = 128 << 10;

const HELP: &str = r#"weft-proxy: the proxy beside one workload of a Weft mesh

  weft-proxy --records FILE        run from a file, without control plane: to try or to race a pair on loopback
  weft-proxy --bootstrap-fd N      started by `weft run`: told what it is on an inherited descriptor
  weft-proxy --kubernetes          in an injected pod: told what it is by its environment

A FILE for the calling side; docs/records-file.md describes every field:

  {
    "workload": "default/client",
    "identity": "spiffe://cluster.local/ns/default/sa/client",
    "certificate": {"chain": "client.crt", "key": "client.key"},
    "trust": {"anchors": "ca.crt"},
    "outbound": [{"listen": "127.0.0.1:18080", "destination": "server.default.svc.cluster.local:80"}],
    "admin": "127.0.0.1:15020",
    "destinations": [{
      "host": "server.default.svc.cluster.local",
      "addresses": ["240.240.0.9"],
      "ports": [{"port": 80, "target": 8080, "protocol": "http"}],
      "endpoints": [{
        "workload": "default/server",
        "address": "240.240.1.9",
        "identity": "spiffe://cluster.local/ns/default/sa/server",
        "tunnel": {"mesh": "127.0.0.1:25008"}
      }]
    }]
  }

  curl http://127.0.0.1:18080/      goes to the server's proxy by mutual TLS
  curl http://127.0.0.1:15020/metrics

WEFT_LOG chooses what is logged on standard error (error, warn, info, debug). Exit: 0 ended by SIGTERM,
1 it can't run, 2 a command line or a file that can't be understood.
"#;
