//! A network of its own in which everything that passes the loopback device is captured. An ordinary user makes
//! one; whoever runs in it has no other way than through it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::Installation;
use crate::mesh::PATIENCE;

/// A capture that goes on for as long as the installation is there.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
}

impl Capture {
    /// Takes the installation into such a network.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn of(installation: Installation) -> io::Result<(Installation, Self)> {
        let file = installation.home().join("captured");
        let path = file.display().to_string();
        let installation = installation.within_what_holds(&["python3", "-c", PROGRAM, &path])?;
        Ok((installation, Self { file }))
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

/// Whether bytes hold a text.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn lost(file: &Path) -> String {
    format!("{}.lost", file.display())
}

const PROGRAM: &str = include_str!("../programs/capture.py");
