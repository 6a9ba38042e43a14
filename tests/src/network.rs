//! A network of a test's own: a namespace with loopback and addresses that stand for the outside. Whoever is called
//! there is as far away as another host, though no packet leaves the machine. Dropping it ends its holder.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The namespace, held by a process in it.
#[derive(Debug)]
pub struct Network {
    holder: Child,
}

impl Network {
    /// Makes it with these addresses, by `command`'s user.
    ///
    /// # Errors
    /// When the kernel refuses it, or unshare and ip (util-linux, iproute2) aren't there.
    pub fn new(command: impl FnMut(&str) -> Command, addresses: &[&str]) -> io::Result<Self> {
        Self::held_by(command, addresses, &["sh", "-c", "echo made && exec sleep infinity"])
    }

    /// Likewise, held by a program that has every right over it, and says `made` once it is ready.
    ///
    /// # Errors
    /// As for [`Self::new`], and when the holder says something else.
    pub fn held_by(mut command: impl FnMut(&str) -> Command, addresses: &[&str], holder: &[&str]) -> io::Result<Self> {
        let add: String = addresses.iter().map(|ip| format!("ip address add {ip} dev lo nodad && ")).collect();
        let script = format!("PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && {add} exec \"$@\"");
        let mut unshare = command("unshare");
        unshare
            .args(["--user", "--map-current-user", "--keep-caps", "--net", "--", "sh", "-c", &script, "sh"])
            .args(holder);
        let mut holder = unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut said = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let network = Self { holder };
        if said == "made\n" { Ok(network) } else { Err(io::Error::other(network.failure())) }
    }

    /// What stands before a command that runs in it.
    pub fn enter(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        ["nsenter", "--preserve-credentials", "--user", "--net", "--target", &target, "--"].map(str::to_owned).into()
    }

    fn failure(mut self) -> String {
        let mut line = String::new();
        if let Some(stderr) = self.holder.stderr.take() {
            // Nothing more than the reason is lost.
            let _ = BufReader::new(stderr).read_line(&mut line);
        }
        format!("a network of its own: {}", line.trim())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
