//! What this proxy tells its HTTP/2 peers, and what it bears from them. Each number stands in
//! [`crate::limits`] with its reason.

use h2::{client, server};

use crate::limits::{
    H2_CLIENT_STREAMS, H2_CONNECTION_WINDOW, H2_ERROR_RESETS, H2_FRAME_BYTES, H2_HEADER_BYTES, H2_REMEMBERED_RESETS,
    H2_RESET_MEMORY, H2_SEND_BUFFER, H2_SMALL_FRAMES, H2_STREAM_WINDOW, H2_STREAMS, H2_UNSEEN_RESETS,
};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A program, with one connection for all that it does.
    Program,
    /// Another proxy, which opens more connections when it needs them.
    Proxy,
}

/// The side that accepts streams.
pub(super) fn server(peer: Peer) -> server::Builder {
    let streams = match peer {
        Peer::Program => H2_CLIENT_STREAMS,
        Peer::Proxy => H2_STREAMS,
    };
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(streams)
        .initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_frame_size(H2_FRAME_BYTES)
        .max_header_list_size(H2_HEADER_BYTES)
        .max_send_buffer_size(H2_SEND_BUFFER)
        .max_pending_accept_reset_streams(H2_UNSEEN_RESETS)
        .max_concurrent_reset_streams(H2_REMEMBERED_RESETS)
        .max_local_error_reset_streams(Some(H2_ERROR_RESETS))
        .reset_stream_duration(H2_RESET_MEMORY)
        .data_frame_budget(H2_SMALL_FRAMES);
    builder
}

/// The side that opens streams.
pub(super) fn client() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(H2_STREAMS as usize)
        .initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_frame_size(H2_FRAME_BYTES)
        .max_header_list_size(H2_HEADER_BYTES)
        .max_send_buffer_size(H2_SEND_BUFFER)
        .max_pending_accept_reset_streams(H2_UNSEEN_RESETS)
        .max_concurrent_reset_streams(H2_REMEMBERED_RESETS)
        .max_local_error_reset_streams(Some(H2_ERROR_RESETS))
        .reset_stream_duration(H2_RESET_MEMORY)
        .data_frame_budget(H2_SMALL_FRAMES);
    builder
}
