//! The command line as users meet it: the real binary, over real folders.
#![expect(clippy::unwrap_used, reason = "tests may unwrap; clippy sees only #[test] functions as such")]

mod authz_explain;
mod authz_mistakes;
mod authz_running;
mod authz_test;
mod folders;
mod help;
mod inject;
mod install;
mod room;
