//! What can be said of a workload that runs on this machine.

use std::ffi::OsString;

use clap::Args;

/// A workload by its name.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkloadName {
    /// The workload's name, or a replica's as `weft ps` shows it.
    #[arg(value_name = "WORKLOAD")]
    pub(crate) name: String,
    /// The namespace.
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
}

/// `weft exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft exec checkout -- curl http://payments:8080/charge     what checkout may do, as checkout
  weft exec checkout-4k2j9 -- ss -tn                         one replica, by its own name
  weft exec -n shop web -- sh -c 'cat /etc/resolv.conf'

The program runs as the workload's identity, sees its network, processes and files, and can do no
more than the workload's own program. Its environment and working folder are yours.")]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) workload: WorkloadName,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

/// `weft shell`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  weft shell checkout     $SHELL, or /bin/sh, in there; exit leaves it")]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    pub(crate) workload: WorkloadName,
}
