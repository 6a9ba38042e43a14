//! What holds of every normalized path, and of templates against a matcher that tries everything.

use proptest::prelude::*;
use weft_mesh::path::{Normalization, normalize, without_query};
use weft_mesh::template::{matches_template, validate_template};

use crate::naive;

const ALL: [Normalization; 4] =
    [Normalization::None, Normalization::Base, Normalization::MergeSlashes, Normalization::DecodeAndMergeSlashes];

/// Targets of the pieces that matter, so that each meets each.
fn target() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "//", ".", "..", "%2e", "%2E", "%2f", "%5C", "\\", "%", "%2", "%65", "%41", "%c0", "%25", "%32", "a",
        "B", "2", "e", ";", "é",
    ]);
    let path = prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()));
    let rest = prop::sample::select(vec!["", "?", "?a=/../b", "#x", "?a#x"]);
    (path, rest).prop_map(|(path, rest)| path + rest)
}

/// The path as a reader sees it who decodes every escape, once.
fn decoded_once(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = path.as_bytes();
    while let [first, rest @ ..] = bytes {
        let hex = rest.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        // `from_str_radix` takes a sign, an escape doesn't.
        let hex = hex.filter(|_| *first == b'%' && rest[0] != b'+');
        out.push(hex.unwrap_or(*first));
        bytes = if hex.is_some() { &rest[2..] } else { rest };
    }
    out
}

proptest! {
    #[test]
    fn normalizing_twice_changes_nothing(target in target()) {
        for n in ALL {
            let once = normalize(&target, n).unwrap();
            prop_assert_eq!(normalize(&once, n).unwrap(), once.clone());
        }
    }

    #[test]
    fn a_normal_path_has_no_dot_segments_even_when_decoded(target in target()) {
        let normal = normalize(&target, Normalization::DecodeAndMergeSlashes).unwrap();
        let path = without_query(&normal);
        prop_assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\\'));
        let decoded = decoded_once(path);
        for segment in path.as_bytes().split(|b| *b == b'/').chain(decoded.split(|b| *b == b'/')) {
            prop_assert!(segment != b"." && segment != b"..", "{} -> {}", target, normal);
        }
    }

    #[test]
    fn base_leaves_no_dot_segments_and_no_backslashes(target in target()) {
        let normal = normalize(&target, Normalization::Base).unwrap();
        let path = without_query(&normal);
        prop_assert!(path.starts_with('/') && !path.contains('\\'));
        prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
    }

    #[test]
    fn the_query_stays_and_the_fragment_goes(target in target()) {
        let query = |t: &str| t.split_once('?').map(|(_, q)| q.split('#').next().unwrap().to_owned());
        for n in ALL {
            let normal = normalize(&target, n).unwrap();
            prop_assert_eq!(query(&normal), query(&target));
            prop_assert!(!normal.contains('#'));
        }
    }

    #[test]
    fn any_text_is_normalized_or_refused(target in ".{0,40}") {
        for n in ALL {
            if let Ok(normal) = normalize(&target, n) {
                prop_assert!(normal.len() <= target.len());
            }
        }
    }

    #[test]
    fn templates_match_as_the_naive_matcher_says(
        template in prop::collection::vec(prop::sample::select(vec!["{*}", "a", "b"]), 0..4),
        tail in prop::sample::select(vec!["", "/", "/{**}", "/{**}/a", "/{**}/a/b/", "/{**}/"]),
        path in "(/[ab]{0,2}){0,6}/?",
    ) {
        let template = template.iter().map(|s| format!("/{s}")).collect::<String>() + tail;
        prop_assert_eq!(matches_template(&template, &path), naive::template_matches(&template, &path), "{} {}", template, path);
    }

    #[test]
    fn any_text_is_a_template_or_none(template in "[/{}*a.]{0,12}", path in "[/{}*a.]{0,12}") {
        let _ = (validate_template(&template), matches_template(&template, &path));
    }
}
