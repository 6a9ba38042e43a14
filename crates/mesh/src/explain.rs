//! A verdict in words, for people and machines.
//!
//! Knows verdicts and records; not how they are printed. What a denied caller is told is another
//! matter: far less than stands here.

use std::fmt::Write;

use crate::decide::{Caller, Decision, Layer, Match, Reason, Verdict};
use crate::record::{Action, Inbound, Origin, Policy};

/// A verdict told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the call may enter.
    pub verdict: Decision,
    /// The rule that decided; `None` when it was none, but peer authentication or the lack of a
    /// match.
    pub rule: Option<RulePlace>,
    /// One sentence in plain English, without a full stop.
    pub reason: String,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePlace {
    /// `NAMESPACE/NAME` of its policy.
    pub policy: String,
    /// Its place in the policy's `rules`, from 0.
    pub index: u32,
    /// The file, relative to the folder that was given; empty when it came from an API server.
    pub file: String,
    /// The rule's line, or its policy's; 0 when unknown.
    pub line: u32,
}

/// Tells a verdict that [`crate::decide::decide`] or [`crate::decide::rehearse`] gave on this very
/// record.
pub fn explain(inbound: &Inbound, verdict: &Verdict<'_>) -> Explanation {
    let mut reason = match verdict.reason {
        Reason::PeerAuthentication(origin) => {
            let who = origin.map_or("the default".to_owned(), |o| placed(o, o.line));
            format!("denied: PeerAuthentication is STRICT ({who}) and the caller proved no identity by mTLS")
        }
        Reason::DeniedBy(found) => format!("denied: {}", matched("DENY", found)),
        Reason::Defect(found, defect) => {
            let policy = placed(&found.policy.origin, line_of(found));
            format!("denied: policy {policy} can't be understood and denies what it might have denied: {}", defect.0)
        }
        Reason::NoAllowMatched => format!("denied: {}", no_match(inbound, verdict, Action::Allow)),
        Reason::AllowedBy(found) => format!("allowed: {}", matched("ALLOW", found)),
        Reason::NoAllowPolicy => format!("allowed: {}", no_allow_policy(inbound, verdict)),
    };
    tell_of_layer(inbound, verdict, &mut reason);
    tell_of_caller(verdict, &mut reason);
    Explanation { verdict: verdict.decision, rule: rule_of(&verdict.reason), reason }
}

/// Where the rule that matches stands.
pub fn place(found: Match<'_>) -> RulePlace {
    let origin = &found.policy.origin;
    let (policy, file) = (full_name(origin), origin.file.clone());
    RulePlace { policy, index: found.rule.index, file, line: line_of(found) }
}

fn rule_of(reason: &Reason<'_>) -> Option<RulePlace> {
    match reason {
        Reason::DeniedBy(found) | Reason::AllowedBy(found) | Reason::Defect(found, _) => Some(place(*found)),
        Reason::PeerAuthentication(_) | Reason::NoAllowMatched | Reason::NoAllowPolicy => None,
    }
}

/// `ALLOW rule 0 matches (default/payments at policy.yaml:14)`.
fn matched(action: &str, found: Match<'_>) -> String {
    format!("{action} rule {} matches ({})", found.rule.index, placed(&found.policy.origin, line_of(found)))
}

/// `no ALLOW rule of 2 policies matches (default/a at a.yaml:1, default/b at b.yaml:1)`, and which
/// of these policies are defective.
fn no_match(inbound: &Inbound, verdict: &Verdict<'_>, action: Action) -> String {
    let policies: Vec<&Policy> = counted(inbound, verdict, action).collect();
    let word = if action == Action::Allow { "ALLOW" } else { "DENY" };
    let noun = if policies.len() == 1 { "policy" } else { "policies" };
    let mut places: Vec<String> = policies.iter().take(NAMED).map(|p| placed(&p.origin, p.origin.line)).collect();
    if policies.len() > NAMED {
        places.push(format!("{} more", policies.len() - NAMED));
    }
    let mut text = format!("no {word} rule of {} {noun} matches ({})", policies.len(), places.join(", "));
    for (policy, defect) in policies.iter().filter_map(|p| Some((p, p.defect.as_ref()?))).take(NAMED) {
        // Writing to a String can't fail.
        let _ = write!(text, "; {} can't be understood: {}", full_name(&policy.origin), defect.0);
    }
    text
}

fn no_allow_policy(inbound: &Inbound, verdict: &Verdict<'_>) -> String {
    if counted(inbound, verdict, Action::Deny).next().is_none() {
        return format!("no policy selects the workload {}", inbound.workload);
    }
    format!("{}, and no ALLOW policy selects the workload", no_match(inbound, verdict, Action::Deny))
}

/// HTTP fields on a TCP connection close more than their author may expect: say so.
fn tell_of_layer(inbound: &Inbound, verdict: &Verdict<'_>, reason: &mut String) {
    let allow_by_http = || counted(inbound, verdict, Action::Allow).any(|p| p.rules.iter().any(|r| r.uses_http()));
    let note = match verdict.reason {
        _ if verdict.layer == Layer::Http => return,
        Reason::DeniedBy(found) if found.rule.uses_http() => {
            "; this is TCP, where its HTTP fields can't be seen and count as matching"
        }
        Reason::NoAllowMatched if allow_by_http() => "; this is TCP, where ALLOW rules with HTTP fields admit nothing",
        _ => return,
    };
    reason.push_str(note);
}

fn tell_of_caller(verdict: &Verdict<'_>, reason: &mut String) {
    match (verdict.caller, verdict.reason) {
        (Caller::Plaintext, Reason::NoAllowMatched | Reason::DeniedBy(_)) => {
            reason.push_str("; the caller is plaintext and has no identity");
        }
        (Caller::Disregarded(setting), _) => {
            let who = setting.origin.as_ref().map_or("the default".to_owned(), |o| placed(o, o.line));
            // Writing to a String can't fail.
            let _ = write!(reason, "; PeerAuthentication is DISABLE ({who}), so callers come without identity");
        }
        _ => {}
    }
}

fn counted<'r>(inbound: &'r Inbound, verdict: &Verdict<'_>, action: Action) -> impl Iterator<Item = &'r Policy> {
    let counted = verdict.counted;
    inbound.policies.iter().filter(move |p| p.action == action && counted.includes(p))
}

fn line_of(found: Match<'_>) -> u32 {
    if found.rule.line > 0 { found.rule.line } else { found.policy.origin.line }
}

/// `NAMESPACE/NAME at FILE:LINE`, as much of it as is known.
fn placed(origin: &Origin, line: u32) -> String {
    let name = full_name(origin);
    match (origin.file.as_str(), line) {
        ("", _) => name,
        (file, 0) => format!("{name} at {file}"),
        (file, line) => format!("{name} at {file}:{line}"),
    }
}

fn full_name(origin: &Origin) -> String {
    format!("{}/{}", origin.namespace, origin.name)
}

/// How many policies are named in a sentence; more would hide its point.
const NAMED: usize = 3;

#[cfg(test)]
mod tests;
