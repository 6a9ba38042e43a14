//! Everything that needs the built binaries, in one test program.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]
#![allow(clippy::print_stderr, reason = "what is skipped says so")]

mod certificates;
mod demo;
mod exec;
mod fuzz_replay;
mod host;
mod http;
mod lasting;
mod limits_table;
mod machine_bench;
mod signals;
mod supervised;
mod tidy;
