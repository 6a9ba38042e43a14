//! Which resources of a cluster a question is about: `KIND`, `KIND/NAME` or `KIND NAME`.

use std::fmt;

use clap::{Args, ValueEnum};
use weft_resources::{distance, nearest};
use weft_wire::proto::weft::v1::Resource;

/// Kinds that traffic is told of: the API's name, and what people type.
const KINDS: [(&str, &[&str]); 9] = [
    ("Deployment", &["deploy", "deployment", "deployments"]),
    ("StatefulSet", &["sts", "statefulset", "statefulsets"]),
    ("DaemonSet", &["ds", "daemonset", "daemonsets"]),
    ("ReplicaSet", &["rs", "replicaset", "replicasets"]),
    ("Job", &["job", "jobs"]),
    ("CronJob", &["cj", "cronjob", "cronjobs"]),
    ("Pod", &["po", "pod", "pods"]),
    ("Service", &["svc", "service", "services"]),
    ("Namespace", &["ns", "namespace", "namespaces"]),
];

/// Resources of one kind: one of them, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resources {
    /// As the API has it, such as `Deployment`.
    pub(crate) kind: &'static str,
    pub(crate) name: Option<String>,
}

impl Resources {
    /// What words name; `None` when the first is no kind.
    ///
    /// # Errors
    /// When a kind is named, and then too much.
    pub(crate) fn of(words: &[String]) -> Result<Option<Self>, String> {
        let Some(first) = words.first() else { return Ok(None) };
        let (kind, name) = match first.split_once('/') {
            Some((kind, name)) => (kind, Some(name)),
            None => (first.as_str(), None),
        };
        let Some(kind) = kind_of(kind) else { return Ok(None) };
        let name = match (name, words.get(1)) {
            (Some(name), None) => Some(name.to_owned()),
            (None, name) => name.cloned(),
            (Some(_), Some(more)) => return Err(format!("expected KIND/NAME or KIND NAME, found {first} and {more}")),
        };
        if name.as_deref().is_some_and(|name| name.is_empty() || name.contains('/')) {
            return Err(format!("expected KIND/NAME such as deploy/web, found {first:?}"));
        }
        Ok(Some(Self { kind, name }))
    }

    /// As the control plane is asked. Namespaces stand in none.
    pub(crate) fn message(&self, namespace: &str) -> Resource {
        let namespace = if self.is_of_namespaces() { "" } else { namespace };
        let name = self.name.clone().unwrap_or_default();
        Resource { kind: self.kind.to_owned(), namespace: namespace.to_owned(), name }
    }

    /// Whether namespaces themselves are meant.
    pub(crate) fn is_of_namespaces(&self) -> bool {
        self.kind == "Namespace"
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

/// Reads `KIND` or `KIND/NAME`.
pub(crate) fn resources(text: &str) -> Result<Resources, String> {
    let wrong = || format!("expected a resource such as deploy/web or ns/shop, found {text:?}");
    Resources::of(&[text.to_owned()])?.ok_or_else(wrong)
}

fn kind_of(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    KINDS.iter().find(|(_, words)| words.contains(&word.as_str())).map(|(kind, _)| *kind)
}

/// The kind that was probably meant by a word that names none: one that differs in a letter or two.
pub(crate) fn nearest_kind(word: &str) -> Option<&'static str> {
    let kind = word.split('/').next().unwrap_or_default();
    let known: Vec<&'static str> = KINDS.iter().flat_map(|(_, words)| words.iter().copied()).collect();
    nearest(kind, &known).filter(|known| distance(kind, known) <= 2 && known.len() > 2)
}

/// In which namespaces to look.
#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// The namespace of the resources [default: the kubeconfig's; of one machine: all].
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Resources of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
}

impl ScopeArgs {
    /// Whether a namespace is looked in, where none is the usual one.
    pub(crate) fn holds(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|only| only == namespace)
    }
}

/// How tables of resources are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TableFormat {
    /// An aligned table.
    #[default]
    #[value(alias = "text")]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON, for programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Option<(&'static str, Option<String>)>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Resources::of(&words).map(|found| found.map(|found| (found.kind, found.name)))
    }

    #[test]
    fn kinds_have_short_and_long_names() {
        assert_eq!(of(&["deploy"]), Ok(Some(("Deployment", None))));
        assert_eq!(of(&["Deployments/web"]), Ok(Some(("Deployment", Some("web".to_owned())))));
        assert_eq!(of(&["sts", "db"]), Ok(Some(("StatefulSet", Some("db".to_owned())))));
        assert_eq!(of(&["payments"]), Ok(None));
        assert_eq!(of(&["shop/payments"]), Ok(None));
        assert_eq!(of(&[]), Ok(None));
        for wrong in [&["deploy/a", "b"][..], &["deploy/"], &["po/a/b"], &["ns", ""]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        assert!(resources("payments").is_err());
    }

    #[test]
    fn namespaces_stand_in_none() {
        let message = |text| resources(text).unwrap().message("shop");
        assert_eq!(message("deploy").namespace, "shop");
        assert_eq!((message("ns/shop").namespace, message("ns/shop").name), (String::new(), "shop".to_owned()));
    }
}
