//! An `AuthorizationPolicy`, compiled: its reach, and a policy that denies at least what was meant.

use weft_mesh::record::{Action, Defect, Enforcement, Policy, Rule};
use weft_resources::{AuthorizationPolicy, Problem, ResourceRef, Severity};

use crate::analyze::http_without_ports;
use crate::reach::{Reach, origin, reference};
use crate::rule::compile;
use crate::trust_domain::Domains;

/// A policy and the workloads that it governs.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    pub(crate) reach: Reach,
    pub(crate) policy: Policy,
}

/// Compiles a policy; `None` when it governs no workload or says nothing.
///
/// `duplicate` says that the same resource stands elsewhere already: this one is broken.
pub(crate) fn compile_policy(
    written: &AuthorizationPolicy,
    duplicate: Option<String>,
    (domains, root_namespace): (&Domains, &str),
    problems: &mut Vec<Problem>,
) -> Option<Selected> {
    let reference = reference("AuthorizationPolicy", &written.meta);
    let mut notes = Notes { written, reference, problems };
    let defect = written.defect.clone().or(duplicate);
    if !written.target_refs.is_empty() && defect.is_none() {
        let message = "it has targetRefs, so it governs gateways and waypoints and no workload: without effect";
        notes.tell(Severity::Info, None, message.to_owned());
        return None;
    }
    // A root-namespace policy reaches every namespace, whatever its selector (B1.1).
    let namespace = written.meta.namespace.as_deref().filter(|namespace| *namespace != root_namespace);
    let reach = Reach::new(namespace, written.selector.as_ref());
    let rules = rules(written, domains, &mut notes);
    let policy = policy(written, rules, defect, &mut notes)?;
    if policy.defect.is_some() {
        let message = consequence(&policy, &reach);
        notes.tell(Severity::Warning, None, message);
    } else {
        http_without_ports(&policy).into_iter().for_each(|finding| {
            notes.tell(finding.severity, Some(finding.index), finding.message);
        });
    }
    Some(Selected { reach, policy })
}

/// A rule, and its defect.
type Judged = (Rule, Option<String>);

fn rules(written: &AuthorizationPolicy, domains: &Domains, notes: &mut Notes<'_>) -> Vec<Judged> {
    let mut rules = Vec::new();
    for (rule, index) in written.rules.iter().zip(0..) {
        let compiled = compile(rule, index, domains);
        let mut defect = rule.defect.clone();
        for refusal in compiled.refusals {
            let told = notes.tell(Severity::Error, Some(index), refusal);
            defect = defect.or(Some(told));
        }
        for warning in compiled.warnings {
            notes.tell(Severity::Warning, Some(index), warning);
        }
        rules.push((compiled.rule, defect));
    }
    rules
}

/// What the written action comes to. `defect` is one of the whole policy.
fn policy(
    written: &AuthorizationPolicy,
    rules: Vec<Judged>,
    defect: Option<String>,
    notes: &mut Notes<'_>,
) -> Option<Policy> {
    use weft_resources::PolicyAction as Written;
    let rule_defect = rules.iter().find_map(|(_, defect)| defect.clone());
    let understood = |rules: Vec<Judged>| -> Vec<Rule> {
        rules.into_iter().filter(|(_, defect)| defect.is_none()).map(|(rule, _)| rule).collect()
    };
    let (action, rules, defect) = match written.action {
        Some(Written::Allow) if defect.is_some() => (Action::Allow, Vec::new(), defect),
        Some(Written::Allow) => (Action::Allow, understood(rules), rule_defect),
        Some(Written::Audit) if defect.is_some() => return None,
        Some(Written::Audit) => (Action::Audit, understood(rules), rule_defect),
        Some(Written::Deny) => (Action::Deny, all_or_everything(rules, written), defect.or(rule_defect)),
        Some(Written::Custom) => {
            let refusal = "expected ALLOW, DENY or AUDIT (CUSTOM is not supported yet), found CUSTOM";
            let refused = notes.refuse("spec.action", refusal.to_owned());
            (Action::Deny, all_or_everything(rules, written), defect.or(Some(refused)))
        }
        None => (Action::Deny, vec![everything(written)], defect),
    };
    let enforcement = if written.dry_run { Enforcement::DryRun } else { Enforcement::Enforced };
    Some(Policy { origin: origin(&written.meta), action, enforcement, rules, defect: defect.map(Defect) })
}

/// The rules of a denial. None at all means that they could not be read, for a denial without rules
/// is refused.
fn all_or_everything(rules: Vec<Judged>, written: &AuthorizationPolicy) -> Vec<Rule> {
    if rules.is_empty() { vec![everything(written)] } else { rules.into_iter().map(|(rule, _)| rule).collect() }
}

/// A rule that every call matches.
fn everything(written: &AuthorizationPolicy) -> Rule {
    Rule { line: written.meta.line, ..Rule::default() }
}

/// What a defect means for those who call, until it is mended.
fn consequence(policy: &Policy, reach: &Reach) -> String {
    let what = match policy.action {
        Action::Allow if policy.rules.is_empty() => "it allows no call",
        Action::Allow => "what is not understood allows no call",
        Action::Deny => "it denies every call that it might deny",
        Action::Audit => "what is not understood marks no call",
    };
    let mode = if policy.enforcement == Enforcement::DryRun { " (dry run)" } else { "" };
    format!("expected a policy that is understood: until then, for {reach}, {what}{mode}")
}

/// Tells problems of one policy.
struct Notes<'n> {
    written: &'n AuthorizationPolicy,
    reference: ResourceRef,
    problems: &'n mut Vec<Problem>,
}

impl Notes<'_> {
    /// Notes a problem of the rule with this index, or of the whole policy; gives it as text.
    fn tell(&mut self, severity: Severity, index: Option<u32>, message: String) -> String {
        let rule = index.and_then(|index| self.written.rules.get(index as usize));
        let line = rule.map_or(self.written.meta.line, |rule| rule.line);
        self.note(severity, line, index.map(|index| format!("spec.rules[{index}]")), message)
    }

    /// Notes that a field of the policy is refused; gives it as text.
    fn refuse(&mut self, field: &str, message: String) -> String {
        self.note(Severity::Error, self.written.meta.line, Some(field.to_owned()), message)
    }

    fn note(&mut self, severity: Severity, line: u32, field: Option<String>, message: String) -> String {
        let file = self.written.meta.file.clone();
        let resource = Some(self.reference.clone());
        let problem = Problem { severity, file, line, column: 0, field, resource, message };
        let text = problem.to_string();
        self.problems.push(problem);
        text
    }
}
