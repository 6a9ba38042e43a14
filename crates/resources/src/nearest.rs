//! Which known word was probably meant: plain edit distance over short lists.

/// The candidate nearest to `word`, the first of several; `None` when there are no candidates.
pub fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    candidates.iter().copied().min_by_key(|candidate| distance(word, candidate))
}

/// How many insertions, deletions, replacements and swaps of neighbours lead from one word to the
/// other, without case. Words longer than any known one are cut first, so the cost is bounded.
pub fn distance(from: &str, to: &str) -> usize {
    let letters = |word: &str| -> Vec<char> { word.chars().take(MAX_LETTERS).flat_map(char::to_lowercase).collect() };
    let (from, to) = (letters(from), letters(to));
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

/// No known word is longer.
const MAX_LETTERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["principals", "notPrincipals", "namespaces", "ipBlocks"];
        for (word, expected) in [
            ("prinicpals", "principals"),
            ("Principals", "principals"),
            ("notprincipal", "notPrincipals"),
            ("namespace", "namespaces"),
            ("ipblock", "ipBlocks"),
        ] {
            assert_eq!(nearest(word, &known), Some(expected), "{word}");
        }
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn distances_are_counted() {
        for (from, to, expected) in
            [("", "", 0), ("a", "", 1), ("ab", "ba", 1), ("kitten", "sitting", 3), ("A", "a", 0)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
        assert_eq!(distance(&"a".repeat(1_000), ""), 64, "a long word is cut");
    }
}
