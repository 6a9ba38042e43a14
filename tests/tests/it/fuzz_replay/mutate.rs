//! A small mutator: the same inputs, in the same order, on every machine.

/// Makes damaged inputs out of good ones.
pub(super) struct Mutator {
    state: u64,
    words: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
}

impl Mutator {
    /// A mutator for one target: `words` are put in, `others` are spliced.
    pub(super) fn new(name: &str, words: Vec<Vec<u8>>, others: Vec<Vec<u8>>) -> Self {
        let state = name.bytes().fold(0x9e37_79b9_7f4a_7c15, |state: u64, byte| state.rotate_left(7) ^ u64::from(byte));
        Self { state, words, others }
    }

    /// `input` with one to six changes, at most 16 KiB.
    pub(super) fn mutate(&mut self, input: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(6) {
            self.change(&mut bytes);
        }
        bytes.truncate(16 << 10);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let (at, end) = self.range(bytes.len());
        match self.below(9) {
            0 if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                bytes[at] ^= 1 << self.below(8);
            }
            1 if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                bytes[at] = self.below(256) as u8;
            }
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let part = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            5 => {
                let other = self.below(self.others.len());
                let other = self.others[other].clone();
                let (from, to) = self.range(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            6 => {
                let other = self.below(self.others.len());
                let other = self.others[other].clone();
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            // Words damage least and reach deepest.
            _ => {
                let word = self.below(self.words.len());
                let replaced = if self.below(2) == 0 { at } else { end };
                bytes.splice(at..replaced, self.words[word].iter().copied());
            }
        }
    }

    /// A range of a text of this length, mostly a short one.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let at = self.below(length + 1);
        let most = if self.below(4) == 0 { length - at } else { (length - at).min(8) };
        (at, at + self.below(most + 1))
    }

    /// A number below `bound` (xorshift64).
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % bound.max(1)
    }
}

/// The words of a dictionary in libFuzzer's form: a line each, in quotes, with `\\`, `\"` and `\xNN`.
pub(super) fn dictionary(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| word(line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap())).collect()
}

fn word(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, length) = match (*first, after) {
            (b'\\', [b'x', high, low, ..]) => {
                (u8::from_str_radix(str::from_utf8(&[*high, *low]).unwrap(), 16).unwrap(), 4)
            }
            (b'\\', [escaped @ (b'\\' | b'"'), ..]) => (*escaped, 2),
            (b'\\', _) => panic!("no escape that is known: {text}"),
            (byte, _) => (byte, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

#[test]
fn words_are_read_as_libfuzzer_reads_them() {
    assert_eq!(dictionary("# x\n\"a\\x0d\\\\\\\"\"\n\n\"b\"\n"), [b"a\r\\\"".to_vec(), b"b".to_vec()]);
}

#[test]
fn mutations_are_the_same_each_time_and_differ_from_each_other() {
    let made = || {
        let mut mutator = Mutator::new("x", vec![b"word".to_vec()], vec![b"other".to_vec()]);
        (0..100).map(|_| mutator.mutate(b"input")).collect::<Vec<_>>()
    };
    assert_eq!(made(), made());
    assert!(made().iter().collect::<std::collections::BTreeSet<_>>().len() > 60);
}
