//! What ztunnel announces and allows on an HBONE connection, in one place.

use std::time::Duration;

/// The window of one stream, bytes.
pub const STREAM_WINDOW: u32 = 4 << 20;
/// The window of a connection, bytes: four streams' worth, for an equal one can deadlock.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// The largest frame that is accepted, bytes.
pub const FRAME_SIZE: u32 = 1 << 20;
/// The most bytes that a client holds unsent.
pub const CLIENT_SEND_BUFFER: usize = 4 << 20;
/// The most bytes that a server holds unsent.
pub const SERVER_SEND_BUFFER: usize = 400 << 10;
/// The most streams that a client puts on one connection, even if the server allows more.
pub const CLIENT_STREAMS: usize = 100;
/// The most concurrent streams that a server allows.
pub const SERVER_STREAMS: u32 = 200;
/// The largest list of header fields that a client accepts, bytes.
pub const CLIENT_HEADER_LIST: u32 = 16 << 10;
/// The largest list of header fields that a server accepts, bytes.
pub const SERVER_HEADER_LIST: u32 = 64 << 10;
/// How long after the last answer a PING is sent.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long the answer to a PING may take.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a TCP connect may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
