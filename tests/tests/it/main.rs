//! Everything that needs the built binaries, in one test program.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]
#![allow(clippy::print_stderr, reason = "what is skipped says so")]

mod addresses;
mod certificates;
mod demo;
mod exec;
mod forged;
mod fuzz_replay;
mod host;
mod http;
mod killed;
mod lasting;
mod limits_table;
mod locked;
mod machine_bench;
mod programs;
mod signals;
mod supervised;
mod terminal;
mod tidy;
mod udp;
mod urgent;
mod wire;
