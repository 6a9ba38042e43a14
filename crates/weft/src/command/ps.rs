//! `weft ps`: the running workloads.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use weft_wire::proto::weft::v1::{IdleWorkload, Workload, WorkloadState};

use crate::args::{Format, ReadArgs};
use crate::failure::Failure;
use crate::figures;
use crate::home::Home;
use crate::print;

/// One workload as it is printed.
#[derive(Debug, Default, Serialize)]
struct Row {
    namespace: String,
    name: String,
    workload: String,
    state: String,
    identity: String,
    address: String,
    mesh_address: String,
    pid: u32,
    age_seconds: u64,
    command: Vec<String>,
}

/// Lists the workloads.
pub(crate) fn run(home: &Home, args: &ReadArgs) -> Result<ExitCode, Failure> {
    let listed = crate::runtime::of_this_thread()?.block_on(super::workload::all(home))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let running = listed.workloads.into_iter().map(|workload| row(workload, now));
    let rows: Vec<Row> = running.chain(listed.idle.into_iter().map(idle)).collect();
    match args.output {
        Format::Json => print::json(&rows),
        Format::Text if rows.is_empty() => print::line("no workloads; start one with: weft run NAME -- PROGRAM"),
        Format::Text => print::line(&table(&rows)),
    }
    Ok(ExitCode::SUCCESS)
}

fn row(workload: Workload, now: u64) -> Row {
    let state = match workload.state() {
        WorkloadState::Starting => "starting",
        WorkloadState::Ready => "ready",
        WorkloadState::Unconfirmed => "unconfirmed",
    };
    let started_at = u64::try_from(workload.started_at).unwrap_or(now);
    let spec = workload.spec.unwrap_or_default();
    let assigned = workload.assigned.unwrap_or_default();
    Row {
        namespace: spec.namespace,
        name: spec.name,
        workload: assigned.workload,
        state: state.to_owned(),
        identity: assigned.identity,
        address: assigned.addresses.first().map(|bytes| address(bytes)).unwrap_or_default(),
        mesh_address: address(&assigned.host_address),
        pid: spec.pid,
        age_seconds: now.saturating_sub(started_at),
        command: spec.command,
    }
}

/// A replica that ended and doesn't run just now.
fn idle(idle: IdleWorkload) -> Row {
    let again = match idle.restart_in_ms {
        Some(wait) => format!("restart in {} s", wait.div_ceil(1000)),
        None => "ended".to_owned(),
    };
    Row {
        workload: format!("{}/{}-{}", idle.namespace, idle.name, idle.index),
        state: format!("{again} ({})", idle.ended),
        namespace: idle.namespace,
        name: idle.name,
        command: idle.command,
        ..Row::default()
    }
}

fn table(rows: &[Row]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let workload = row.workload.rsplit('/').next().unwrap_or_default().to_owned();
            let runs = row.pid != 0;
            let age = if runs { figures::age(row.age_seconds) } else { String::new() };
            let command = row.command.join(" ");
            let pid = if runs { row.pid.to_string() } else { String::new() };
            vec![
                row.namespace.clone(),
                workload,
                row.state.clone(),
                age,
                row.address.clone(),
                row.identity.clone(),
                pid,
                command,
            ]
        })
        .collect();
    print::table(&["NAMESPACE", "WORKLOAD", "STATE", "AGE", "ADDRESS", "IDENTITY", "PID", "COMMAND"], &cells)
}

/// An address of 4 or 16 bytes as text; nothing for what is none.
fn address(bytes: &[u8]) -> String {
    super::run::ip(bytes).map(|ip| ip.to_string()).unwrap_or_default()
}
