//! Which workload a question is about: `NAMESPACE/NAME` or `NAMESPACE/KEY=VALUE,…`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use weft_mesh::WorkloadId;

/// A workload, by its namespace and labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The namespace.
    pub(crate) namespace: String,
    /// Its labels, as far as they are told. `NAMESPACE/NAME` stands for the label `app`.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Target {
    /// The label that names a service (DESIGN, "Identity").
    pub(crate) const NAME_LABEL: &str = "app";

    /// The service's name, where the labels tell it.
    pub(crate) fn name(&self) -> Option<&str> {
        self.labels.get(Self::NAME_LABEL).map(String::as_str)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected NAMESPACE/NAME or NAMESPACE/KEY=VALUE,…, found {text:?}");
        let (namespace, rest) = text.split_once('/').ok_or_else(wrong)?;
        let named = if rest.contains('=') { UNNAMED } else { rest };
        WorkloadId::new(namespace, named).map_err(|_| wrong())?;
        let mut labels = BTreeMap::new();
        if !rest.contains('=') {
            labels.insert(Self::NAME_LABEL.to_owned(), rest.to_owned());
            return Ok(Self { namespace: namespace.to_owned(), labels });
        }
        for pair in rest.split(',') {
            let (key, value) = pair.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(wrong)?;
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("expected each label once, found {key} again"));
            }
        }
        Ok(Self { namespace: namespace.to_owned(), labels })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name().filter(|_| self.labels.len() == 1) {
            Some(name) => write!(f, "{}/{name}", self.namespace),
            None => {
                let pairs: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "{}/{}", self.namespace, pairs.join(","))
            }
        }
    }
}

/// Stands for a workload's name where none is told.
pub(crate) const UNNAMED: &str = "unnamed";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, labels: &[(&str, &str)]) {
        let target: Target = text.parse().unwrap();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(target, Target { namespace: "default".to_owned(), labels });
        assert_eq!(target.to_string(), text);
    }

    #[test]
    fn targets_are_read() {
        check("default/payments", &[("app", "payments")]);
        check("default/app=payments,tier=back", &[("app", "payments"), ("tier", "back")]);
        check("default/app.kubernetes.io/name=web", &[("app.kubernetes.io/name", "web")]);
        check("default/empty=", &[("empty", "")]);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in ["", "payments", "/a", "a/", "a/b/c", "a/=b", "a/k=v,", "a/k=v,l", "a b/c", "a/k=1,k=2"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
