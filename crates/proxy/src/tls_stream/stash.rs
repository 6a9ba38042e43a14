//! Bytes that wait for their turn, taken from the front. None are held when none wait.

use tokio::io::ReadBuf;

#[derive(Default)]
pub(super) struct Stash {
    bytes: Vec<u8>,
    used: usize,
}

impl From<Vec<u8>> for Stash {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, used: 0 }
    }
}

impl Stash {
    pub(super) fn is_empty(&self) -> bool {
        self.used == self.bytes.len()
    }

    /// Those that wait.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// The first `length` of them need wait no longer.
    pub(super) fn consume(&mut self, length: usize) {
        self.used += length;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// As many of them as fit go to `out`.
    pub(super) fn give(&mut self, out: &mut ReadBuf<'_>) {
        if !self.is_empty() {
            let length = self.rest().len().min(out.remaining());
            out.put_slice(&self.rest()[..length]);
            self.consume(length);
        }
    }

    /// Only `bytes` wait from now on.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
        if bytes.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Room for so many bytes behind those that wait; they wait too, whatever is written there.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        &mut self.bytes[start..]
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
