//! What is tested in a Kubernetes cluster (`scripts/test-cluster`): a module for each scenario. Without
//! a cluster each says that it is skipped.

mod flow;
mod network;
mod pods;
mod policy;
mod workloads;
