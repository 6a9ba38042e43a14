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
  weft exec checkout -- curl http://payments:8080/charge     as checkout, with its identity
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

/// `weft logs`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft logs payments              what it wrote, of all its replicas
  weft logs payments -f --tail 20
  weft logs payments --proxy      its proxies' access logs: who called, and what was refused why

Kept is the output of weft run --detach and of Workloads in the folder, 8 to 16 MiB of each replica.
A program in the foreground writes where it was started.")]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) workload: WorkloadName,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// So many lines of each replica at first [default: all that are kept].
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
    /// The proxies' logs instead of the programs' output.
    #[arg(long)]
    pub(crate) proxy: bool,
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
