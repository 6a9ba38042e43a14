//! `weft up`: the control plane, in the foreground or in the background.

use std::fs::{self, DirBuilder, File};
use std::future::pending;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libc::SIGHUP;
use tokio::signal::unix::{SignalKind, signal};
use weft_capture::InheritedSignals;
use weft_wire::proto::weft::v1::{StatusRequest, StatusResponse};

use crate::args::UpArgs;
use crate::client;
use crate::command::run::output;
use crate::failure::{Context, Failure};
use crate::home::Home;
use crate::print;

/// Starts the control plane.
pub(crate) fn run(home: &Home, args: &UpArgs) -> Result<ExitCode, Failure> {
    if let Some(folder) = args.folder.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(Failure::new(format!("folder {}: expected a folder that exists", folder.display()))
            .hint("weft up without -f starts a mesh without policies"));
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(home.logs());
    made.map_err(|error| no_folder(home, &error))?;
    home.try_write().map_err(|error| no_folder(home, &error))?;
    if args.detach { detached(home, args) } else { foreground(home, args) }
}

fn no_folder(home: &Home, error: &io::Error) -> Failure {
    Failure::new(format!("write to the state folder {}: {error}", home.state().display())).hint(format!(
        "name a folder that can be written to and has space: --state-dir DIR or {}",
        crate::args::STATE_VARIABLE
    ))
}

/// What a control plane in the background says.
fn log(home: &Home) -> PathBuf {
    home.logs().join("control.log")
}

/// Removes the sockets of launchers that were killed.
fn sweep(home: &Home) {
    let sockets = fs::read_dir(home.launcher_sockets()).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in
        sockets.filter(|path| UnixStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused))
    {
        // Nobody listens there any more; whoever comes next may remove it as well.
        let _ = fs::remove_file(path);
    }
}

fn foreground(home: &Home, args: &UpArgs) -> Result<ExitCode, Failure> {
    let hangs_up = !InheritedSignals::of_this_process().ignores(SIGHUP);
    super::start_log("info");
    sweep(home);
    let folder = args.folder.as_deref().map(fs::canonicalize).transpose().context("find the folder")?;
    let mut config = weft_control::Config::new(home.state().to_path_buf(), home.socket());
    config.folder = folder;
    config.trust_domain = args.trust_domain.parse().context("trust domain")?;
    config.cert_lifetime = args.cert_lifetime;
    config.metrics = args.metrics_address.0;
    config.launcher = Some(std::env::current_exe().context("find weft itself")?);
    crate::runtime::of_this_thread()?.block_on(async {
        let catch = |kind| signal(kind).context("wait for signals");
        let [mut interrupt, mut terminate] = [catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?];
        // A terminal that is closed ends it and its programs as Ctrl-C does, unless `nohup` says otherwise.
        let mut hangup = if hangs_up { Some(catch(SignalKind::hangup())?) } else { None };
        let asked = async move {
            let hung_up = async { if let Some(hangup) = &mut hangup { hangup.recv().await } else { pending().await } };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hung_up => {} }
        };
        // Where `--detach` has it write.
        output::bound(vec![log(home)]);
        weft_control::serve(config, asked).await.context("control plane")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Starts this same command without `--detach`, away from the terminal, and waits until it serves.
fn detached(home: &Home, args: &UpArgs) -> Result<ExitCode, Failure> {
    let runtime = crate::runtime::of_this_thread()?;
    if let Ok(running) = runtime.block_on(status(home)) {
        return Err(
            Failure::new(format!("a mesh runs here already (pid {})", running.pid)).hint("end it with: weft down")
        );
    }
    let log = log(home);
    let mut child = spawn(home, args, &log)?;
    let status = runtime.block_on(wait_until_ready(home, &mut child, &log))?;
    print::line(&format!("mesh {} is up (pid {})", status.trust_domain, status.pid));
    // Notes are in its log.
    for problem in status.problems.iter().filter(|problem| super::matters(problem)) {
        print::note(problem);
    }
    match status.metrics_address.as_deref() {
        None => {}
        Some("") => print::note(&format!(
            "weft: nobody serves the mesh's metrics, {} can't be had; choose another with --metrics-address",
            args.metrics_address
        )),
        Some(address) => print::line(&format!("metrics: http://{address}/metrics")),
    }
    print::line(&format!("log: {}", log.display()));
    Ok(ExitCode::SUCCESS)
}

fn spawn(home: &Home, args: &UpArgs, log: &Path) -> Result<Child, Failure> {
    let weft = std::env::current_exe().context("find weft itself")?;
    // What an earlier one said stays, and one that still runs goes on writing.
    let output = File::options().create(true).append(true).open(log).context(format!("open {}", log.display()))?;
    let mut command = Command::new(weft);
    command.arg("--state-dir").arg(home.state()).arg("up");
    if let Some(folder) = &args.folder {
        command.arg("-f").arg(fs::canonicalize(folder).context("find the folder")?);
    }
    command.args(["--trust-domain", &args.trust_domain]);
    command.arg("--metrics-address").arg(args.metrics_address.to_string());
    command.arg("--cert-lifetime").arg(format!("{}ms", args.cert_lifetime.as_millis()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).process_group(0).current_dir("/");
    command.spawn().context("start the control plane")
}

async fn wait_until_ready(home: &Home, child: &mut Child, log: &Path) -> Result<StatusResponse, Failure> {
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        // Another one that was started just before may answer too.
        if let Ok(status) = status(home).await
            && status.pid == child.id()
        {
            return Ok(status);
        }
        let ended = child.try_wait().context("wait for the control plane")?;
        if ended.is_some() || Instant::now() > deadline {
            let text = fs::read_to_string(log).unwrap_or_default();
            let last = text.lines().last().unwrap_or("it said nothing");
            let message = last.strip_prefix("error: ").unwrap_or(last);
            return Err(Failure::new(format!("the control plane did not start: {message}"))
                .hint(format!("its whole log: {}", log.display())));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn status(home: &Home) -> Result<StatusResponse, Failure> {
    let answer = client::connect(home).await?.status(StatusRequest {}).await;
    answer.map(tonic::Response::into_inner).map_err(|status| client::refused("status", &status))
}

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
