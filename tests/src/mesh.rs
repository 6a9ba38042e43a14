//! One mesh of a test: a control plane that follows a folder, and workloads. Dropping it ends all
//! of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Installation, User};

/// A running mesh.
#[derive(Debug)]
pub struct Mesh {
    installation: Installation,
    launchers: Vec<Child>,
}

impl Mesh {
    /// Starts a mesh whose folder holds these files; `flags` are more of `weft up`'s.
    ///
    /// # Errors
    /// When it doesn't start, with what it said.
    pub fn start(user: User, files: &[(&str, &str)], flags: &[&str]) -> io::Result<Self> {
        Self::of(Installation::new(user)?, files, flags)
    }

    /// The same of an installation that is there.
    ///
    /// # Errors
    /// When it doesn't start, with what it said.
    pub fn of(installation: Installation, files: &[(&str, &str)], flags: &[&str]) -> io::Result<Self> {
        let mesh = Self { installation, launchers: Vec::new() };
        fs::create_dir(mesh.folder())?;
        for (name, text) in files {
            mesh.write(name, text)?;
        }
        mesh.up(flags)?;
        Ok(mesh)
    }

    /// Starts the control plane, as at first or again.
    ///
    /// # Errors
    /// When it doesn't start, with what it said.
    pub fn up(&self, flags: &[&str]) -> io::Result<()> {
        let output = self.weft().args(["up", "-d", "-f"]).arg(self.folder()).args(flags).output()?;
        if output.status.success() { Ok(()) } else { Err(io::Error::other(told(&output))) }
    }

    /// The folder that is followed.
    pub fn folder(&self) -> PathBuf {
        self.installation.home().join("manifests")
    }

    /// Writes a file of the folder as an editor does: beside it, then renamed.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let beside = self.folder().join(format!(".{name}.new"));
        fs::write(&beside, text)?;
        fs::rename(beside, self.folder().join(name))
    }

    /// `weft`, with this mesh's state.
    pub fn weft(&self) -> Command {
        self.installation.weft()
    }

    /// Another program, as the mesh's user, in its network.
    pub fn command(&self, program: &str) -> Command {
        self.installation.command(Path::new(program))
    }

    /// Another program, as the mesh's user.
    pub fn as_user<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.installation.as_user(command)
    }

    /// A file of the user's.
    pub fn home(&self) -> PathBuf {
        self.installation.home()
    }

    /// Starts a workload that goes on; `arguments` as after `weft run`. Returns the launcher's pid.
    ///
    /// # Errors
    /// When `weft` can't be started.
    pub fn start_workload(&mut self, arguments: &[&str]) -> io::Result<Pid> {
        let log = fs::File::create(self.home().join(format!("{}-{}.out", arguments[0], self.launchers.len())))?;
        let errors = log.try_clone()?;
        let mut command = self.weft();
        let child = command.arg("run").args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors).spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        self.launchers.push(child);
        Ok(pid)
    }

    /// Runs a program as a workload to its end; `arguments` as after `weft run`.
    ///
    /// # Errors
    /// When `weft` can't be started.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Output> {
        self.weft().arg("run").args(arguments).stdin(Stdio::null()).output()
    }

    /// Runs a program again and again until what it did is what is waited for.
    ///
    /// # Errors
    /// After [`PATIENCE`], with what the last run said.
    pub fn run_until(&self, arguments: &[&str], wanted: impl Fn(&Output) -> bool) -> io::Result<Output> {
        self.weft_until(&[&["run"], arguments].concat(), wanted)
    }

    /// Runs a command of `weft` again and again until what it did is what is waited for.
    ///
    /// # Errors
    /// After [`PATIENCE`], with what the last run said.
    pub fn weft_until(&self, arguments: &[&str], wanted: impl Fn(&Output) -> bool) -> io::Result<Output> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.weft().args(arguments).stdin(Stdio::null()).output()?;
            if wanted(&output) {
                return Ok(output);
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, told(&output)));
            }
        }
    }

    /// Kills the control plane as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When no control plane holds the state folder.
    pub fn kill_control_plane(&self) -> io::Result<()> {
        let pid = self.control_plane()?;
        kill(pid, Signal::SIGKILL)?;
        let status = format!("/proc/{pid}/status");
        while fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Sends the control plane a signal.
    ///
    /// # Errors
    /// When no control plane holds the state folder.
    pub fn signal_control_plane(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(self.control_plane()?, signal)?)
    }

    /// The control plane that holds the state folder, or did last.
    ///
    /// # Errors
    /// When there was none.
    pub fn control_plane(&self) -> io::Result<Pid> {
        let lock = fs::read_to_string(self.home().join(".local/state/weft/lock"))?;
        lock.trim().parse().map(Pid::from_raw).map_err(io::Error::other)
    }

    /// What all proxies have logged.
    pub fn proxy_logs(&self) -> String {
        let files = fs::read_dir(self.home().join(".local/state/weft/logs")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // One that a test has stopped, and failed, could not end.
        let _ = self.signal_control_plane(Signal::SIGCONT);
        // What can't be ended in good order is ended by its launchers' pids.
        let _ = self.weft().arg("down").output();
        for launcher in &mut self.launchers {
            let _ = kill(Pid::from_raw(launcher.id().cast_signed()), Signal::SIGTERM);
            let _ = launcher.wait();
        }
    }
}

/// A file that has every identity proved.
pub const STRICT: (&str, &str) = (
    "strict.yaml",
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\n\
     spec: {mtls: {mode: STRICT}}\n",
);

/// What a program said, on both streams.
pub fn told(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// How long a wait for an event may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
