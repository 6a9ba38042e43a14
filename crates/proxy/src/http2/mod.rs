//! HTTP/2 and gRPC: every stream goes its own way, on connections that all streams to one place
//! share. Between two proxies that is one HTTP/2 connection inside TLS, after one head; where the other
//! one speaks HBONE only, it is the program's own, inside one stream of HBONE.
//!
//! ```text
//! program ──Accepted──> outbound ──Shared──> inbound ──Shared──> program
//!             streams     chosen     TLS       judged   caller's
//!                         for each             each     address
//! ```
//!
//! `h2` reads and writes frames; [`transfer`] moves content with flow control end to end, and
//! [`batched`] sees to it that all frames of one turn go out in one write.

mod answer;
mod batched;
mod cancels;
mod connection;
mod exchange;
mod head;
mod held;
pub(crate) mod inbound;
pub(crate) mod outbound;
mod place;
mod pool;
mod settings;
mod transfer;

pub(crate) use place::{ProgramPort, Route};
pub(crate) use pool::Connections;
