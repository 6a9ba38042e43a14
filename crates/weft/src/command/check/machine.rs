//! What this machine allows: the kernel, by trying it, and names.

use weft_capture::{Finding, Outcome, ResolvConf};

use super::Check;

/// One line for each ability.
pub(super) fn kernel(findings: &Result<Vec<Finding>, String>) -> Vec<Check> {
    match findings {
        Ok(findings) => findings.iter().map(ability).collect(),
        Err(error) => vec![Check::fail("kernel", error, "weft run will not work here")],
    }
}

fn ability(finding: &Finding) -> Check {
    let name = format!("kernel: {}", finding.ability);
    let failure = match &finding.outcome {
        Outcome::Works => return Check::ok(name, "works"),
        Outcome::NotTried => return Check::warn(name, "not tried", "it needs what failed above"),
        Outcome::Missing(failure) => failure,
    };
    let hint = failure.hint();
    match finding.otherwise {
        Some(otherwise) => Check::warn(name, failure.to_string(), hint.unwrap_or_else(|| otherwise.to_owned())),
        None => Check::fail(name, failure.to_string(), hint.unwrap_or_else(|| "weft run needs it".to_owned())),
    }
}

/// Who resolves the names that aren't the mesh's.
pub(super) fn names() -> Check {
    let text = match std::fs::read_to_string("/etc/resolv.conf") {
        Ok(text) => text,
        Err(error) => return Check::warn("names", format!("/etc/resolv.conf: {error}"), ONLY_MESH),
    };
    let servers = ResolvConf::parse(&text).nameservers;
    if servers.is_empty() {
        return Check::warn("names", "/etc/resolv.conf names no name server", ONLY_MESH);
    }
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    Check::ok("names", format!("the mesh's by the proxies, others by {}", servers.join(", ")))
}

const ONLY_MESH: &str = "programs will resolve names of the mesh only; add a line: nameserver ADDRESS";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::Status;

    #[test]
    fn an_ability_that_has_a_substitute_only_warns() {
        let finding = |otherwise| Finding { ability: "flight", otherwise, outcome: Outcome::NotTried };
        assert_eq!(ability(&finding(None)).status, Status::Warn);
        let works = Finding { outcome: Outcome::Works, ..finding(None) };
        assert_eq!(ability(&works), Check::ok("kernel: flight", "works"));
        assert_eq!(kernel(&Err("no fork".to_owned()))[0].status, Status::Fail);
    }
}
