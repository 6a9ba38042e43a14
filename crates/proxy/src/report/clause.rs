//! What a call must be for somebody to see it: a filter, read once, and asked of each call.

use weft_mesh::SpiffeId;
use weft_wire::proto::weft::v1::TapFilter;

use crate::access::AccessRecord;
use crate::metrics::{Labels, Party};

/// The conditions of a filter; all must hold.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    workload: Option<(Option<String>, String)>,
    method: Option<String>,
    path: Option<Path>,
    status: Option<Status>,
    /// Without its scheme.
    identity: Option<String>,
}

#[derive(Debug)]
enum Path {
    Exact(String),
    Prefix(String),
}

#[derive(Debug)]
enum Status {
    Code(u16),
    /// The first digit.
    Class(u16),
    /// A text that no status is.
    Never,
}

/// What filters ask of a call. A connection has no method, no path, and status 0.
pub(super) struct Seen<'a> {
    labels: &'a Labels,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: u16,
    is_request: bool,
}

impl Clauses {
    /// Reads a filter. Empty fields admit everything.
    pub(super) fn of(filter: &TapFilter) -> Self {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            workload: given(&filter.workload).map(|text| match text.split_once('/') {
                Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
                None => (None, text),
            }),
            method: given(&filter.method),
            path: given(&filter.path).map(|text| match text.strip_suffix('*') {
                Some(prefix) => Path::Prefix(prefix.to_owned()),
                None => Path::Exact(text),
            }),
            status: given(&filter.status).map(|text| Status::read(&text)),
            identity: given(&filter.identity).map(|text| text.trim_start_matches(SCHEME).to_owned()),
        }
    }

    /// Whether a call is what somebody looks for.
    pub(super) fn admit(&self, seen: &Seen<'_>) -> bool {
        let parties = [&seen.labels.source, &seen.labels.destination];
        let is_party = |(namespace, name): &(Option<String>, String)| {
            let namespace = namespace.as_deref();
            parties.iter().any(|party| is_named(party, namespace, name)) || is_service(seen.labels, namespace, name)
        };
        let is_identity = |principal: &String| {
            let ids = parties.iter().filter_map(|party| party.principal.as_ref());
            ids.map(SpiffeId::principal).any(|id| id == principal)
        };
        self.workload.as_ref().is_none_or(is_party)
            && self.method.as_ref().is_none_or(|method| seen.method.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|path| seen.is_request && path.admits(seen.path))
            && self.status.as_ref().is_none_or(|status| seen.is_request && status.admits(seen.status))
            && self.identity.as_ref().is_none_or(is_identity)
    }
}

impl<'a> Seen<'a> {
    /// What a record says of a call.
    pub(super) fn of(record: &'a AccessRecord) -> Self {
        let labels = &record.labels;
        match &record.request {
            None => Self { labels, method: "", path: "", status: 0, is_request: false },
            Some(asked) => {
                let [method, _, path, _] = asked.words.all();
                Self { labels, method, path, status: asked.status, is_request: true }
            }
        }
    }
}

impl Path {
    fn admits(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or_default();
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }
}

impl Status {
    fn read(text: &str) -> Self {
        let class = text.strip_suffix("xx").and_then(|digit| digit.parse().ok()).map(Self::Class);
        class.or_else(|| text.parse().ok().map(Self::Code)).unwrap_or(Self::Never)
    }

    fn admits(&self, status: u16) -> bool {
        match self {
            Self::Code(code) => status == *code,
            Self::Class(class) => status / 100 == *class,
            Self::Never => false,
        }
    }
}

/// A workload's own name, or its application's.
fn is_named(party: &Party, namespace: Option<&str>, name: &str) -> bool {
    namespace.is_none_or(|namespace| *party.namespace == *namespace)
        && (*party.workload == *name || *party.app == *name)
}

/// Before an endpoint is chosen, and where there is none, only the service tells who is called.
fn is_service(labels: &Labels, namespace: Option<&str>, name: &str) -> bool {
    let service = &labels.service;
    namespace.is_none_or(|namespace| *service.namespace == *namespace) && *service.name == *name
}

const SCHEME: &str = "spiffe://";

#[cfg(test)]
mod tests;
