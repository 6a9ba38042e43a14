//! A text of YAML as its documents, each of which is read by itself: one that is broken spoils no other. Pure.

/// Documents of a file, each with its first line.
pub(crate) fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut begin, mut first, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            found.push((first, &text[begin..at]));
            (begin, first) = (at + line.len(), index + 2);
        }
        at += line.len();
    }
    found.push((first, &text[begin..]));
    found.retain(|(_, document)| !document.trim().is_empty());
    found
}
