//! The demo's stage: a private network, a state folder, and programs that end with the demo.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::interrupt;
use crate::failure::{Context, Failure};

/// Where the demo plays. Dropping it ends every program and removes every file.
pub(super) struct Stage {
    folder: TempDir,
    weft: PathBuf,
    programs: Vec<(String, Child)>,
}

impl Stage {
    /// A stage with these files, by path under [`Stage::path`].
    ///
    /// # Errors
    /// When the folder can't be made.
    pub(super) fn new(files: &[(&str, &str)]) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("weft-demo-").tempdir().context("make a folder")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).context("make a folder")?;
        let stage = Self { folder, weft: std::env::current_exe().context("find weft itself")?, programs: Vec::new() };
        for (path, text) in files {
            stage.write(path, text)?;
        }
        Ok(stage)
    }

    /// A path on the stage.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, its folders included.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).context(format!("make {}", parent.display()))?;
        fs::write(&path, text).context(format!("write {}", path.display()))
    }

    /// `weft` with the stage's own state folder, ready to be given a verb.
    pub(super) fn weft(&self) -> Command {
        let mut command = super::program(&self.weft);
        // The user's own working folder may be gone.
        command.arg("--state-dir").arg(self.path("state")).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    /// Starts a program that goes on, but no longer than the demo; its output goes to `<name>.out`.
    pub(super) fn start(&mut self, name: &str, mut command: Command) -> Result<(), Failure> {
        let output = File::create(self.path(&format!("{name}.out"))).context("make an output file")?;
        let errors = output.try_clone().context("make an output file")?;
        weft_capture::end_with_parent(&mut command);
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        self.programs.push((name.to_owned(), child.context(format!("start {name}"))?));
        Ok(())
    }

    /// What a program said last, when one of this name has ended. Call it for one that should go on.
    pub(super) fn ended(&mut self, name: &str) -> Option<Failure> {
        let ended =
            self.programs.iter_mut().any(|(known, program)| known == name && !matches!(program.try_wait(), Ok(None)));
        let said = fs::read_to_string(self.path(&format!("{name}.out"))).unwrap_or_default();
        let mut lines = said.lines().rev();
        // A hint may follow.
        let error = lines.clone().find(|line| line.starts_with("error: "));
        let last = error.or_else(|| lines.next()).unwrap_or("it said nothing");
        ended.then(|| Failure::new(format!("weft {name} ended: {}", last.strip_prefix("error: ").unwrap_or(last))))
    }

    /// What the proxies of a workload, `NAMESPACE.NAME`, have logged.
    pub(super) fn proxy_log(&self, name: &str) -> String {
        let files = fs::read_dir(self.path("state/logs")).into_iter().flatten().flatten();
        let ours = files.filter(|file| file.file_name().to_string_lossy().starts_with(&format!("{name}-")));
        ours.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing can be done about an end that fails but to end the rest.
        let _ = self.weft().arg("down").stdout(Stdio::null()).stderr(Stdio::null()).status();
        for (_, program) in &mut self.programs {
            if let Ok(pid) = i32::try_from(program.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            let _ = program.wait();
        }
    }
}

/// Runs a program to its end.
pub(super) fn finish(command: &mut Command) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().context(format!("run {name}"))?;
    if interrupt::came() { Err(interrupted()) } else { Ok(output) }
}

fn interrupted() -> Failure {
    Failure::new("interrupted")
}

/// Looks again and again until `look` finds something.
///
/// # Errors
/// When it hasn't after [`PATIENCE`].
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if interrupt::came() {
            return Err(interrupted());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("waited {} s for {what}", PATIENCE.as_secs()))
                .hint("what this machine lacks: weft check"));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
