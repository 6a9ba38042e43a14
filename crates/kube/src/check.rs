//! `weft check` against a cluster: what is concluded from what was seen of it.
//!
//! [`conclude`] is a pure function of [`Observed`]; only [`look`] asks the cluster. Categories and their
//! order are Linkerd's. Each line that isn't fine says what to do.

mod connected;
mod control_plane;
mod data_plane;
mod identity;
mod kubernetes;
mod look;
mod network;
mod observed;
mod ports;
mod report;
mod rights;
mod told;
mod webhooks;

pub use look::look;
pub use observed::{Asked, Observed, Reach, Right, Scope, Seen, Unseen};
pub use report::{Category, Check, Finding, Problem, Report};

/// Judges what was seen, in the order of what depends on what; a failure on which the rest depends
/// ends the list.
pub fn conclude(seen: &Observed, asked: &Asked) -> Report {
    let mut report = Report::default();
    // What ended the list is in it.
    let _ended = all(seen, asked, &mut report);
    report
}

/// What is to be said where not even a client of the cluster can be made.
pub fn without_client(problem: Problem) -> Report {
    let mut report = Report::default();
    report.category("kubernetes-api");
    report.check("can initialize the client", Finding::Fails(problem));
    report
}

/// Ends the list: what follows depends on what has failed.
struct Stop;

fn all(seen: &Observed, asked: &Asked, report: &mut Report) -> Result<(), Stop> {
    kubernetes::api(seen, report)?;
    kubernetes::version(seen, report);
    match asked.scope {
        Scope::Pre => kubernetes::before_installation(seen, report),
        Scope::Definitions => control_plane::definitions(seen, report),
        Scope::Installed | Scope::Proxies => installed(seen, asked, report)?,
    }
    if let Some(expected) = &asked.expected_version {
        control_plane::command_line(seen, expected, report);
    }
    Ok(())
}

fn installed(seen: &Observed, asked: &Asked, report: &mut Report) -> Result<(), Stop> {
    control_plane::existence(seen, report)?;
    control_plane::configuration(seen, report);
    identity::authority(seen, report);
    webhooks::certificates(seen, report);
    control_plane::version(seen, asked, report);
    told::problems(seen, report);
    data_plane::mesh(seen, asked, report);
    network::policies(seen, report);
    Ok(())
}

#[cfg(test)]
mod tests;
