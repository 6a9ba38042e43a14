//! A workload that asks another one in every way that makes or keeps connections, and counts each
//! answer. Knows nothing of what happens to the mesh meanwhile.

use std::io::Read;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::mesh::{Mesh, told};

/// The program that [`Load`] asks, as the workload `web`: Python's text.
pub const SERVER: &str = include_str!("../programs/server.py");
const PROGRAM: &str = include_str!("../programs/load.py");
/// Requests a second of each of its four kinds: enough in a minute, and the machine has room for others.
const PACE: &str = "60";

/// Requests that go on, from the workload `load`.
#[derive(Debug)]
pub struct Load {
    child: Child,
}

impl Load {
    /// Starts it, and returns once it asks. It goes on until [`Load::finish`], and until it was
    /// answered `least` times.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start(mesh: &Mesh, least: u32) -> Self {
        let mut command = mesh.weft();
        command.args(["run", "load", "--", "python3", "-c", PROGRAM, &least.to_string(), PACE]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("weft run");
        let mut started = [0; 8];
        let read = child.stdout.as_mut().expect("a pipe").read_exact(&mut started);
        if read.is_err() {
            panic!("{}", told(&child.wait_with_output().expect("its output")));
        }
        Self { child }
    }

    /// Ends it. Returns how many requests were answered.
    ///
    /// # Panics
    /// When one was not, with the kind, time and reason of each.
    pub fn finish(mut self) -> u64 {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().expect("its output");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(&output)));
        assert_eq!(report["failed"], 0, "{report:#}");
        let answered: Vec<u64> =
            report["answered"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).collect();
        assert!(answered.len() == 4 && !answered.contains(&0), "{report:#}");
        answered.iter().sum()
    }
}
