//! The harness of the end-to-end tests: the built binaries, and who runs them.

pub mod capture;
pub mod cluster;
pub mod forge;
pub mod load;
pub mod mesh;
pub mod meshed;
pub mod network;
pub mod process;
pub mod programs;
pub mod shell;
#[path = "../skipped.rs"]
mod skipped;

use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use network::Network;
pub use skipped::skipped;

/// The user that nobody is; tests that run as root try things as this one too.
const NOBODY: u32 = 65_534;

/// Who runs a program in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The user of the test.
    Own,
    /// An ordinary user, by a root that runs the test.
    Nobody,
}

impl User {
    /// Everybody that this test can be: an ordinary user, and root when the test runs as root.
    pub fn all() -> Vec<Self> {
        if nix::unistd::geteuid().is_root() { vec![Self::Own, Self::Nobody] } else { vec![Self::Own] }
    }
}

/// The binaries of this build, copied into a folder of their own, and a home beside them.
#[derive(Debug)]
pub struct Installation {
    folder: tempfile::TempDir,
    user: User,
    network: Option<Network>,
}

impl Installation {
    /// Installs for `user`.
    ///
    /// # Errors
    /// When the workspace's binaries aren't built (`cargo build --workspace --bins`) or can't be copied.
    pub fn new(user: User) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("weft-test-").tempdir()?;
        let built = built_binaries()?;
        // By another process: a child that another test starts meanwhile would hold what this one has open for writing,
        // and a program that is being written can't be run (ETXTBSY).
        let copied =
            Command::new("cp").args(["weft", "weft-proxy"].map(|name| built.join(name))).arg(folder.path()).status()?;
        if !copied.success() {
            return Err(std::io::Error::other(format!("cp: {copied}")));
        }
        let home = folder.path().join("home");
        std::fs::create_dir(&home)?;
        if user == User::Nobody {
            let id = Some(NOBODY);
            std::os::unix::fs::chown(&home, id, id)?;
            std::os::unix::fs::chown(folder.path(), id, id)?;
        }
        Ok(Self { folder, user, network: None })
    }

    /// The same in a network of its own, with these addresses.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn within(mut self, addresses: &[&str]) -> std::io::Result<Self> {
        self.network = Some(Network::new(|program| self.command(Path::new(program)), addresses)?);
        Ok(self)
    }

    /// The same in a network of its own, held by a program that says `made` once it is ready.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn within_what_holds(mut self, holder: &[&str]) -> std::io::Result<Self> {
        self.network = Some(Network::held_by(|program| self.command(Path::new(program)), &[], holder)?);
        Ok(self)
    }

    /// A folder that belongs to the user.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// `weft`, as the user, in the user's home.
    pub fn weft(&self) -> Command {
        self.command(&self.folder.path().join("weft"))
    }

    /// Any program, likewise.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match self.network.as_ref().map(Network::enter) {
            Some(enter) => {
                let mut command = Command::new(&enter[0]);
                command.args(&enter[1..]).arg(program);
                command
            }
            None => Command::new(program),
        };
        self.as_user(&mut command);
        command
    }

    /// Makes it a command of the user, in the user's home.
    pub fn as_user<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.home()).env("HOME", self.home());
        command.env_remove("XDG_STATE_HOME").env_remove("XDG_RUNTIME_DIR").env_remove("WEFT_STATE_DIR");
        if self.user == User::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

/// The folder of this build's profile: the test program stands in its `deps`.
///
/// # Errors
/// When the workspace's binaries aren't built.
pub fn built_binaries() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default();
    if folder.join("weft").is_file() && folder.join("weft-proxy").is_file() {
        return Ok(folder);
    }
    let message = format!("no weft and weft-proxy in {}: run cargo build --workspace --bins", folder.display());
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, message))
}

/// Whether an ordinary user can run a mesh here; where not, says why and that the test is skipped.
pub fn can_run() -> bool {
    let tried = Command::new("unshare").args(["--user", "--net", "true"]).output();
    let obstacle = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    skipped(&format!("no user namespaces: {obstacle}"));
    false
}

/// Says that a program isn't here; where `WEFT_TEST_ALL` says that each is, that is a failure.
///
/// # Panics
/// Then.
pub fn missing<T>(what: &str) -> Option<T> {
    assert!(env::var_os("WEFT_TEST_ALL").is_none(), "{what} isn't here, or doesn't run");
    skipped(&format!("{what} isn't here; scripts/test installs it as root on Debian"));
    None
}
