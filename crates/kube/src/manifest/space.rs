//! Which part of a text goes when entries of a mapping or items of a list go: with them the space that
//! set them apart, and nothing else. Comments between two belong to the second.

use std::ops::Range;

use super::tree::{Body, Form, Node};

/// The ranges to delete for these entries or items of a collection.
pub(super) fn removal(text: &str, node: &Node, indexes: &[usize]) -> Vec<Range<usize>> {
    let (spans, form) = spans(text, node);
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < spans.len() {
        let run = (at..spans.len()).take_while(|index| indexes.contains(index)).count();
        if run > 0 {
            ranges.push(range(text, &spans, form, at..at + run));
        }
        at += run.max(1);
    }
    ranges
}

/// Where new items go before all others of a list in a block: before the comments of its first item.
/// With the column of its dashes.
pub(super) fn before_items(text: &str, node: &Node) -> Option<(usize, usize)> {
    let (spans, _) = spans(text, node);
    let dash = spans.first()?.start;
    let mut at = line_start(text, dash);
    while let Some(before) = at.checked_sub(1).map(|end| line_start(text, end)) {
        if !text[before..at].trim_start().starts_with('#') {
            break;
        }
        at = before;
    }
    begins_line(text, dash).then(|| (at, column(text, dash)))
}

/// Each entry or item, from its key or dash to its end.
fn spans(text: &str, node: &Node) -> (Vec<Range<usize>>, Form) {
    match &node.body {
        Body::Map(entries, form) => (entries.iter().map(|(key, value)| key.start..value.end).collect(), *form),
        Body::List(items, Form::Flow) => (items.iter().map(|item| item.start..item.end).collect(), Form::Flow),
        Body::List(items, Form::Block) => {
            let dash = |item: &Node| text[..item.start].rfind('-').unwrap_or(item.start);
            (items.iter().map(|item| dash(item)..item.end).collect(), Form::Block)
        }
        Body::Scalar { .. } | Body::Alias(_) => (Vec::new(), Form::Flow),
    }
}

fn range(text: &str, spans: &[Range<usize>], form: Form, run: Range<usize>) -> Range<usize> {
    let (first, last) = (spans[run.start].start, spans[run.end - 1].end);
    match (form, spans.get(run.end)) {
        (Form::Block, Some(next)) if begins_line(text, first) => {
            line_start(text, first)..line_after(text, last).min(line_start(text, next.start))
        }
        (_, Some(next)) => first..next.start,
        (Form::Block, None) => line_start(text, first)..line_after(text, last),
        (Form::Flow, None) => run.start.checked_sub(1).map_or(first, |before| spans[before].end)..last,
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |found| found + 1)
}

fn line_after(text: &str, at: usize) -> usize {
    if text[..at].ends_with('\n') {
        return at;
    }
    text[at..].find('\n').map_or(text.len(), |found| at + found + 1)
}

fn begins_line(text: &str, at: usize) -> bool {
    text[line_start(text, at)..at].bytes().all(|byte| byte == b' ')
}

/// How many blanks a byte's line begins with.
pub(super) fn indent(text: &str, at: usize) -> usize {
    text[line_start(text, at)..].bytes().take_while(|byte| *byte == b' ').count()
}

/// How many characters stand before a byte on its line.
pub(super) fn column(text: &str, at: usize) -> usize {
    text[line_start(text, at)..at].chars().count()
}
