//! Bytes on their way from one stream to another: those that were read and not yet sent. Small
//! pieces that have to wait are put together, so that many tiny frames become few.

use bytes::{Bytes, BytesMut};

/// A queue of bytes. Its owner bounds it.
#[derive(Default)]
pub(super) struct Held {
    /// What goes first.
    front: Bytes,
    rest: BytesMut,
}

impl Held {
    /// Adds at the end. A piece that needn't wait for another isn't copied.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.front = piece;
        } else {
            self.rest.extend_from_slice(&piece);
        }
    }

    /// Adds at the front what was taken before.
    pub(super) fn put_back(&mut self, pieces: &[Bytes]) {
        let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum::<usize>() + self.len());
        for piece in pieces {
            all.extend_from_slice(piece);
        }
        all.extend_from_slice(&self.front);
        all.extend_from_slice(&self.rest);
        *self = Self { front: Bytes::new(), rest: all };
    }

    /// Takes up to `most` bytes from the front.
    pub(super) fn take(&mut self, most: usize) -> Bytes {
        if self.front.is_empty() {
            self.front = self.rest.split().freeze();
        }
        self.front.split_to(most.min(self.front.len()))
    }

    /// How many bytes are held.
    pub(super) fn len(&self) -> usize {
        self.front.len() + self.rest.len()
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(held: &mut Held, most: usize) -> Vec<Bytes> {
        std::iter::from_fn(|| (!held.is_empty()).then(|| held.take(most))).collect()
    }

    #[test]
    fn bytes_leave_in_their_order_and_small_ones_together() {
        let mut held = Held::default();
        for piece in ["a", "bc", "", "def"] {
            held.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!(held.len(), 6);
        assert_eq!(drained(&mut held, 9), ["a", "bcdef"]);
        held.push(Bytes::from_static(b"abcd"));
        assert_eq!(drained(&mut held, 3), ["abc", "d"]);
    }

    #[test]
    fn what_was_taken_can_be_put_back() {
        let mut held = Held::default();
        held.push(Bytes::from_static(b"abcd"));
        let taken = [held.take(1), held.take(2)];
        held.push(Bytes::from_static(b"ef"));
        held.put_back(&taken);
        assert_eq!(drained(&mut held, 9), ["abcdef"]);
    }
}
