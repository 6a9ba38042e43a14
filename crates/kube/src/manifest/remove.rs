//! Taking entries and items out of an object. A collection that would be left with nothing goes with them.

use std::collections::{BTreeMap, BTreeSet};

use super::edit::{Change, Kind};
use super::tree::{Body, Node};

/// The changes that delete what is at the ends of `ways`, each from `node`, which stands at `path` and stays.
pub(super) fn remove(document: usize, node: &Node, path: &[usize], ways: BTreeSet<Vec<usize>>) -> Vec<Change> {
    let change = |(parent, indexes): (Vec<usize>, Vec<usize>)| Change {
        document,
        path: [path, &parent].concat(),
        kind: Kind::Remove(indexes),
    };
    by_parent(&widened(node, ways)).into_iter().map(change).collect()
}

/// The ways with those to parents in place of all their children.
fn widened(node: &Node, mut ways: BTreeSet<Vec<usize>>) -> BTreeSet<Vec<usize>> {
    // Each round shortens a way, and ways are short.
    loop {
        let emptied = by_parent(&ways).into_iter().find(|(parent, indexes)| {
            !parent.is_empty() && at(node, parent).is_some_and(|parent| size(parent) == indexes.len())
        });
        let Some((parent, _)) = emptied else { return ways };
        ways.retain(|way| !way.starts_with(&parent));
        ways.insert(parent);
    }
}

fn by_parent(ways: &BTreeSet<Vec<usize>>) -> BTreeMap<Vec<usize>, Vec<usize>> {
    let mut found: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for way in ways {
        if let Some((last, parent)) = way.split_last() {
            found.entry(parent.to_vec()).or_default().push(*last);
        }
    }
    found
}

fn at<'n>(mut node: &'n Node, way: &[usize]) -> Option<&'n Node> {
    for step in way {
        node = match &node.body {
            Body::Map(entries, _) => &entries.get(*step)?.1,
            Body::List(items, _) => items.get(*step)?,
            Body::Scalar { .. } | Body::Alias(_) => return None,
        };
    }
    Some(node)
}

fn size(node: &Node) -> usize {
    node.entries().len() + node.items().len()
}
