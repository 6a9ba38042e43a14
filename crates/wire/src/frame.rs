//! Frames of a lane: a connection of `weft/1`, after a head of kind [`Lane`](crate::head::Kind::Lane),
//! that many exchanges share. Each stream carries what a connection of its own would: heads, and
//! the bytes that follow them.
//!
//! ```text
//! frame    stream u32 | kind u8 | length u24 | payload       (all numbers big-endian)
//! data     1: the stream's next bytes
//! window   2: u32, how many bytes more the sender of this frame takes
//! end      3: no more bytes will follow
//! reset    4: the stream has ended abruptly, both ways
//! ```
//!
//! The caller's first data or end opens a stream; numbers of streams only grow. A side may have sent
//! [`WINDOW`] bytes of a stream that the other hasn't granted anew.

/// Bytes before the payload.
pub const FRAME_HEAD_BYTES: usize = 8;
/// The most bytes of one frame, so that a frame fits one TLS record (RFC 8446, section 5.1).
pub const MAX_FRAME_BYTES: usize = 16 << 10;
/// The most payload of one frame.
pub const MAX_DATA_BYTES: usize = MAX_FRAME_BYTES - FRAME_HEAD_BYTES;
/// What may be sent on a stream, in bytes, before the receiver grants more.
pub const WINDOW: usize = 64 << 10;

const DATA: u8 = 1;
const WINDOW_GRANT: u8 = 2;
const END: u8 = 3;
const RESET: u8 = 4;

/// What a frame says of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next bytes; never none.
    Data(&'a [u8]),
    /// So many bytes more may be sent.
    Window(usize),
    /// The sender has said everything.
    End,
    /// It is over, both ways.
    Reset,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whose.
    pub stream: u32,
    /// What it says.
    pub event: Event<'a>,
}

/// Why bytes are no frame. The connection is of no use afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind that isn't known.
    #[error("expected a frame of kind 1 to 4, found {0}")]
    Kind(u8),
    /// A length that the kind can't have.
    #[error("expected a frame of kind {kind} with another length, found {length} bytes")]
    Length {
        /// The kind.
        kind: u8,
        /// The length.
        length: usize,
    },
    /// A grant of nothing, or of more than the window.
    #[error("expected a grant of 1 to {WINDOW} bytes, found {0}")]
    Grant(u32),
}

impl<'a> Frame<'a> {
    /// Reads a frame from the start of `bytes`: the frame and its length in bytes, or `None` when
    /// more bytes are needed, which are never more than [`MAX_FRAME_BYTES`] in all.
    ///
    /// # Errors
    /// [`FrameError`] when no later bytes can make it a frame.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else { return Ok(None) };
        let [s0, s1, s2, s3, kind, l0, l1, l2] = *head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let fits = match kind {
            DATA => (1..=MAX_DATA_BYTES).contains(&length),
            WINDOW_GRANT => length == 4,
            END | RESET => length == 0,
            other => return Err(FrameError::Kind(other)),
        };
        if !fits {
            return Err(FrameError::Length { kind, length });
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let event = match kind {
            DATA => Event::Data(payload),
            WINDOW_GRANT => Event::Window(grant(payload)?),
            END => Event::End,
            _ => Event::Reset,
        };
        Ok(Some((Self { stream: u32::from_be_bytes([s0, s1, s2, s3]), event }, FRAME_HEAD_BYTES + length)))
    }

    /// Appends the frame's bytes to `out`. Of data there are at most [`MAX_DATA_BYTES`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self.event {
            Event::Data(bytes) => {
                self.put_head(DATA, bytes.len(), out);
                out.extend_from_slice(bytes);
            }
            Event::Window(more) => {
                self.put_head(WINDOW_GRANT, 4, out);
                out.extend_from_slice(&(more as u32).to_be_bytes()); // at most `WINDOW`
            }
            Event::End => self.put_head(END, 0, out),
            Event::Reset => self.put_head(RESET, 0, out),
        }
    }

    fn put_head(&self, kind: u8, length: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.to_be_bytes());
        let [_, l0, l1, l2] = (length as u32).to_be_bytes(); // at most `MAX_DATA_BYTES`
        out.extend_from_slice(&[kind, l0, l1, l2]);
    }
}

fn grant(payload: &[u8]) -> Result<usize, FrameError> {
    let more = payload.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    if (1..=WINDOW as u32).contains(&more) { Ok(more as usize) } else { Err(FrameError::Grant(more)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_way_and_need_all_their_bytes() {
        let longest = vec![7; MAX_DATA_BYTES];
        for event in [Event::Data(b"x"), Event::Data(&longest), Event::Window(WINDOW), Event::End, Event::Reset] {
            let frame = Frame { stream: 0x0102_0304, event };
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert!(bytes.len() <= MAX_FRAME_BYTES);
            for end in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
                assert_eq!(Frame::decode(&bytes[..end]), Ok(None), "{end}");
            }
            let length = bytes.len();
            bytes.extend(b"next");
            assert_eq!(Frame::decode(&bytes), Ok(Some((frame, length))));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_by_its_first_bytes() {
        let length = |kind, length| Err(FrameError::Length { kind, length });
        assert_eq!(Frame::decode(&[0, 0, 0, 1, 9, 0, 0, 0]), Err(FrameError::Kind(9)));
        assert_eq!(Frame::decode(&[0, 0, 0, 1, DATA, 0, 0, 0]), length(DATA, 0));
        assert_eq!(Frame::decode(&[0, 0, 0, 1, DATA, 0, 0x40, 0]), length(DATA, 16 << 10));
        assert_eq!(Frame::decode(&[0, 0, 0, 1, END, 0, 0, 1]), length(END, 1));
        assert_eq!(Frame::decode(&[0, 0, 0, 1, WINDOW_GRANT, 0, 0, 4, 0, 0, 0, 0]), Err(FrameError::Grant(0)));
        assert_eq!(Frame::decode(&[0, 0, 0, 1, WINDOW_GRANT, 0, 0, 4, 0, 1, 0, 1]), Err(FrameError::Grant(0x1_0001)));
    }
}
