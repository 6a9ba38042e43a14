//! Request targets, normalized before they are matched and forwarded.

use weft_mesh::path::{Normalization, normalize, without_query};

/// `path::normalize`, in each of its degrees.
///
/// # Panics
/// When normalizing twice differs, when a dot segment, a doubled slash or a backslash is left, or
/// when the query changes.
pub fn mesh_path(data: &[u8]) {
    let Ok(target) = str::from_utf8(data) else { return };
    for degree in DEGREES {
        let Ok(normal) = normalize(target, degree) else { continue };
        assert!(normal.len() <= target.len());
        assert_eq!(normalize(&normal, degree).as_deref(), Ok(normal.as_ref()), "normalized twice");
        assert!(!normal.contains(['#', '\0']));
        let query = |text: &str| text.split('#').next().and_then(|text| Some(text.split_once('?')?.1.to_owned()));
        assert_eq!(query(&normal), query(target));
        if degree != Normalization::None && normal.starts_with('/') {
            check(without_query(&normal), degree);
        }
    }
}

fn check(path: &str, degree: Normalization) {
    let has_dots = |path: &[u8]| path.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..");
    assert!(!path.contains('\\') && !has_dots(path.as_bytes()), "{path:?}");
    if degree != Normalization::Base {
        assert!(!path.contains("//"), "{path:?}");
    }
    if degree == Normalization::DecodeAndMergeSlashes {
        assert!(!has_dots(&decoded_once(path)), "{path:?}, decoded once more");
    }
}

/// The path as a reader sees it who decodes every escape, once.
fn decoded_once(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = path.as_bytes();
    while let [first, rest @ ..] = bytes {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let escaped = match rest {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        out.push(escaped.map_or(*first, |(high, low)| (high * 16 + low) as u8));
        bytes = if escaped.is_some() { &rest[2..] } else { rest };
    }
    out
}

const DEGREES: [Normalization; 4] =
    [Normalization::None, Normalization::Base, Normalization::MergeSlashes, Normalization::DecodeAndMergeSlashes];
