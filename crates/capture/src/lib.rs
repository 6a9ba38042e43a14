//! How the traffic of an unmodified program reaches the proxy, on one machine, without root:
//! namespaces, redirection by netlink, sockets made inside and handed out. It knows neither HTTP
//! nor policy, nor what becomes of the traffic.
//!
//! ```text
//! launcher ── fork ─> socket maker ── fork ─> PID 1 ── fork, exec ─> program
//!    │                 user + network          PID + mount namespaces
//!    │                 namespaces: rules,      /proc, resolv.conf, hidden folders;
//!    │                 listeners, later        reaps, passes signals on
//!    │                 sockets on demand
//!    └── listeners, the maker's socket ──> proxy (outside of all of them)
//! ```
//!
//! [`prepare`] makes all that and holds the program back; [`HeldProgram::start`] lets it go. When the
//! launcher dies, however it dies, the others follow. Rules and addresses are the network
//! namespace's own; `nsenter -t PID -n nft list ruleset`, as root, shows them in a table `weft` with a
//! comment for each rule.
//!
//! [`join`] runs another program in there, given the sandbox's [`Namespaces`].
//!
//! [`pod`] is the other home's way: inside a Kubernetes pod, where the namespaces are there already.

mod blueprint;
mod capability;
mod channel;
mod descriptors;
mod error;
mod guard;
mod hint;
mod init;
mod inside;
mod join;
mod launcher;
mod maker;
mod message;
mod mounts;
mod namespace;
mod namespaces;
mod netlink;
mod network;
mod plan;
pub mod pod;
mod probe;
mod program;
mod reach;
mod resolv;
mod root;
mod sandbox;
mod scratch;
mod signals;
mod sys;
mod user;
mod witness;

pub use error::{CaptureError, Failure, Step};
pub use join::join;
pub use launcher::{end_by_signal, end_with_parent, enter_private_network, stop_by_signal};
pub use namespaces::Namespaces;
pub use network::DatagramSockets;
pub use plan::{Plan, Program};
pub use probe::{Finding, Outcome, probe};
pub use program::{Ended, HeldProgram, RunningProgram};
pub use reach::socket_inside;
pub use resolv::ResolvConf;
pub use sandbox::{Sandbox, prepare};
pub use signals::InheritedSignals;
pub use user::RunAs;
