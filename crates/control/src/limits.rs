//! Bounds on who connects to the control plane and on how long anything is waited for, each with its reason.
//! What is reached never ends the process; `docs/limits.md` says what happens.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

// Who connects.

/// Connections of proxies, launchers and the command line, unless the process may have fewer open files
/// (`connections`): 5,000 workloads have three each at most.
pub const CONNECTIONS: usize = 16_384;
/// Connections of one process over the Unix socket: a launcher, a proxy and the command line have one each.
pub const CONNECTIONS_OF_A_PROCESS: usize = 64;
/// Connections of one address over the network. A pod's proxy has two or three; a node behind whose
/// address several call, some more.
pub const CONNECTIONS_OF_AN_ADDRESS: usize = 64;
/// Connections of command lines in a cluster. They come through the API server, so that nobody can tell
/// one from another.
pub const COMMAND_LINES: usize = 256;
/// Handshakes at once; more wait in the listener's backlog.
pub const HANDSHAKES: usize = 256;
/// Connections whose handshake is done, and that wait for the server to take them.
pub const SHAKEN: usize = 64;
/// Calls at once on one connection; a launcher has one, a proxy three.
pub const CALLS: u32 = 64;
/// Clients of the page of metrics at once; Prometheus is one.
pub const SCRAPERS: usize = 16;
/// The longest head of their requests.
pub const SCRAPER_HEAD_BYTES: usize = 8 << 10;

// Waits.

/// How long a handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may stay that proves no identity: enough to be certified.
pub const UNPROVED_LIFE: Duration = Duration::from_secs(60);
/// How long a client over the network may be silent before it is asked whether it is there.
pub const PING: Duration = Duration::from_secs(30);
/// How long it may take to answer. A client whose machine has gone is noticed after both, and its streams end.
pub const PING_WAIT: Duration = Duration::from_secs(20);
/// How long a launcher may think before it says what it launches.
pub const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long a client of the page of metrics may take, from its first byte to the answer's last.
pub const SCRAPER_WAIT: Duration = Duration::from_secs(5);
/// How long accepting rests after an error. Out of descriptors, most likely: others close theirs meanwhile.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a stream's end waits for its client to read so far.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a reader of figures waits for proxies' answers.
pub const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// How long streams and tasks may take to end.
pub const END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long workloads may take to end.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How many connections there may be: a quarter of the files that this process may have open is left for
/// everything else.
pub(crate) fn connections() -> usize {
    let files =
        getrlimit(Resource::RLIMIT_NOFILE).map_or(CONNECTIONS, |(now, _)| usize::try_from(now).unwrap_or(usize::MAX));
    CONNECTIONS.min(files - files / 4)
}
