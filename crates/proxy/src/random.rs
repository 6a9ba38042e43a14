//! Random bits that need no secrecy: to spread load, and to tell requests apart.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Random bits: xorshift64*, seeded by the standard library.
pub(crate) fn bits() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

/// A random UUID (RFC 9562, 5.4), as `x-request-id` has it.
pub(crate) fn request_id() -> RequestId {
    let bytes = (u128::from(bits()) << 64 | u128::from(bits())).to_be_bytes();
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (n, byte) in bytes.into_iter().enumerate() {
        let byte = match n {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += if matches!(n, 3 | 5 | 7 | 9) { 3 } else { 2 };
    }
    RequestId(text)
}

/// A request's id that was made here.
pub(crate) struct RequestId([u8; 36]);

impl RequestId {
    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        // Hexadecimal digits and hyphens only.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_differ() {
        let (one, other) = (request_id(), request_id());
        let parts: Vec<usize> = one.as_str().split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&one.as_str()[14..15], "4");
        assert_ne!(one.as_str(), other.as_str());
    }
}
