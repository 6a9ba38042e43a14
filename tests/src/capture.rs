//! A network of its own in which everything that passes the loopback device is captured. An ordinary user makes
//! one; whoever runs in it has no other way than through it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::Installation;
use crate::mesh::PATIENCE;

/// A capture that goes on until it is dropped.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Starts it, and takes the installation into its network.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start(installation: &mut Installation) -> Self {
        let file = installation.home().join("captured");
        let mut command = Command::new("unshare");
        command.args(["--map-current-user", "--keep-caps", "--net", "--", "python3", "-c", PROGRAM]).arg(&file);
        installation.as_user(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("unshare");
        let mut told = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut told).expect("its word");
        assert_eq!(told, "ready\n");
        installation.enter(child.id());
        Self { child, file }
    }

    /// What was captured up to a packet that holds `mark`, for which it waits. Packets come in order.
    ///
    /// # Panics
    /// When none comes, or the kernel had no room for one that came before.
    pub fn until(&self, mark: &str) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let captured = fs::read(&self.file).expect("what was captured");
            if contains(&captured, mark) {
                assert!(!Path::new(&lost(&self.file)).exists(), "packets were lost");
                return captured;
            }
            assert!(Instant::now() < deadline, "no {mark:?} in {} bytes", captured.len());
            std::thread::yield_now();
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Whether bytes hold a text.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn lost(file: &Path) -> String {
    format!("{}.lost", file.display())
}

const PROGRAM: &str = include_str!("../programs/capture.py");
