//! Looks at the HTTP/2 frames that arrive, before `h2` does: it refuses malformed heads by itself and tells nobody, and a
//! judge has to notice. Reads frame heads and SETTINGS only; knows no HPACK.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What has arrived on a connection so far (RFC 9113, section 6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Streams that the other side opened by HEADERS.
    pub streams: u64,
    /// PING frames without ACK.
    pub pings: u64,
    /// RST_STREAM frames.
    pub resets: u64,
    /// GOAWAY frames.
    pub goaways: u64,
    /// The announced settings by identifier, last value of each.
    pub settings: BTreeMap<u16, u32>,
}

/// Follows the frames in a stream of bytes, cut anywhere.
#[derive(Debug, Default)]
pub struct Scanner {
    seen: Seen,
    last_stream: u32,
    /// Bytes still to be skipped: the preface at first, later payloads.
    skip: usize,
    /// A frame's head, and of SETTINGS the payload, until it is whole.
    held: Vec<u8>,
}

impl Scanner {
    /// For a server: the client's preface stands before the first frame.
    #[must_use]
    pub fn after_preface() -> Self {
        Self { skip: PREFACE_BYTES, ..Self::default() }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = self.wanted().saturating_sub(self.held.len()).min(bytes.len());
            self.held.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if self.held.len() >= HEAD_BYTES && self.held.len() == self.wanted() {
                self.frame();
            }
        }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.clone()
    }

    fn wanted(&self) -> usize {
        match self.held.get(..HEAD_BYTES) {
            Some(head) if head[3] == SETTINGS => HEAD_BYTES + payload_bytes(head),
            _ => HEAD_BYTES,
        }
    }

    fn frame(&mut self) {
        let held = std::mem::take(&mut self.held);
        let (head, payload) = held.split_at(HEAD_BYTES);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        match kind {
            HEADERS if stream > self.last_stream => {
                self.last_stream = stream;
                self.seen.streams += 1;
            }
            RST_STREAM => self.seen.resets += 1,
            SETTINGS if flags & ACK == 0 => self.settings(payload),
            PING if flags & ACK == 0 => self.seen.pings += 1,
            GOAWAY => self.seen.goaways += 1,
            _ => {}
        }
        if kind != SETTINGS {
            self.skip = payload_bytes(head);
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        for pair in payload.chunks_exact(6) {
            let value = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
            self.seen.settings.insert(u16::from_be_bytes([pair[0], pair[1]]), value);
        }
    }
}

fn payload_bytes(head: &[u8]) -> usize {
    u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize
}

/// A stream whose incoming bytes a [`Scanner`] sees.
#[derive(Debug)]
pub struct Tap<T> {
    inner: T,
    scanner: Arc<Mutex<Scanner>>,
}

impl<T> Tap<T> {
    /// The stream, and a handle to what its scanner sees.
    pub fn new(inner: T, scanner: Scanner) -> (Self, Arc<Mutex<Scanner>>) {
        let scanner = Arc::new(Mutex::new(scanner));
        (Self { inner, scanner: scanner.clone() }, scanner)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let arrived = &buf.filled()[before..];
        if !arrived.is_empty() {
            self.scanner.lock().unwrap_or_else(PoisonError::into_inner).take(arrived);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn connection() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 0x40, 0, 0, 0, 5, 0, 0x10, 0, 0]));
        bytes.extend(frame(SETTINGS, ACK, 0, &[]));
        bytes.extend(frame(HEADERS, 4, 1, b"head"));
        bytes.extend(frame(0, 1, 1, b"data"));
        bytes.extend(frame(HEADERS, 5, 1, b"trailers"));
        bytes.extend(frame(HEADERS, 4, 3, b"head"));
        bytes.extend(frame(PING, 0, 0, &[7; 8]));
        bytes.extend(frame(PING, ACK, 0, &[7; 8]));
        bytes.extend(frame(RST_STREAM, 0, 3, &[0, 0, 0, 8]));
        bytes.extend(frame(GOAWAY, 0, 0, &[0; 8]));
        bytes
    }

    #[test]
    fn frames_are_counted_however_the_bytes_are_cut() {
        let expected = Seen {
            streams: 2,
            pings: 1,
            resets: 1,
            goaways: 1,
            settings: BTreeMap::from([(4, 4 << 20), (5, 1 << 20)]),
        };
        for size in [1, 2, 7, 9, 10, 1000] {
            let mut scanner = Scanner::after_preface();
            connection().chunks(size).for_each(|part| scanner.take(part));
            assert_eq!(scanner.seen(), expected, "cut to {size} bytes");
        }
    }
}
