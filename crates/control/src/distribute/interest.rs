//! What one stream asked of one kind of records, what it holds, and how the two differ.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::{Catalog, Delivery, DeltaDiscoveryResponse, Kind, Resource};

/// A record, encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) name: String,
    /// The hash of the bytes.
    pub(super) version: String,
    pub(super) aliases: Vec<String>,
    pub(super) bytes: Vec<u8>,
}

/// One stream's interest in one kind of records.
#[derive(Debug, Default)]
pub(super) struct Interest {
    begun: bool,
    /// What was asked for, with the record that it meant when it was last looked at.
    asked: BTreeMap<String, Option<String>>,
    /// The versions of what the client holds, by the records' own names.
    held: BTreeMap<String, String>,
    /// What of `asked` may differ from what the client holds.
    to_look_at: BTreeSet<String>,
    /// What the client holds of an earlier stream and didn't ask for again.
    left_over: BTreeSet<String>,
    /// Responses that weren't answered yet: nonce and the records' names.
    unanswered: VecDeque<(String, Vec<String>)>,
    /// Records that were refused, with the reason.
    refused: BTreeMap<String, String>,
}

/// What a client must be told.
#[derive(Debug, Default)]
pub(super) struct Difference {
    changed: Vec<Arc<Published>>,
    removed: BTreeSet<String>,
    bytes: usize,
}

impl Interest {
    /// Takes new names in; the first time also what the client holds from an earlier stream.
    pub(super) fn begin(&mut self, catalog: &Catalog, kind: Kind, versions: HashMap<String, String>, names: &[String]) {
        let meant = |name: &String| catalog.resolve(kind, name).map(|record| record.name.clone());
        if !self.begun {
            self.begun = true;
            let wanted: BTreeSet<String> = names.iter().filter_map(meant).collect();
            let (held, left_over) = versions.into_iter().partition(|(name, _)| wanted.contains(name));
            self.held = held;
            self.left_over = BTreeMap::into_keys(left_over).collect();
        } else {
            // Who asks again wants an answer, whatever it held.
            names.iter().filter_map(meant).for_each(|name| drop(self.held.remove(&name)));
        }
        for name in names {
            self.asked.entry(name.clone()).or_default();
            self.to_look_at.insert(name.clone());
        }
    }

    /// Forgets a name; what the client held by it is its own affair.
    pub(super) fn give_up(&mut self, name: &str) {
        self.to_look_at.remove(name);
        if let Some(Some(meant)) = self.asked.remove(name)
            && !self.means(&meant)
        {
            self.held.remove(&meant);
            self.refused.remove(&meant);
        }
    }

    /// What is meant by this name may have changed.
    pub(super) fn look_at(&mut self, name: &str) {
        self.to_look_at.insert(name.to_owned());
    }

    /// The client's answer to a response: `refusal` is its reason, if it refused.
    pub(super) fn answer(&mut self, nonce: &str, refusal: Option<String>) {
        let Some(at) = self.unanswered.iter().position(|(sent, _)| sent == nonce) else { return };
        let Some((_, names)) = self.unanswered.remove(at) else { return };
        for name in names {
            match &refusal {
                Some(reason) if self.held.contains_key(&name) => {
                    let reason = reason.chars().take(MAX_REASON_CHARS).collect();
                    self.refused.insert(name, reason);
                }
                _ => drop(self.refused.remove(&name)),
            }
        }
    }

    /// What the client must be told now, as much as fits one response; `None` when nothing, or
    /// when it has answered too few of the earlier ones.
    pub(super) fn difference(&mut self, catalog: &Catalog, kind: Kind) -> Option<Difference> {
        if self.unanswered.len() >= MAX_UNANSWERED {
            return None;
        }
        let mut difference = Difference { removed: std::mem::take(&mut self.left_over), ..Difference::default() };
        while difference.bytes < MAX_RESPONSE_BYTES
            && let Some(name) = self.to_look_at.pop_first()
        {
            let now = catalog.resolve(kind, &name);
            self.settle(&name, now, &mut difference);
        }
        (!difference.changed.is_empty() || !difference.removed.is_empty()).then_some(difference)
    }

    /// The response with this difference is on its way.
    pub(super) fn sent(&mut self, nonce: String, difference: &Difference) {
        let names = difference.changed.iter().map(|record| record.name.clone()).collect();
        self.unanswered.push_back((nonce, names));
    }

    /// The names that were asked for.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.asked.keys()
    }

    /// Whether the client has acknowledged all that it asked for, as it is now.
    pub(super) fn is_settled(&self) -> bool {
        self.begun && self.to_look_at.is_empty() && self.unanswered.is_empty() && self.refused.is_empty()
    }

    /// How many responses weren't answered yet.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// How far a record has come.
    pub(super) fn delivery(&self, record: &Published) -> Delivery {
        if self.held.get(&record.name) != Some(&record.version) {
            return Delivery::Unsent;
        }
        if self.unanswered.iter().any(|(_, names)| names.contains(&record.name)) {
            return Delivery::Sent;
        }
        match self.refused.contains_key(&record.name) {
            true => Delivery::Refused,
            false => Delivery::Acknowledged,
        }
    }

    /// Records that were refused, with the reason.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&String, &String)> {
        self.refused.iter()
    }

    fn settle(&mut self, name: &str, now: Option<&Arc<Published>>, difference: &mut Difference) {
        let meant = now.map(|record| record.name.clone());
        let Some(before) = self.asked.get_mut(name) else { return };
        let before = std::mem::replace(before, meant.clone());
        if let Some(before) = before.filter(|before| Some(before) != meant.as_ref() && !self.means(before))
            && self.held.remove(&before).is_some()
        {
            self.refused.remove(&before);
            difference.removed.insert(before);
        }
        match now {
            None => drop(difference.removed.insert(name.to_owned())),
            Some(record) if self.held.get(&record.name) != Some(&record.version) => {
                self.held.insert(record.name.clone(), record.version.clone());
                difference.removed.remove(&record.name);
                difference.bytes += record.bytes.len();
                difference.changed.push(Arc::clone(record));
            }
            Some(_) => {}
        }
    }

    fn means(&self, record: &str) -> bool {
        self.asked.values().any(|meant| meant.as_deref() == Some(record))
    }
}

impl Difference {
    /// The response that tells it.
    pub(super) fn into_response(self, kind: Kind, nonce: String) -> DeltaDiscoveryResponse {
        let resource = |record: &Arc<Published>| Resource {
            version: record.version.clone(),
            resource: Some(prost_types::Any { type_url: kind.type_url().to_owned(), value: record.bytes.clone() }),
            name: record.name.clone(),
            aliases: record.aliases.clone(),
        };
        DeltaDiscoveryResponse {
            system_version_info: String::new(),
            resources: self.changed.iter().map(resource).collect(),
            type_url: kind.type_url().to_owned(),
            nonce,
            removed_resources: self.removed.into_iter().collect(),
        }
    }
}

/// Responses on their way to a client that answers slowly.
const MAX_UNANSWERED: usize = 8;
/// Bytes of records after which a response ends; gRPC clients take 4 MiB by default.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// Characters of a client's reason that are kept.
const MAX_REASON_CHARS: usize = 512;
