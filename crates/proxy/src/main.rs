//! `weft-proxy --bootstrap-fd N`: one workload's proxy, told what it is by a JSON document on an
//! inherited descriptor.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use weft_proxy::config::{self, ConfigError};
use weft_proxy::data::{self, Channels};
use weft_proxy::{control, limits, report};

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter()).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, number] = arguments.as_slice() else { return usage() };
    let (true, Ok(number)) = (flag == "--bootstrap-fd", number.parse()) else { return usage() };
    match run(number) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the proxy can't run");
            ExitCode::FAILURE
        }
    }
}

fn run(number: i32) -> Result<(), ConfigError> {
    let (config, control) = config::from_bootstrap(config::read_bootstrap(number)?)?;
    let (told, updates) = mpsc::channel(limits::UPDATES);
    let (orders, asked) = mpsc::unbounded_channel();
    let (reports, signals) = report::channel();
    let control = control::spawn(control, (told, asked), reports);
    let control = control.map_err(|e| ConfigError::Socket("control thread", e))?;
    let channels = Channels { updates, orders, signals, stop: Arc::new(Notify::new()) };
    let served = data::run(config, channels).map_err(|e| ConfigError::Socket("data thread", e));
    // It tells what is left to tell, bounded, and only panics by a bug, which the hook has reported.
    let _panicked = control.join();
    served
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| "info".into())
}

fn usage() -> ExitCode {
    tracing::error!("expected --bootstrap-fd NUMBER");
    ExitCode::from(2)
}
