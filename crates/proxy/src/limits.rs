//! Every bound of the data plane: queues, buffers, waits, counts. Each has its reason here and
//! nowhere else, so that one table tells what the proxy can be made to hold.

use std::time::Duration;

use weft_identity::{RECORD_CONTENT_BYTES, RECORD_OVERHEAD_BYTES};

// Buffers.

/// Plaintext moved in one turn of a copy: whole TLS records.
pub const COPY_BYTES: usize = COPY_RECORDS * RECORD_CONTENT_BYTES;
/// The ciphertext of [`COPY_BYTES`]. What is read from a socket at once never decrypts to more
/// than [`COPY_BYTES`].
pub const CIPHER_BYTES: usize = COPY_RECORDS * (RECORD_CONTENT_BYTES + RECORD_OVERHEAD_BYTES);
/// Enough for a body of 64 KiB with its head, and for what bulk senders write at once.
const COPY_RECORDS: usize = 8;
/// Plaintext of HTTP/2 that is put together for one write.
pub const PLAIN_BYTES: usize = 64 << 10;

// Waits.

/// How long a connection waits for its record, the inbound record or a certificate. Long enough
/// for a control plane that restarts on a busy machine, shorter than most callers' patience.
pub const RECORD_WAIT: Duration = Duration::from_secs(5);
/// How long a prefix is held that may still become HTTP or TLS, and how long a silent client of a
/// port of undeclared protocol is, whose server can't be reached (DESIGN, "Detection").
pub const DETECTION_HELD: Duration = Duration::from_millis(750);
/// How long a silent client of a port of which nothing is known yet is listened to before somebody
/// is dialled for it: a client of HTTP that has connected speaks well within it, and a server that
/// speaks first isn't missed.
pub const DETECTION_GRACE: Duration = Duration::from_millis(2);
/// How long connecting to another proxy may take, TLS included.
pub const TUNNEL_CONNECT: Duration = Duration::from_secs(10);
/// How long a caller's TLS handshake may take at our side.
pub const TLS_ACCEPT: Duration = Duration::from_secs(10);
/// How long the program may take to accept a connection.
pub const PROGRAM_CONNECT: Duration = Duration::from_secs(10);
/// How long a callee may take to answer a head: its own wait for a record, and for its program.
pub const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// How long a connection to the outside of the mesh may take.
pub const OUTSIDE_CONNECT: Duration = Duration::from_secs(30);
/// How long connections may go on after SIGTERM.
pub const DRAIN_WAIT: Duration = Duration::from_secs(25);
/// How long a name server of the host may take for one answer; a client waits 5 s in all.
pub const DNS_UPSTREAM: Duration = Duration::from_secs(2);
/// How long a name of one or two labels is looked for in the mesh before the host is asked.
pub const DNS_SHORT_NAME_WAIT: Duration = Duration::from_millis(250);
/// How long a connection to port 53 may be idle.
pub const DNS_CLIENT_IDLE: Duration = Duration::from_secs(10);
/// How long a slow client of the metrics page may take.
pub const ADMIN_WAIT: Duration = Duration::from_secs(5);
/// How long the program may take to tell its own metrics.
pub const SCRAPE_WAIT: Duration = Duration::from_secs(5);
/// The most bytes that they may be.
pub const SCRAPE_BYTES: u64 = 16 << 20;
/// How long an accept loop rests after an error such as "too many open files".
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long it isn't told again that connections wait, for room or after such an error.
pub const ACCEPT_TOLD: Duration = Duration::from_secs(60);

// Warm connections between proxies.

/// Spare connections kept for one endpoint in use. More only help bursts of new connections, and
/// each costs both sides a file descriptor and a session.
pub const WARM_PER_ENDPOINT: usize = 8;
/// Connections to one endpoint that wait after an exchange of HTTP/1. As many requests at once find
/// one; more make a handshake each.
pub const IDLE_PER_ENDPOINT: usize = 256;
/// How long a spare connection waits. Shorter than [`INBOUND_IDLE`], so that the side that would
/// use it is the one that closes it.
pub const WARM_IDLE: Duration = Duration::from_secs(60);
/// How long an inbound connection may wait for a head.
pub const INBOUND_IDLE: Duration = Duration::from_secs(120);
/// How often what is unused is looked for, while there is anything.
pub const SWEEP: Duration = Duration::from_secs(15);
/// Different endpoints that are tried for one connection, when connecting fails.
pub const ENDPOINT_TRIES: usize = 3;

// Lanes: connections that small exchanges of HTTP/1 share.

/// Streams that a caller has open on one lane; further exchanges get a connection of their own.
pub const LANE_CALLER_STREAMS: usize = 256;
/// Streams that a callee serves on one lane. More than a caller opens, for those that it has given up
/// end here a little later.
pub const LANE_CALLEE_STREAMS: usize = 2 * LANE_CALLER_STREAMS;
/// Frames that wait to be sent, in bytes, beyond which no stream adds to them.
pub const LANE_QUEUE_BYTES: usize = 256 << 10;
/// Frames that wait to be sent, answers of the lane itself included. Only a peer that goes on asking
/// and doesn't read can make them so many.
pub const LANE_BACKLOG_BYTES: usize = 4 * LANE_QUEUE_BYTES;
/// The longest request that shares a lane: beyond, copying costs more than system calls.
pub const LANE_REQUEST_BYTES: usize = 16 << 10;
/// The longest last answer of an endpoint that still lets the next request share a lane.
pub const LANE_ANSWER_BYTES: u64 = 16 << 10;

// Counts.

/// Connections of the program that are served at once; more wait in the listener's queue.
pub const OUTBOUND_CONNECTIONS: usize = 16_384;
/// Connections of callers that are served at once, streams of lanes among them. One address has at most
/// half of them.
pub const INBOUND_CONNECTIONS: usize = 20_000;
/// Of the files that the proxy may open, one in so many is a caller's connection: another one is the program's end of
/// it, and the rest are for what the program calls itself.
pub const FILES_PER_CALLER: usize = 3;
/// Handshakes of callers at once: what one thread can finish within [`TLS_ACCEPT`] is far more, what
/// a flood may hold of memory is this many sessions. One address has at most half of them.
pub const INBOUND_HANDSHAKES: usize = 1_000;
/// Names and addresses that the proxy asks the control plane for at once: fewer than the control
/// plane allows (8,192), so that this bound is met first.
pub const SUBSCRIPTIONS: usize = 8_000;
/// How long a destination is kept after its last use.
pub const DESTINATION_IDLE: Duration = Duration::from_secs(600);
/// Endpoints whose tunnels and labels one connection of HTTP/1 keeps at hand.
pub const ROUTES_AT_HAND: usize = 8;
/// Connections to the program that wait for an exchange.
pub const IDLE_PROGRAMS: usize = 1_024;
/// How long they wait. Shorter than servers wait (2 s and more), so that seldom one ends just as it
/// is used.
pub const PROGRAM_IDLE: Duration = Duration::from_millis(1_500);
/// How long an answer of Weft's own, or the last one of a connection, may take to be read.
pub const LINGER: Duration = Duration::from_secs(1);
/// How long the last words of a connection of HTTP/2 or HBONE may take: a slow peer still grants windows meanwhile.
pub const H2_LINGER: Duration = Duration::from_secs(10);
/// What is taken from a client meanwhile.
pub const LINGER_BYTES: usize = 1 << 20;
/// Ports of one service of which it is remembered what was spoken there.
pub const KNOWN_PORTS: usize = 32;
/// Sockets that the socket maker is asked for at once (16 in 153 µs, one in 22 µs).
pub const SOCKET_BATCH: u8 = 16;
/// At how few sockets the next batch is asked for.
pub const SOCKET_REFILL: usize = 6;
/// DNS questions that are being answered at once; more are dropped, and clients ask again.
pub const DNS_QUESTIONS: usize = 512;
/// Those of them that name servers of the host are asked at once: half, so that names of the mesh are
/// answered while name servers say nothing.
pub const DNS_PASSED_ON: usize = DNS_QUESTIONS / 2;
/// Sockets kept to answer DNS from, one for each name server that programs ask.
pub const DNS_REPLY_SOCKETS: usize = 16;
/// The longest datagram of DNS; what EDNS clients ask for is at most 4,096.
pub const DNS_DATAGRAM_BYTES: usize = 4_096;
/// The longest DNS message over TCP that is read.
pub const DNS_MESSAGE_BYTES: usize = 16 << 10;
/// Flows of datagrams to the outside, for each family; with more the one that was used longest ago ends.
pub const UDP_FLOWS: usize = 1_024;
/// How long a flow may be unused: what RFC 4787 (REQ-5) asks of whoever stands between two who send datagrams.
pub const UDP_IDLE: Duration = Duration::from_secs(120);
/// The longest datagram: its length has 16 bits.
pub const UDP_DATAGRAM_BYTES: usize = 65_535;
/// Datagrams of one socket that are taken before others have their turn: 0.2 ms of work.
pub const UDP_TURN: usize = 32;
/// Destinations that are told of as refused within [`UDP_REFUSAL_PAUSE`].
pub const UDP_REFUSAL_LINES: usize = 64;
/// How long a refused destination isn't told of again.
pub const UDP_REFUSAL_PAUSE: Duration = Duration::from_secs(60);
/// Access records that wait to be written; more are dropped and counted.
pub const ACCESS_RECORDS: usize = 1_024;
/// Batches of them that wait for the thread that writes; of one more all are dropped and counted.
pub const ACCESS_BATCHES: usize = 2;
/// The most bytes of each word of a request in an access record.
pub const ACCESS_WORD_BYTES: usize = 1_024;
/// Outcomes whose series are kept at hand for the requests of one caller to one workload.
pub const OUTCOMES_AT_HAND: usize = 16;
/// How long a record waits for others, so that many go in one write.
pub const ACCESS_DELAY: Duration = Duration::from_millis(100);
/// How long the last records may take to be written when the proxy ends.
pub const ACCESS_END: Duration = Duration::from_secs(1);
/// Series of metrics; beyond, calls are counted under one series whose labels are `other`. As many
/// labels of requests are shared by connections.
pub const METRIC_SERIES: usize = 2_000;
/// Clients of the metrics page at once. In a pod the kubelet is among them, and must not have to wait
/// for others.
pub const ADMIN_CLIENTS: usize = 256;
/// The longest head of a request to the metrics page.
pub const ADMIN_HEAD_BYTES: usize = 8 << 10;
/// Updates from the control thread that wait for the data thread; the stream's own flow control
/// holds the rest.
pub const UPDATES: usize = 256;

/// Routes that have a name of their own; further ones are `other`.
pub const ROUTES: usize = 100;
/// Series after which requests by new routes are told as `other`. With one for each of
/// [`METRIC_SERIES`] it stays below what the control plane takes of one proxy.
pub const REPORT_SERIES: u32 = 4_000;
/// Calls that wait to be told to those who watch; more are dropped and counted. Also calls that go on
/// and are kept to be told as open; more are told at their end only.
pub const TAP_EVENTS: usize = 512;

// HBONE. What a peer can see is as ztunnel has it.

/// What a peer may send on one stream before it is read.
pub const HBONE_STREAM_WINDOW: u32 = 4 << 20;
/// What a peer may send on one connection before it is read: four streams' worth, for with an equal
/// one a stream that isn't read would hold up all others.
pub const HBONE_CONNECTION_WINDOW: u32 = 4 * HBONE_STREAM_WINDOW;
/// The longest frame.
pub const HBONE_FRAME_BYTES: u32 = 1 << 20;
/// Bytes of one stream that wait for the socket.
pub const HBONE_SEND_BUFFER: usize = 400 << 10;
/// Streams that a caller puts on one connection, if its peer allows as many.
pub const HBONE_CLIENT_STREAMS: usize = 100;
/// Streams at once that a callee allows on one connection.
pub const HBONE_SERVER_STREAMS: u32 = 200;
/// The longest list of header fields that a caller takes.
pub const HBONE_CLIENT_HEADER_BYTES: u32 = 16 << 10;
/// The longest list of header fields that a callee takes.
pub const HBONE_SERVER_HEADER_BYTES: u32 = 64 << 10;
/// Streams of one connection that a caller resets before they were looked at; with more it ends. As
/// many as it may have open, for they are different programs' and none may end the others.
pub const HBONE_UNSEEN_RESETS: usize = HBONE_SERVER_STREAMS as usize;
/// What small DATA frames that nobody has taken yet may cost beyond their bytes, 256 bytes for each
/// at most; with more the connection ends, and all its streams. A proxy sends what a program writes
/// as it comes, so a program that stalls may have a whole window of small frames before it: of four
/// stalled streams they may be of 52 bytes each, of one of 15.
pub const HBONE_SMALL_FRAMES: usize = 4 * HBONE_CONNECTION_WINDOW as usize;
/// How long nothing may be heard of the peer before it is asked whether it is still there.
pub const HBONE_PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long it may take to answer.
pub const HBONE_PING_WAIT: Duration = Duration::from_secs(20);
/// How long a connection without streams is kept.
pub const HBONE_IDLE: Duration = Duration::from_secs(300);

// HTTP/2.

/// Streams at once on one connection between two proxies, or to a program. More streams open
/// another connection. It's what makes [`H2_CONNECTION_WINDOW`] a bearable amount of memory.
pub const H2_STREAMS: u32 = 256;
/// Streams at once of a program's own connection. A client library that has more of them waits:
/// most have one connection only, so this is all that a program has under way to one service.
pub const H2_CLIENT_STREAMS: u32 = 1_024;
/// What a peer may send on one stream before it is read: at a round trip of 1 ms it allows 256 MiB/s.
pub const H2_STREAM_WINDOW: u32 = 256 << 10;
/// What a peer may send on one connection before it is read. As much as all its streams together,
/// so that readers that stall never hold up those that don't.
pub const H2_CONNECTION_WINDOW: u32 = H2_STREAMS * H2_STREAM_WINDOW;
/// Bytes of one stream that wait for the socket. Two writes' worth, so that one can be filled while
/// the other goes.
pub const H2_SEND_BUFFER: usize = 2 * PLAIN_BYTES;
/// The longest frame: a larger one than the least (16 KiB) saves frames of large bodies, and at
/// this size a small message behind it still waits for no more than one write.
pub const H2_FRAME_BYTES: u32 = PLAIN_BYTES as u32;
/// The longest list of header fields, as HTTP/1's heads (DESIGN). It also bounds how many
/// CONTINUATION frames are read for one list, which otherwise cost much and say nothing.
pub const H2_HEADER_BYTES: u32 = 64 << 10;
/// Streams that their peer resets before they were even looked at (CVE-2023-44487): more at once and
/// the connection ends. A client that cancels a whole page of requests stays below.
pub const H2_UNSEEN_RESETS: usize = 128;
/// Streams of one connection that their peer cancels within a second, seen or not: with more it ends.
/// All streams that a program can have open may be cancelled at once, and half of them twice.
pub const H2_CANCELS_PER_SECOND: u32 = H2_CLIENT_STREAMS * 3 / 2;
/// Streams that this side has reset and still remembers, so that what arrives late for them is
/// ignored and no error. A stream's memory is less than 1 KiB.
pub const H2_REMEMBERED_RESETS: usize = 1_024;
/// How long they are remembered: longer than what was sent before the reset may be on its way.
pub const H2_RESET_MEMORY: Duration = Duration::from_secs(10);
/// Malformed streams that are reset on one connection; with more it ends, since each reset may have
/// to wait in memory for a peer that doesn't read.
pub const H2_ERROR_RESETS: usize = 1_024;
/// Cancelled streams after which a connection gets no new ones, and is replaced. Below
/// [`H2_ERROR_RESETS`], so that no honest use of a shared connection reaches that bound.
pub const H2_CANCELS_PER_CONNECTION: u32 = H2_ERROR_RESETS as u32 / 2;
/// Streams after which a connection is replaced, long before its stream ids (2³⁰) end.
pub const H2_STREAMS_PER_CONNECTION: u32 = 1 << 24;
/// What small DATA frames that nobody has taken yet may cost beyond their bytes, 256 bytes for each
/// at most: as much as the window itself.
pub const H2_SMALL_FRAMES: usize = H2_CONNECTION_WINDOW as usize;
/// A request's body that is kept until its response begins, so that a stream that was provably not
/// processed can be tried elsewhere. A longer request is tried once.
pub const H2_REPLAY_BYTES: usize = 64 << 10;
/// The first bytes of a request's content, which go with its head, in one write, before the stream
/// has room of its own: most requests are wholly within. So much more may wait for one stream.
pub const H2_EAGER_BYTES: usize = 16 << 10;
/// How often a proxy sends a request at most, when each time it is provably not processed. There are two
/// proxies between programs: a program that refuses all is asked nine times.
pub const H2_TRIES: usize = 3;
/// How long some stream of a connection must have had no room to send before the connection counts as
/// stalled: much longer than a program that reads takes to say so.
pub const H2_STALL: Duration = Duration::from_millis(20);
/// Connections to one port of a program, when streams of each stall: a program's window may be used
/// up by one stream that it doesn't read, and then holds up the connection's others.
pub const H2_STALLED_CONNECTIONS: usize = 8;
/// Endpoints whose labels one connection of a program keeps at hand.
pub const H2_FLOWS: usize = 64;
/// How long a peer may take for its half of the connection's preface. A ping is answered at once
/// too: only one answer is ever queued, and while it can't be sent nothing more is read.
pub const H2_PREFACE_WAIT: Duration = Duration::from_secs(10);

// The control thread.

/// How long one request for a certificate may take; `weft_identity::retry_after` counts on it.
pub const CERTIFICATE_WAIT: Duration = Duration::from_secs(2);
/// The same over the network, where the token is reviewed by another server. A certificate there lives
/// for hours.
pub const CERTIFICATE_WAIT_NETWORK: Duration = Duration::from_secs(15);
/// How long connecting to the control plane may take over the network, TLS included.
pub const CONTROL_CONNECT: Duration = Duration::from_secs(10);
/// How often the control plane is asked whether it is still there.
pub const CONTROL_PING: Duration = Duration::from_secs(15);
/// How long it may take to answer.
pub const CONTROL_PING_WAIT: Duration = Duration::from_secs(10);
/// The time over which proxies that have lost the control plane come back to it. Shorter than
/// [`RECORD_WAIT`], so that nothing new fails where it was away for a moment.
pub const RECONNECT_SPREAD: Duration = Duration::from_secs(4);
/// How often counters are told while anything happens, until the control plane asks for another pace.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The fastest pace that it may ask for: what a report costs is then still below a hundredth of the time.
pub const REPORT_INTERVAL_LEAST: Duration = Duration::from_millis(100);
/// Reports that wait to be sent; until they are, changes add up in the counters.
pub const REPORTS: usize = 4;
/// How long telling the last counts may take at the end.
pub const LAST_REPORT: Duration = Duration::from_secs(1);
/// Requests to the control plane that wait to be sent.
pub const REQUESTS: usize = 64;
