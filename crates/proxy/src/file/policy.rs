//! The policies of a records file: Istio's fields and patterns, in the shape of records. A subset:
//! whoever wants all of Istio's runs a control plane.

use weft_mesh::record::{
    Action, Cidr, Enforcement, Matches, MtlsMode, Operation, Origin, PathPattern, PeerAuthentication, Policy, Rule,
    Scoped, Source,
};

use super::field::{Read, list, parse, patterns, wrong};
use super::written;

/// Reads the policies; verdicts name `file`.
pub(super) fn policies(field: &str, written: &[written::Policy], file: &str) -> Read<Vec<Policy>> {
    list(field, written, |field, policy| {
        let name = || wrong(format!("{field}.name"), "NAMESPACE/NAME", format!("{:?}", policy.name));
        let (namespace, name) = policy.name.split_once('/').ok_or_else(name)?;
        let origin = Origin { namespace: namespace.into(), name: name.into(), file: file.into(), line: 0 };
        let mut rules = list(format!("{field}.rules"), &policy.rules, rule)?;
        for (rule, index) in rules.iter_mut().zip(0..) {
            rule.index = index;
        }
        let action = action(&format!("{field}.action"), &policy.action)?;
        Ok(Policy { origin, action, enforcement: Enforcement::Enforced, rules, defect: None })
    })
}

/// Reads the modes of peer authentication; nothing said: PERMISSIVE, as for Istio.
pub(super) fn peer_authentication(
    field: &str,
    written: Option<&written::PeerAuthentication>,
) -> Read<PeerAuthentication> {
    let Some(written) = written else { return Ok(PeerAuthentication::default()) };
    let default = mode(&format!("{field}.mode"), &written.mode)?;
    let ports = written.ports.iter().map(|(port, word)| Ok((*port, mode(&format!("{field}.ports.{port}"), word)?)));
    Ok(PeerAuthentication { default, ports: ports.collect::<Read<_>>()? })
}

fn mode(field: &str, word: &str) -> Read<Scoped> {
    let mode = match word {
        "STRICT" => MtlsMode::Strict,
        "PERMISSIVE" => MtlsMode::Permissive,
        "DISABLE" => MtlsMode::Disable,
        other => return Err(wrong(field, "STRICT, PERMISSIVE or DISABLE", format!("{other:?}"))),
    };
    Ok(Scoped { mode, origin: None })
}

fn action(field: &str, word: &str) -> Read<Action> {
    match word {
        "ALLOW" => Ok(Action::Allow),
        "DENY" => Ok(Action::Deny),
        "AUDIT" => Ok(Action::Audit),
        other => Err(wrong(field, "ALLOW, DENY or AUDIT", format!("{other:?}"))),
    }
}

fn rule(field: &str, rule: &written::Rule) -> Read<Rule> {
    let from = list(format!("{field}.from"), &rule.from, source)?;
    let to = list(format!("{field}.to"), &rule.to, operation)?;
    Ok(Rule { from, to, ..Rule::default() })
}

fn source(field: &str, source: &written::Source) -> Read<Source> {
    // An empty source would restrict nothing: surely not what was meant.
    let found = Source {
        principals: Matches { any: patterns(&source.principals), not: patterns(&source.not_principals) },
        namespaces: Matches { any: patterns(&source.namespaces), not: patterns(&source.not_namespaces) },
        ip_blocks: Matches {
            any: list(format!("{field}.ipBlocks"), &source.ip_blocks, |field, text| block(field, text))?,
            not: list(format!("{field}.notIpBlocks"), &source.not_ip_blocks, |field, text| block(field, text))?,
        },
        ..Source::default()
    };
    if found == Source::default() { Err(wrong(field, "at least one field", "none")) } else { Ok(found) }
}

fn operation(field: &str, operation: &written::Operation) -> Read<Operation> {
    let found = Operation {
        hosts: Matches { any: patterns(&operation.hosts), not: patterns(&operation.not_hosts) },
        ports: Matches { any: operation.ports.clone(), not: operation.not_ports.clone() },
        methods: Matches { any: patterns(&operation.methods), not: patterns(&operation.not_methods) },
        paths: Matches {
            any: list(format!("{field}.paths"), &operation.paths, |field, value| path(field, value))?,
            not: list(format!("{field}.notPaths"), &operation.not_paths, |field, value| path(field, value))?,
        },
    };
    if found == Operation::default() { Err(wrong(field, "at least one field", "none")) } else { Ok(found) }
}

fn path(field: &str, value: &str) -> Read<PathPattern> {
    PathPattern::parse(value).map_err(|error| wrong(field, "a path or a template", error))
}

fn block(field: &str, text: &str) -> Read<Cidr> {
    let expected = "an address or ADDRESS/BITS";
    let no_block = || wrong(field, expected, format!("{text:?}"));
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (parse(field, expected, address)?, parse(field, expected, bits)?),
        None => {
            let address: std::net::IpAddr = parse(field, expected, text)?;
            (address, if address.is_ipv4() { 32 } else { 128 })
        }
    };
    Cidr::new(address, bits).ok_or_else(no_block)
}
