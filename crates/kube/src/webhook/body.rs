//! The bodies of questions: each is bounded in size and time, and all together in memory, so that nobody
//! who reaches the webhooks can use up what the control plane has.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::review::MAX_REVIEW_BYTES;

/// Room for the bodies that are under way.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// A whole body, which has its room until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    #[error("expected at most {MAX_REVIEW_BYTES} bytes")]
    Long,
    #[error("expected a whole body within {} s", BODY_TIMEOUT.as_secs())]
    Late,
    #[error("expected a whole body, found a part of it")]
    Cut,
    #[error("too many questions at once: ask again")]
    Crowded,
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_HELD_BYTES)))
    }
}

impl Room {
    /// Reads a body to its end. It takes room as it comes, and not as it announces itself.
    ///
    /// # Errors
    /// [`Unread`].
    pub(super) async fn read(&self, body: impl Body<Data = Bytes>) -> Result<Held, Unread> {
        timeout(BODY_TIMEOUT, self.collect(body)).await.unwrap_or(Err(Unread::Late))
    }

    async fn collect(&self, body: impl Body<Data = Bytes>) -> Result<Held, Unread> {
        let mut held = Held { bytes: Vec::new(), _room: self.take(0)? };
        let mut body = std::pin::pin!(body);
        let mut found = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Cut)?.into_data() else { continue };
            found += data.len();
            if found > MAX_DISCARDED_BYTES {
                break;
            }
            if found > MAX_REVIEW_BYTES {
                // Read to its end, so that who writes it hears the answer.
                held.bytes.clear();
                continue;
            }
            held._room.merge(self.take(data.len())?);
            held.bytes.extend_from_slice(&data);
        }
        if found > MAX_REVIEW_BYTES { Err(Unread::Long) } else { Ok(held) }
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Unread> {
        let permits = u32::try_from(bytes).map_err(|_| Unread::Long)?;
        Arc::clone(&self.0).try_acquire_many_owned(permits).map_err(|_| Unread::Crowded)
    }
}

impl Unread {
    /// What HTTP calls it.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Long => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Cut => StatusCode::BAD_REQUEST,
            Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// All bodies under way, of which JSON makes about eight times as much; a pod has 10 KiB.
const MAX_HELD_BYTES: usize = 16 << 20;
/// A body that is too long is read no further than that.
const MAX_DISCARDED_BYTES: usize = 16 << 20;
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    fn body(bytes: usize) -> Full<Bytes> {
        Full::new(Bytes::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn bodies_are_bounded_each_and_together() {
        let room = Room::default();
        assert_eq!(room.read(body(MAX_REVIEW_BYTES + 1)).await.unwrap_err(), Unread::Long);
        let mut held = Vec::new();
        for _ in 0..MAX_HELD_BYTES / MAX_REVIEW_BYTES {
            held.push(room.read(body(MAX_REVIEW_BYTES)).await.unwrap());
        }
        assert_eq!(room.read(body(MAX_REVIEW_BYTES)).await.unwrap_err(), Unread::Crowded);
        assert_eq!(room.read(body(10 << 10)).await.unwrap().bytes.len(), 10 << 10, "small ones find room");
        held.pop();
        assert!(room.read(body(MAX_REVIEW_BYTES)).await.is_ok(), "what is answered gives its room back");
    }

    #[tokio::test]
    async fn what_is_too_long_is_read_so_far_and_no_further() {
        const MIB: usize = 1 << 20;
        let mut read = 0;
        let endless = futures_util::stream::repeat_with(|| {
            read += 1;
            Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(&[0; MIB])))
        });
        assert_eq!(Room::default().read(StreamBody::new(endless)).await.unwrap_err(), Unread::Long);
        assert_eq!(read, 16 + 1);
    }
}
