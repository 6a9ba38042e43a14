//! Path templates against a matcher that tries everything.

use weft_mesh::record::{PathPattern, Pattern};
use weft_mesh::template::{matches_template, validate_template};

/// `PathPattern::parse` and `matches_template`; the first line is the template, the rest the path.
///
/// # Panics
/// When a good template matches otherwise than the slow matcher says, or a text with braces is read
/// as no template.
pub fn mesh_template(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (template, path) = text.split_once('\n').unwrap_or((text, "/"));
    let matched = matches_template(template, path);
    match PathPattern::parse(template) {
        Err(_) => assert!(template.contains(['{', '}']) && validate_template(template).is_err()),
        Ok(PathPattern::Text(pattern)) => {
            assert!(!template.contains(['{', '}']));
            assert_eq!(pattern, Pattern::parse(template));
        }
        Ok(PathPattern::Template(read)) => {
            assert_eq!((read.as_str(), validate_template(template)), (template, Ok(())));
            // The slow matcher takes time exponential in the operators.
            if path.len() <= 48 && template.matches("{*").count() <= 4 {
                assert_eq!(matched, matches_slowly(template, path), "{template:?} {path:?}");
            }
        }
    }
}

fn matches_slowly(template: &str, path: &str) -> bool {
    let ends = || (0..=path.len()).filter(|end| path.is_char_boundary(*end));
    if let Some(rest) = template.strip_prefix("{**}") {
        return ends().any(|end| matches_slowly(rest, &path[end..]));
    }
    if let Some(rest) = template.strip_prefix("{*}") {
        return ends().any(|end| end > 0 && !path[..end].contains('/') && matches_slowly(rest, &path[end..]));
    }
    match template.chars().next() {
        None => path.is_empty(),
        Some(first) => path.strip_prefix(first).is_some_and(|rest| matches_slowly(&template[first.len_utf8()..], rest)),
    }
}
