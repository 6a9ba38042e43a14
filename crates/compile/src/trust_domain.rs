//! Trust-domain aliases: a principal of the mesh's own domain, by any of its names, stands for all
//! of them (istio-semantics, B5).

use crate::settings::Settings;

/// Every name of the mesh's own trust domain.
#[derive(Debug)]
pub(crate) struct Domains {
    /// The domain itself, then its aliases; each once.
    names: Vec<String>,
}

/// What a value stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    /// In place of the value.
    pub(crate) values: Vec<String>,
    /// The value's trust domain, when it is none of ours: then the value stays as it is.
    pub(crate) foreign: Option<String>,
}

impl Domains {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut names: Vec<String> = Vec::new();
        for domain in std::iter::once(&settings.trust_domain).chain(&settings.aliases) {
            if !names.iter().any(|name| name == domain.as_str()) {
                names.push(domain.as_str().to_owned());
            }
        }
        Self { names }
    }

    /// Expands a principal pattern. One that isn't of five segments, or whose domain is `*`, says
    /// nothing about the trust domain and stays as it is.
    pub(crate) fn principal(&self, principal: &str) -> Expanded {
        match principal.split_once('/') {
            Some((domain, rest)) if domain != "*" && rest.split('/').count() == 4 => {
                self.expand(principal, domain, |name| format!("{name}/{rest}"))
            }
            _ => Expanded { values: vec![principal.to_owned()], foreign: None },
        }
    }

    /// Expands a trust-domain pattern.
    pub(crate) fn domain(&self, domain: &str) -> Expanded {
        match domain {
            "*" => Expanded { values: vec![domain.to_owned()], foreign: None },
            _ => self.expand(domain, domain, str::to_owned),
        }
    }

    fn expand(&self, value: &str, domain: &str, with: impl Fn(&str) -> String) -> Expanded {
        if domain != CLUSTER_LOCAL && !self.names.iter().any(|name| matches(name, domain)) {
            return Expanded { values: vec![value.to_owned()], foreign: Some(domain.to_owned()) };
        }
        let mut values = Vec::new();
        for name in &self.names {
            // A wildcard stands for each name that it matches by itself.
            let wild = domain.starts_with('*') && matches(name, domain);
            let value = if wild { value.to_owned() } else { with(name) };
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Expanded { values, foreign: None }
    }
}

/// Whether a pattern of a trust domain, with `*` at one end, matches a name.
fn matches(name: &str, pattern: &str) -> bool {
    if let Some(suffix) = pattern.strip_prefix('*') {
        name.ends_with(suffix)
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        name.starts_with(prefix)
    } else {
        name == pattern
    }
}

/// Always a name of the mesh's own trust domain.
const CLUSTER_LOCAL: &str = "cluster.local";

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(names: &[&str]) -> Domains {
        let mut names = names.iter().map(|name| name.parse().unwrap());
        let trust_domain = names.next().unwrap();
        Domains::new(&Settings { trust_domain, aliases: names.collect(), ..Settings::default() })
    }

    #[test]
    fn principals_are_expanded() {
        let ns = "/ns/foo/sa/bar";
        let cases: &[(&[&str], &str, &[&str], bool)] = &[
            (&["td1"], "td1/ns/foo/sa/bar", &["td1"], false),
            (&["td2", "td1"], "td1/ns/foo/sa/bar", &["td2", "td1"], false),
            (&["td2", "td1"], "td2/ns/foo/sa/bar", &["td2", "td1"], false),
            (&["td2", "td1", "td2"], "cluster.local/ns/foo/sa/bar", &["td2", "td1"], false),
            (&["td1"], "cluster.local/ns/foo/sa/bar", &["td1"], false),
            (&["td1"], "other/ns/foo/sa/bar", &["other"], true),
            (&["td1", "td2"], "*/ns/foo/sa/bar", &["*"], false),
            (&["old-td", "new-td"], "*-td/ns/foo/sa/bar", &["*-td"], false),
            (&["old-td", "local"], "*-td/ns/foo/sa/bar", &["*-td", "local"], false),
            (&["td1", "td2"], "t*/ns/foo/sa/bar", &["td1", "td2"], false),
        ];
        for (names, principal, expected, foreign) in cases {
            let found = domains(names).principal(principal);
            let expected: Vec<String> = expected.iter().map(|domain| format!("{domain}{ns}")).collect();
            assert_eq!((found.values, found.foreign.is_some()), (expected, *foreign), "{names:?} {principal}");
        }
    }

    #[test]
    fn malformed_principals_stay() {
        for principal in
            ["*", "td1/ns/foo", "td1/ns/foo/sa/bar/x", "sa/bar/ns/foo", "td1/ns/foo/*", "td1", "*/sa/x", ""]
        {
            let expected = Expanded { values: vec![principal.to_owned()], foreign: None };
            assert_eq!(domains(&["td1", "td2"]).principal(principal), expected, "{principal}");
        }
    }

    #[test]
    fn trust_domains_are_expanded() {
        let found = |domain| domains(&["td1", "td2"]).domain(domain);
        assert_eq!(found("td2").values, ["td1", "td2"]);
        assert_eq!(found("cluster.local").values, ["td1", "td2"]);
        assert_eq!(found("*").values, ["*"]);
        assert_eq!(found("*2").values, ["td1", "*2"]);
        assert_eq!(found("x"), Expanded { values: vec!["x".into()], foreign: Some("x".into()) });
    }
}
