//! The codec of authorization policies.

use weft_mesh::record::{Action, Condition, Defect, Enforcement, Operation, Origin, Policy, Rule, Source};

use super::RecordError;
use super::field::{Read, choice, list, required, text};
use super::matches::{
    read_accounts, read_blocks, read_claims, read_paths, read_patterns, read_ports, write_accounts, write_blocks,
    write_claims, write_paths, write_patterns, write_ports,
};
use crate::proto::weft::v1 as proto;
use crate::proto::weft::v1::condition::Attribute;

/// A policy's message.
pub(super) fn write_policy(policy: &Policy) -> proto::Policy {
    let action = match policy.action {
        Action::Allow => proto::Action::Allow,
        Action::Deny => proto::Action::Deny,
        Action::Audit => proto::Action::Audit,
    };
    proto::Policy {
        origin: Some(write_origin(&policy.origin)),
        action: action.into(),
        dry_run: policy.enforcement == Enforcement::DryRun,
        rules: policy.rules.iter().map(write_rule).collect(),
        defect: policy.defect.as_ref().map(|defect| defect.0.clone()).unwrap_or_default(),
    }
}

/// The policy of a message.
pub(super) fn read_policy(message: proto::Policy) -> Read<Policy> {
    let action = choice("action", message.action, |action| match action {
        proto::Action::Unspecified => None,
        proto::Action::Allow => Some(Action::Allow),
        proto::Action::Deny => Some(Action::Deny),
        proto::Action::Audit => Some(Action::Audit),
    })?;
    Ok(Policy {
        origin: read_origin(required("origin", message.origin)?),
        action,
        enforcement: if message.dry_run { Enforcement::DryRun } else { Enforcement::Enforced },
        rules: list("rules", message.rules, read_rule)?,
        defect: Some(message.defect).filter(|defect| !defect.is_empty()).map(Defect),
    })
}

fn write_rule(rule: &Rule) -> proto::Rule {
    proto::Rule {
        index: rule.index,
        line: rule.line,
        from: rule.from.iter().map(write_source).collect(),
        to: rule.to.iter().map(write_operation).collect(),
        when: rule.when.iter().map(write_condition).collect(),
    }
}

fn read_rule(message: proto::Rule) -> Read<Rule> {
    Ok(Rule {
        index: message.index,
        line: message.line,
        from: list("from", message.from, read_source)?,
        to: list("to", message.to, read_operation)?,
        when: list("when", message.when, read_condition)?,
    })
}

fn write_source(source: &Source) -> proto::Source {
    let Source {
        principals,
        namespaces,
        service_accounts,
        trust_domains,
        ip_blocks,
        remote_ip_blocks,
        request_principals,
    } = source;
    proto::Source {
        principals: write_patterns(principals),
        namespaces: write_patterns(namespaces),
        service_accounts: write_accounts(service_accounts),
        trust_domains: write_patterns(trust_domains),
        ip_blocks: write_blocks(ip_blocks),
        remote_ip_blocks: write_blocks(remote_ip_blocks),
        request_principals: write_claims(request_principals),
    }
}

fn read_source(message: proto::Source) -> Read<Source> {
    Ok(Source {
        principals: read_patterns("principals", message.principals)?,
        namespaces: read_patterns("namespaces", message.namespaces)?,
        service_accounts: read_accounts("service_accounts", message.service_accounts)?,
        trust_domains: read_patterns("trust_domains", message.trust_domains)?,
        ip_blocks: read_blocks("ip_blocks", message.ip_blocks)?,
        remote_ip_blocks: read_blocks("remote_ip_blocks", message.remote_ip_blocks)?,
        request_principals: read_claims("request_principals", message.request_principals)?,
    })
}

fn write_operation(operation: &Operation) -> proto::Operation {
    let Operation { hosts, ports, methods, paths } = operation;
    proto::Operation {
        hosts: write_patterns(hosts),
        ports: write_ports(ports),
        methods: write_patterns(methods),
        paths: write_paths(paths),
    }
}

fn read_operation(message: proto::Operation) -> Read<Operation> {
    Ok(Operation {
        hosts: read_patterns("hosts", message.hosts)?,
        ports: read_ports("ports", message.ports)?,
        methods: read_patterns("methods", message.methods)?,
        paths: read_paths("paths", message.paths)?,
    })
}

fn write_condition(condition: &Condition) -> proto::Condition {
    let attribute = match condition {
        Condition::Header(name, values) => {
            Attribute::Header(proto::Header { name: name.clone(), values: write_patterns(values) })
        }
        Condition::SourceIp(values) => Attribute::SourceIp(write_blocks(values).unwrap_or_default()),
        Condition::RemoteIp(values) => Attribute::RemoteIp(write_blocks(values).unwrap_or_default()),
        Condition::SourceNamespace(values) => Attribute::SourceNamespace(write_patterns(values).unwrap_or_default()),
        Condition::SourceServiceAccount(values) => {
            Attribute::SourceServiceAccount(write_accounts(values).unwrap_or_default())
        }
        Condition::SourceTrustDomain(values) => {
            Attribute::SourceTrustDomain(write_patterns(values).unwrap_or_default())
        }
        Condition::SourcePrincipal(values) => Attribute::SourcePrincipal(write_patterns(values).unwrap_or_default()),
        Condition::DestinationIp(values) => Attribute::DestinationIp(write_blocks(values).unwrap_or_default()),
        Condition::DestinationPort(values) => Attribute::DestinationPort(write_ports(values).unwrap_or_default()),
        Condition::Sni(values) => Attribute::Sni(write_patterns(values).unwrap_or_default()),
        Condition::Auth(claim, values) => {
            Attribute::Auth(proto::Auth { claim: claim.clone(), values: write_patterns(values) })
        }
    };
    proto::Condition { attribute: Some(attribute) }
}

fn read_condition(message: proto::Condition) -> Read<Condition> {
    let none = || RecordError::field("", "an attribute that is known here", "none");
    Ok(match message.attribute.ok_or_else(none)? {
        Attribute::Header(header) => {
            let name = read_header_name(header.name)?;
            Condition::Header(name, read_patterns("header.values", header.values)?)
        }
        Attribute::SourceIp(values) => Condition::SourceIp(read_blocks("source_ip", Some(values))?),
        Attribute::RemoteIp(values) => Condition::RemoteIp(read_blocks("remote_ip", Some(values))?),
        Attribute::SourceNamespace(values) => {
            Condition::SourceNamespace(read_patterns("source_namespace", Some(values))?)
        }
        Attribute::SourceServiceAccount(values) => {
            Condition::SourceServiceAccount(read_accounts("source_service_account", Some(values))?)
        }
        Attribute::SourceTrustDomain(values) => {
            Condition::SourceTrustDomain(read_patterns("source_trust_domain", Some(values))?)
        }
        Attribute::SourcePrincipal(values) => {
            Condition::SourcePrincipal(read_patterns("source_principal", Some(values))?)
        }
        Attribute::DestinationIp(values) => Condition::DestinationIp(read_blocks("destination_ip", Some(values))?),
        Attribute::DestinationPort(values) => Condition::DestinationPort(read_ports("destination_port", Some(values))?),
        Attribute::Sni(values) => Condition::Sni(read_patterns("sni", Some(values))?),
        Attribute::Auth(auth) => {
            if auth.claim.is_empty() {
                return Err(RecordError::field("auth.claim", "the claim's path", "nothing"));
            }
            Condition::Auth(auth.claim, read_patterns("auth.values", auth.values)?)
        }
    })
}

/// Names are compared in lower case: another one would never match, and so might open a DENY.
fn read_header_name(name: String) -> Read<String> {
    let name = text("header.name", name)?;
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Err(RecordError::field("header.name", "a name in lower case", format!("{name:?}"))),
        false => Ok(name),
    }
}

/// An origin's message.
pub(super) fn write_origin(origin: &Origin) -> proto::Origin {
    proto::Origin {
        namespace: origin.namespace.clone(),
        name: origin.name.clone(),
        file: origin.file.clone(),
        line: origin.line,
    }
}

/// An origin; any text may stand in it, for it decides nothing.
pub(super) fn read_origin(message: proto::Origin) -> Origin {
    Origin { namespace: message.namespace, name: message.name, file: message.file, line: message.line }
}
