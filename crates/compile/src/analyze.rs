//! Findings about policies that are in force, yet may surprise.

use weft_mesh::record::{Action, Condition, Operation, Policy, Rule};
use weft_resources::Severity;

/// A finding about one rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) index: u32,
    pub(crate) severity: Severity,
    pub(crate) message: String,
}

/// Rules that speak of HTTP without naming ports meet connections that carry none
/// (istio-semantics, B4): an ALLOW then allows nothing, a DENY denies more than it says.
pub(crate) fn http_without_ports(policy: &Policy) -> Vec<Finding> {
    let (severity, message) = match policy.action {
        Action::Allow => {
            (Severity::Info, "it speaks of HTTP without naming ports: connections that carry no HTTP are not allowed")
        }
        Action::Deny => (
            Severity::Warning,
            "expected ports beside fields of HTTP, found none: of connections that carry no HTTP, all that the other fields match are denied",
        ),
        Action::Audit => return Vec::new(),
    };
    let finding = |rule: &Rule| Finding { index: rule.index, severity, message: message.to_owned() };
    policy.rules.iter().filter(|rule| speaks_of_http(rule) && !names_ports(rule)).map(finding).collect()
}

fn speaks_of_http(rule: &Rule) -> bool {
    let operation = |to: &Operation| !(to.hosts.is_empty() && to.methods.is_empty() && to.paths.is_empty());
    let condition = |when: &Condition| matches!(when, Condition::Header(..) | Condition::Auth(..));
    rule.to.iter().any(operation) || rule.when.iter().any(condition)
}

fn names_ports(rule: &Rule) -> bool {
    let by_operation = !rule.to.is_empty() && rule.to.iter().all(|to| !to.ports.any.is_empty());
    let condition = |when: &Condition| matches!(when, Condition::DestinationPort(ports) if !ports.any.is_empty());
    by_operation || rule.when.iter().any(condition)
}
