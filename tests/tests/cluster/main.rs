//! What is tested in a Kubernetes cluster (`scripts/test-cluster`): a module for each scenario. Without
//! a cluster each says that it is skipped.
#![expect(clippy::unwrap_used, reason = "tests may unwrap; clippy sees only #[test] functions as such")]

mod commands;
mod flow;
mod identity;
mod install;
mod lasting;
mod network;
mod pods;
mod policy;
mod workloads;
