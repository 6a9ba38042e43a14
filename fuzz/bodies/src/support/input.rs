//! Choices that a body takes out of its input.

/// The first byte, which a body chooses by, and the rest. An empty input chooses 0.
pub(crate) fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// A big-endian number of the first two bytes, and the rest; 0 where there are fewer.
pub(crate) fn number(data: &[u8]) -> (usize, &[u8]) {
    match data.split_first_chunk::<2>() {
        Some((number, rest)) => (usize::from(u16::from_be_bytes(*number)), rest),
        None => (0, &[]),
    }
}

/// A number that depends on every byte (FNV-1a).
pub(crate) fn hash(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Where the pieces end in which `data` arrives: ascending, the last one at its end. The same data
/// always arrives in the same pieces; after 64 short ones comes the rest.
pub(crate) fn ends(data: &[u8]) -> Vec<usize> {
    let mut state = hash(data) | 1;
    let mut end = 0;
    let mut ends = Vec::new();
    while end < data.len() && ends.len() < 64 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Often a byte or two, now and then many.
        let most = if state & 3 == 0 { 64 } else { 3 };
        end = (end + 1 + (state >> 8) as usize % most).min(data.len());
        ends.push(end);
    }
    if end < data.len() || ends.is_empty() {
        ends.push(data.len());
    }
    ends
}
