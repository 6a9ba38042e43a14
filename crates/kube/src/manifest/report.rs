//! What was done to a manifest's resources, in the lines that Linkerd's users know.

use std::fmt;

/// One resource's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The kind in lower case; empty where there is none.
    pub kind: String,
    /// The name.
    pub name: String,
    /// What was done.
    pub outcome: Outcome,
    /// What is worth knowing.
    pub warnings: Vec<Warning>,
    /// What is written but has no effect, each with its reason.
    pub remarks: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its pods ask for a proxy.
    Injected,
    /// It got annotations, and has no pods of its own.
    Annotated,
    /// Its pods ask for none any more.
    Uninjected,
    /// Nothing.
    Skipped,
}

/// Something worth knowing about a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// Its pods are in their node's network.
    HostNetwork,
    /// Another mesh's sidecar is in its pods.
    Sidecar,
    /// It says that it wants no proxy.
    Disabled,
    /// It says so in other words, or what can't be followed.
    KeptOut,
    /// It has a port of UDP, which stays outside the mesh.
    Udp,
    /// Its probes still lead to a proxy that was taken out.
    Probes,
}

impl Report {
    /// `kind/name`, as far as there is a name.
    pub fn what(&self) -> String {
        match self.name.as_str() {
            "" => self.kind.clone(),
            name => format!("{}/{name}", self.kind),
        }
    }

    /// The lines of reports: warnings, an empty line, and what was done to each resource.
    pub fn lines(reports: &[Self]) -> Vec<String> {
        let with = |warning| {
            let found = reports.iter().filter(|report| report.warnings.contains(&warning)).map(Self::what);
            found.collect::<Vec<_>>().join(", ")
        };
        let mut lines = vec![String::new()];
        for (warning, line) in WARNINGS {
            let found = with(warning);
            if !found.is_empty() {
                lines.push(format!("‼ {}", line.replace("{}", &found)));
            }
        }
        for report in reports {
            lines.extend(report.remarks.iter().map(|remark| format!("‼ {}: {remark}", report.what())));
        }
        if reports.iter().all(|report| report.outcome == Outcome::Skipped) {
            lines.push("‼ no supported objects found".to_owned());
        }
        if lines.len() > 1 {
            lines.push(String::new());
        }
        lines.extend(reports.iter().map(Self::to_string));
        lines.push(String::new());
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.outcome {
            Outcome::Injected => "injected",
            Outcome::Annotated => "annotated",
            Outcome::Uninjected => "uninjected",
            Outcome::Skipped => "skipped",
        };
        match self.kind.as_str() {
            "" => write!(f, "document missing \"kind\" field, {done}"),
            kind => write!(f, "{kind} {:?} {done}", self.name),
        }
    }
}

const WARNINGS: [(Warning, &str); 6] = [
    (Warning::HostNetwork, "\"hostNetwork: true\" detected in {}"),
    (Warning::Sidecar, "known 3rd party sidecar detected in {}"),
    (Warning::Disabled, "\"linkerd.io/inject: disabled\" annotation set on {}"),
    (Warning::KeptOut, "a mark beside linkerd.io/inject keeps {} out"),
    (Warning::Udp, "{} uses \"protocol: UDP\""),
    (Warning::Probes, "probes in {} lead to the proxy that is gone: write them anew"),
];
