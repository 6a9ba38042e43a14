//! Tells that a test can't run here. Crates whose tests can't use the harness take this file into their own.

use std::io::{self, Write};
use std::thread;

/// Says that the test is skipped and why, past the test runner, which hides what a test prints that doesn't fail.
#[allow(unreachable_pub, reason = "the harness tells it to all its users")]
pub fn skipped(reason: &str) {
    let test = thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(io::stderr(), "SKIPPED: {test}: {reason}");
}
