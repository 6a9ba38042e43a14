//! The proxy beside the program: found, started, and told what it needs over inherited
//! descriptors.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weft_capture::DatagramSockets;
use weft_wire::bootstrap::{self, Bootstrap, InheritedSockets, Redirection};

use crate::failure::{Context, Failure};

/// Everything in a bootstrap but the descriptors.
pub(super) struct Plan {
    /// The document; its `sockets` are filled in when the proxy starts.
    pub(super) bootstrap: Bootstrap,
    /// Where its log goes.
    pub(super) log: PathBuf,
}

/// What a proxy serves: sockets made inside the workload's network namespace. The launcher keeps
/// them, so that a proxy that died can be replaced.
pub(super) struct Sockets {
    pub(super) outbound: Vec<OwnedFd>,
    pub(super) dns: Vec<OwnedFd>,
    pub(super) datagrams: Vec<DatagramSockets>,
    pub(super) maker: OwnedFd,
    pub(super) redirection: Redirection,
}

/// Starts the proxy and waits until it can serve.
///
/// # Errors
/// When it can't be found or started, or isn't ready in time; the log's last line is told.
pub(super) fn start(plan: &Plan, sockets: &Sockets) -> Result<Child, Failure> {
    let (mut child, ready) = spawn(plan, sockets)?;
    match wait_until_ready(ready) {
        Awaited::Ready => Ok(child),
        not => Err(not_ready(&mut child, plan, not)),
    }
}

/// Starts another one for a program that runs. It serves as soon as it can: without a control plane that is
/// when one has come back, and the program goes on until then.
///
/// # Errors
/// When it can't be found or started.
pub(super) fn replace(plan: &Plan, sockets: &Sockets) -> Result<Child, Failure> {
    spawn(plan, sockets).map(|(child, _)| child)
}

/// Starts it, with a pipe that tells when it is ready.
fn spawn(plan: &Plan, sockets: &Sockets) -> Result<(Child, OwnedFd), Failure> {
    let mut command = Command::new(find()?);
    let (ready, ready_writer) = nix::unistd::pipe().context("make a pipe")?;
    let (document, document_writer) = nix::unistd::pipe().context("make a pipe")?;
    let mut bootstrap = plan.bootstrap.clone();
    bootstrap.sockets = sockets.numbers(&ready_writer);
    write_document(document_writer, &bootstrap)?;

    let log = File::options().create(true).append(true).open(&plan.log);
    let log = log.context(format!("open {}", plan.log.display()))?;
    let inherited: Vec<BorrowedFd<'_>> = sockets
        .outbound
        .iter()
        .chain(&sockets.dns)
        .chain(sockets.datagrams.iter().flat_map(|pair| [&pair.captured, &pair.answers]))
        .chain([&sockets.maker, &ready_writer, &document])
        .map(AsFd::as_fd)
        .collect();
    command.arg("--bootstrap-fd").arg(document.as_raw_fd().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir("/");
    // What the environment says, LD_PRELOAD among it, is for the program.
    command.env_clear().envs(std::env::var_os(LOG_FILTER).map(|filter| (LOG_FILTER, filter)));
    // What a terminal sends is for the program: while it ends in good order, it still needs its proxy.
    command.process_group(0);
    weft_capture::end_with_parent(&mut command);
    // Nothing may fail in between: what runs beside the program would inherit them, too.
    set_inherited(&inherited, FdFlag::empty())?;
    let child = command.spawn().context("start weft-proxy");
    set_inherited(&inherited, FdFlag::FD_CLOEXEC)?;
    Ok((child?, ready))
}

impl Sockets {
    fn numbers(&self, ready: &OwnedFd) -> InheritedSockets {
        let numbers = |sockets: &[OwnedFd]| sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let pair = |DatagramSockets { captured, answers }: &DatagramSockets| bootstrap::DatagramSockets {
            captured: captured.as_raw_fd(),
            answers: answers.as_raw_fd(),
        };
        InheritedSockets {
            outbound: numbers(&self.outbound),
            redirection: self.redirection,
            dns: numbers(&self.dns),
            datagrams: self.datagrams.iter().map(pair).collect(),
            maker: self.maker.as_raw_fd(),
            ready: ready.as_raw_fd(),
        }
    }
}

/// Asks a proxy to drain and end.
pub(super) fn end(proxy: &Child) {
    if let Ok(pid) = i32::try_from(proxy.id()) {
        // It may have died already.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// The document fits into a pipe's buffer (64 KiB), so that nobody needs to read it yet.
fn write_document(writer: OwnedFd, bootstrap: &Bootstrap) -> Result<(), Failure> {
    let document = serde_json::to_vec(bootstrap).context("write the proxy's bootstrap")?;
    File::from(writer).write_all(&document).context("write the proxy's bootstrap")
}

/// `weft-proxy` stands beside `weft`.
///
/// # Errors
/// When it doesn't.
pub(crate) fn find() -> Result<PathBuf, Failure> {
    let weft = std::env::current_exe().context("find weft's own folder")?;
    let proxy = weft.with_file_name("weft-proxy");
    if proxy.is_file() {
        return Ok(proxy);
    }
    Err(Failure::new(format!("expected weft-proxy beside weft, at {}", proxy.display()))
        .hint("build both with: cargo build --release --workspace"))
}

fn set_inherited(descriptors: &[BorrowedFd<'_>], flag: FdFlag) -> Result<(), Failure> {
    for descriptor in descriptors {
        fcntl(descriptor, FcntlArg::F_SETFD(flag)).context("hand a socket to the proxy")?;
    }
    Ok(())
}

/// What came of waiting for a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// It serves.
    Ready,
    /// It ended instead.
    Ended,
    /// Nothing, in all the time that it has.
    Nothing,
}

/// The proxy writes one byte; when it dies the pipe just ends.
fn wait_until_ready(ready: OwnedFd) -> Awaited {
    let mut wait = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(READY_TIMEOUT).unwrap_or(PollTimeout::MAX);
    let signalled = loop {
        match poll(&mut wait, timeout) {
            Err(nix::errno::Errno::EINTR) => {}
            other => break other,
        }
    };
    match signalled {
        Ok(0) => Awaited::Nothing,
        Ok(_) if File::from(ready).read_exact(&mut [0]).is_ok() => Awaited::Ready,
        Ok(_) | Err(_) => Awaited::Ended,
    }
}

fn not_ready(child: &mut Child, plan: &Plan, awaited: Awaited) -> Failure {
    // It may be dead already; then there is nothing to end.
    let _ = child.kill();
    let _ = child.wait();
    let log = std::fs::read_to_string(&plan.log).unwrap_or_default();
    let last = log.lines().last().unwrap_or("it said nothing").to_owned();
    let log = plan.log.display();
    match awaited {
        // What it waits for comes from the control plane, whose log says what keeps that.
        Awaited::Nothing => {
            let control = plan.log.with_file_name("control.log");
            Failure::new(format!("weft-proxy was not ready within {} s: {last}", READY_TIMEOUT.as_secs()))
                .hint(format!("its whole log: {log}; the control plane's: {}", control.display()))
        }
        _ => Failure::new(format!("weft-proxy could not start: {last}")).hint(format!("its whole log: {log}")),
    }
}

/// What a proxy logs.
const LOG_FILTER: &str = "WEFT_LOG";
/// A certificate and the first records take milliseconds; a machine under load takes longer.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
