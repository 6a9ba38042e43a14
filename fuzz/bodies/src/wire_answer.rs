//! The answer to a head.

use weft_wire::head::{Answer, MAX_REASON_BYTES};

use crate::support::input::ends;

/// `Answer::decode`.
///
/// # Panics
/// When a split changes the answer, when more is awaited than an answer may have, or when a refusal
/// becomes another one, or none, once written and read again.
pub fn wire_answer(data: &[u8]) {
    let whole = Answer::decode(data);
    for end in ends(data) {
        match Answer::decode(&data[..end]) {
            Ok(None) => assert!(end < data.len() || whole == Ok(None)),
            settled => assert_eq!(settled, whole),
        }
    }
    assert!(data.len() < 3 + MAX_REASON_BYTES || whole != Ok(None), "an answer that never ends");
    let Ok(Some((answer, length))) = whole else { return };
    assert!(length <= data.len());
    let mut out = Vec::new();
    answer.encode(&mut out);
    let again = Answer::decode(&out);
    match (answer, again) {
        (Answer::Connected, again) => assert_eq!(again, Ok(Some((Answer::Connected, 1)))),
        (Answer::Refused(refusal, reason), Ok(Some((Answer::Refused(found, text), length)))) => {
            assert_eq!((found, length), (refusal, out.len()));
            // A reason that was no text, or is too long once it is one, is cut.
            assert!(text == reason || reason.len() > MAX_REASON_BYTES);
        }
        (answer, again) => panic!("{answer:?} became {again:?}"),
    }
}
