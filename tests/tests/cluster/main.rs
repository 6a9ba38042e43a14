//! What is tested in a Kubernetes cluster (`scripts/test-cluster`): a module for each scenario. Without
//! a cluster each says that it is skipped.
#![expect(clippy::unwrap_used, reason = "tests may unwrap; clippy sees only #[test] functions as such")]

mod commands;
mod definitions;
mod flow;
mod guarded;
mod identity;
mod install;
mod issuer;
mod killed;
mod lasting;
mod network;
mod pods;
mod policy;
mod rights;
mod security;
mod serving;
mod tokens;
mod webhook;
mod workloads;
