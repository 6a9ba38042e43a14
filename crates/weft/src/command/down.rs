//! `weft down`: ends the workloads, then the control plane.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use weft_wire::proto::weft::v1::ShutdownRequest;

use crate::client;
use crate::failure::{Context, Failure};
use crate::home::Home;
use crate::print;

/// Asks the control plane to end and waits until it has.
pub(crate) fn run(home: &Home) -> Result<ExitCode, Failure> {
    crate::runtime::of_this_thread()?.block_on(async {
        let mut control = client::connect(home).await?;
        let answer = control.shutdown(ShutdownRequest { stop_workloads: true }).await;
        answer.map_err(|status| client::refused("end the mesh", &status))?;
        wait_for_the_end(home).await
    })?;
    print::line("the mesh has ended");
    Ok(ExitCode::SUCCESS)
}

/// The control plane lets go of its folder last: then another can be started.
async fn wait_for_the_end(home: &Home) -> Result<(), Failure> {
    let deadline = Instant::now() + END_TIMEOUT;
    while weft_control::is_held(home.state()).context("look at the state folder")? {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("the mesh still runs after {} s", END_TIMEOUT.as_secs()))
                .hint("what still runs: weft ps"));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Workloads get 10 s to end by themselves; the control plane waits for them.
const END_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
