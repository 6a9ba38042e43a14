//! What this machine allows: the kernel, by trying it, and names.

use nix::sys::resource::{Resource, getrlimit};
use weft_capture::{Finding, Outcome, ResolvConf};

use super::Check;

/// One line for each ability.
pub(super) fn kernel(findings: &Result<Vec<Finding>, String>) -> Vec<Check> {
    match findings {
        Ok(findings) => {
            let (not_tried, tried): (Vec<&Finding>, Vec<&Finding>) =
                findings.iter().partition(|finding| finding.outcome == Outcome::NotTried);
            tried.into_iter().filter_map(ability).chain(rest(not_tried.len())).collect()
        }
        Err(error) => vec![Check::fail("kernel", error, "weft run will not work here")],
    }
}

fn rest(count: usize) -> Option<Check> {
    let what = format!("{count} more abilities were not tried");
    (count > 0).then(|| Check::warn("kernel", what, "they need what failed above"))
}

/// `None`: it wasn't tried.
fn ability(finding: &Finding) -> Option<Check> {
    let name = format!("kernel: {}", finding.ability);
    let failure = match &finding.outcome {
        Outcome::Works => return Some(Check::ok(name, "works")),
        Outcome::NotTried => return None,
        Outcome::Missing(failure) => failure,
    };
    let hint = failure.hint();
    Some(match finding.otherwise {
        Some(otherwise) => Check::warn(name, failure.to_string(), hint.unwrap_or_else(|| otherwise.to_owned())),
        None => Check::fail(name, failure.to_string(), hint.unwrap_or_else(|| "weft run needs it".to_owned())),
    })
}

/// Whether there are enough open files; each connection of a proxy takes two or three.
pub(super) fn open_files() -> Check {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((now, _)) => enough_open_files(now),
        Err(errno) => Check::warn(OPEN_FILES, format!("the limit can't be read: {errno}"), RAISE_OPEN_FILES),
    }
}

fn enough_open_files(limit: u64) -> Check {
    let detail = format!("a process may have {limit}");
    if limit < FEW_OPEN_FILES {
        Check::warn(OPEN_FILES, detail, RAISE_OPEN_FILES)
    } else {
        Check::ok(OPEN_FILES, detail)
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

const OPEN_FILES: &str = "open files";
const FEW_OPEN_FILES: u64 = 512;
const RAISE_OPEN_FILES: &str =
    "a proxy carries few connections with so few: `ulimit -n 4096`, or LimitNOFILE of a systemd unit";
const ONLY_MESH: &str = "programs will resolve names of the mesh only; add a line: nameserver ADDRESS";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::Status;

    #[test]
    fn an_ability_that_has_a_substitute_only_warns() {
        let finding = |outcome| Finding { ability: "flight", otherwise: None, outcome };
        assert_eq!(ability(&finding(Outcome::Works)), Some(Check::ok("kernel: flight", "works")));
        let found = kernel(&Ok([Outcome::Works, Outcome::NotTried, Outcome::NotTried].map(finding).to_vec()));
        assert_eq!(found.iter().map(|check| check.status).collect::<Vec<_>>(), [Status::Ok, Status::Warn]);
        assert!(found[1].detail.starts_with("2 more"));
        assert_eq!(kernel(&Err("no fork".to_owned()))[0].status, Status::Fail);
    }

    #[test]
    fn few_open_files_are_told_of() {
        assert_eq!(enough_open_files(64).status, Status::Warn);
        assert_eq!(enough_open_files(1024).status, Status::Ok);
    }
}
