//! One rule of an `AuthorizationPolicy`, with patterns parsed and trust-domain aliases expanded.
//!
//! What has no meaning here is refused: it restricts nothing in the compiled rule, and the rule gets
//! a defect, so that a DENY denies at least what was meant and an ALLOW leaves the rule out.

use weft_mesh::record as mesh;
use weft_mesh::record::{Matches, Pattern};
use weft_resources as written;

use crate::pattern::has_inner_star;
use crate::trust_domain::{Domains, Expanded};

/// A compiled rule and what is to be said about it.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rule: mesh::Rule,
    /// What was refused, each `expected …, found …`.
    pub(crate) refusals: Vec<String>,
    /// What is in force but perhaps not meant so.
    pub(crate) warnings: Vec<String>,
}

/// Compiles a rule. `index` is its place in `rules`, from 0.
pub(crate) fn compile(rule: &written::Rule, index: u32, domains: &Domains) -> Compiled {
    let mut compiler = Compiler { domains, refusals: Vec::new(), warnings: Vec::new() };
    let rule = mesh::Rule {
        index,
        line: rule.line,
        from: rule.from.iter().map(|source| compiler.source(source)).collect(),
        to: rule.to.iter().map(operation).collect(),
        when: rule.when.iter().filter_map(|condition| compiler.condition(condition)).collect(),
    };
    Compiled { rule, refusals: compiler.refusals, warnings: compiler.warnings }
}

struct Compiler<'d> {
    domains: &'d Domains,
    refusals: Vec<String>,
    warnings: Vec<String>,
}

impl Compiler<'_> {
    fn source(&mut self, source: &written::Source) -> mesh::Source {
        if !source.request_principals.is_empty() {
            self.refuse("requestPrincipals (tokens are not supported yet)");
        }
        mesh::Source {
            principals: self.principals(&source.principals),
            namespaces: self.namespaces(&source.namespaces),
            service_accounts: source.service_accounts.clone(),
            trust_domains: self.trust_domains(&source.trust_domains),
            ip_blocks: source.ip_blocks.clone(),
            remote_ip_blocks: source.remote_ip_blocks.clone(),
            request_principals: Matches::default(),
        }
    }

    fn condition(&mut self, condition: &written::Condition) -> Option<mesh::Condition> {
        use written::Condition as Written;
        Some(match condition {
            Written::Header(name, values) => mesh::Condition::Header(name.clone(), patterns(values)),
            Written::SourceIp(values) => mesh::Condition::SourceIp(values.clone()),
            Written::RemoteIp(values) => mesh::Condition::RemoteIp(values.clone()),
            Written::SourceNamespace(values) => mesh::Condition::SourceNamespace(self.namespaces(values)),
            Written::SourceServiceAccount(values) => mesh::Condition::SourceServiceAccount(values.clone()),
            Written::SourceTrustDomain(values) => mesh::Condition::SourceTrustDomain(self.trust_domains(values)),
            Written::SourcePrincipal(values) => mesh::Condition::SourcePrincipal(self.principals(values)),
            Written::DestinationIp(values) => mesh::Condition::DestinationIp(values.clone()),
            Written::DestinationPort(values) => mesh::Condition::DestinationPort(values.clone()),
            Written::Sni(values) => mesh::Condition::Sni(patterns(values)),
            Written::RequestAuth(key, _) => {
                self.refuse(&format!("{key} (tokens are not supported yet)"));
                return None;
            }
            Written::EnvoyFilter(key, _) => {
                self.refuse(&format!("{key} (it speaks of Envoy's own filters)"));
                return None;
            }
        })
    }

    fn refuse(&mut self, what: &str) {
        self.refusals.push(format!("expected what Weft can tell of a call, found {what}"));
    }

    fn principals(&mut self, values: &Matches<String>) -> Matches<Pattern> {
        let domains = self.domains;
        self.expanded(values, |value| domains.principal(value))
    }

    fn trust_domains(&mut self, values: &Matches<String>) -> Matches<Pattern> {
        let domains = self.domains;
        self.expanded(values, |value| domains.domain(value))
    }

    fn expanded(&mut self, values: &Matches<String>, expand: impl Fn(&str) -> Expanded) -> Matches<Pattern> {
        let mut list = |values: &[String]| -> Vec<Pattern> {
            let mut patterns: Vec<Pattern> = Vec::new();
            for value in values {
                let expanded = expand(value);
                self.warnings.extend(expanded.foreign.map(|domain| {
                    format!(
                        "expected the mesh's trust domain, an alias or cluster.local, found {domain}: taken as it is"
                    )
                }));
                for found in expanded.values.iter().map(|value| Pattern::parse(value)) {
                    if !patterns.contains(&found) {
                        patterns.push(found);
                    }
                }
            }
            patterns
        };
        Matches { any: list(&values.any), not: list(&values.not) }
    }

    /// Istio's proxies differ about a `*` inside of a namespace: whoever can't honour it must not
    /// take it for a name that nobody has.
    fn namespaces(&mut self, values: &Matches<String>) -> Matches<Pattern> {
        let mut list = |values: &[String]| match values.iter().find(|value| has_inner_star(value)) {
            Some(value) => {
                self.refuse(&format!("{value:?} as namespace ('*' is understood at one end only)"));
                Vec::new()
            }
            None => values.iter().map(|value| Pattern::parse(value)).collect(),
        };
        Matches { any: list(&values.any), not: list(&values.not) }
    }
}

fn operation(operation: &written::Operation) -> mesh::Operation {
    mesh::Operation {
        hosts: patterns(&operation.hosts),
        ports: operation.ports.clone(),
        methods: patterns(&operation.methods),
        paths: operation.paths.clone(),
    }
}

fn patterns(values: &Matches<String>) -> Matches<Pattern> {
    let list = |values: &[String]| values.iter().map(|value| Pattern::parse(value)).collect();
    Matches { any: list(&values.any), not: list(&values.not) }
}
