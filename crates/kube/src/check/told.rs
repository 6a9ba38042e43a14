//! What the controller says of itself: kinds that it can't follow, policies that it doesn't understand,
//! records that proxies refused.

use super::observed::{Observed, Unseen};
use super::report::{Finding, Problem, Report};
use crate::model::policy::PolicyKind;
use crate::names::CONTROLLER;

/// A line for each problem; none where there was nobody to ask.
pub(super) fn problems(seen: &Observed, report: &mut Report) {
    let told = match &seen.problems {
        // Where no controller runs, other lines say so.
        Err(Unseen::NotAsked) => return,
        told => told,
    };
    report.category("weft-controller");
    let told = match told {
        Ok(told) => told,
        Err(unseen) => {
            let hint = "ask for the right to forward to its pod (create pods/portforward), or use --as USER";
            return report.check(CAN_BE_ASKED, Finding::Warns(Problem::new(unseen.to_string(), hint)));
        }
    };
    report.check(CAN_BE_ASKED, Finding::Fine);
    if told.is_empty() {
        return report.check("control plane knows of no problem", Finding::Fine);
    }
    for problem in told {
        let (what, why) = problem.split_once(": ").unwrap_or(("the mesh", problem));
        let (finding, why): (fn(Problem) -> Finding, &str) =
            match (why.strip_prefix("warning: "), why.strip_prefix("info: ")) {
                (Some(why), _) | (_, Some(why)) => (Finding::Warns, why),
                (None, None) => (Finding::Fails, why),
            };
        report.check(format!("control plane is content with {what}"), finding(Problem::new(why, hint(seen, what))));
    }
}

fn hint(seen: &Observed, what: &str) -> String {
    let is_policy = |kind: &PolicyKind| what.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with(' '));
    if PolicyKind::ALL.iter().any(is_policy) {
        return "mend it; what it denied stays denied meanwhile. weft analyze -A says more".to_owned();
    }
    if what.starts_with("the proxy of ") {
        return "see what it holds: weft proxy-status, and its log: kubectl logs POD -n NAMESPACE -c weft-proxy"
            .to_owned();
    }
    format!("see its log: kubectl -n {} logs deployment/{CONTROLLER}", seen.namespace)
}

const CAN_BE_ASKED: &str = "control plane can be asked";
