//! The decision: may this call enter this workload, and which rule says so.
//!
//! One pure function for proxy, command line and dashboard. Knows compiled records and calls; not
//! where they come from, nor how a denial is told to the caller. Order and meaning: istio-semantics
//! A, B2 and B4.

mod rule;

use std::fmt;

use crate::call::Call;
use crate::record::{Action, Defect, Enforcement, Inbound, MtlsMode, Origin, Policy, Rule, Scoped};

/// Judges a call: peer authentication, then DENY policies, then ALLOW policies.
///
/// - STRICT refuses whoever proved no identity. DISABLE is plaintext only: callers come without
///   an identity there. If one is proved nevertheless (a caller's record is old, or its mesh
///   ignores the mode), the call is admitted only if it would be both with that identity and as
///   the plaintext call that it ought to be: a proved identity can close, and never opens.
/// - Without HTTP (`call.http` is `None`) an ALLOW rule that uses an HTTP field anywhere admits
///   nothing, and a DENY rule denies without regard to such a field. Likewise `connection.sni`,
///   where nobody could see the name.
/// - AUDIT and dry-run policies have no part in it; [`unenforced`] tells what they say.
///
/// Allocates nothing, save where a rule reads a header field that has several values.
pub fn decide<'r>(inbound: &'r Inbound, call: &Call<'_>) -> Verdict<'r> {
    judge(inbound, call, Counted::Enforced)
}

/// The verdict that would fall if each dry-run policy were enforced.
pub fn rehearse<'r>(inbound: &'r Inbound, call: &Call<'_>) -> Verdict<'r> {
    judge(inbound, call, Counted::All)
}

/// Whether any policy hangs on the server name of the caller's own TLS: if not, [`Sni::Unseen`] is
/// as good as knowing it. If so, a call whose name is unseen is admitted only if every name would be.
///
/// [`Sni::Unseen`]: crate::call::Sni::Unseen
pub fn hangs_on_sni(inbound: &Inbound, call: &Call<'_>) -> bool {
    let authentication = inbound.peer_authentication.at(call.destination_port);
    // Under DISABLE a caller is judged as one that proved nothing as well.
    let plain = Call { peer: None, ..*call };
    let hangs = |rule| {
        rule::hangs_on_sni(rule, call) || (authentication.mode == MtlsMode::Disable && rule::hangs_on_sni(rule, &plain))
    };
    !strict_refuses(authentication, call) && inbound.policies.iter().flat_map(|policy| &policy.rules).any(hangs)
}

/// The matches that are only reported: of AUDIT policies, and of dry-run policies of any action.
///
/// A call that peer authentication refuses reaches no policy. Where nothing is to be reported this
/// costs a look at each policy's action.
pub fn reported<'r>(inbound: &'r Inbound, call: &Call<'_>) -> impl Iterator<Item = Match<'r>> {
    let refused = strict_refuses(inbound.peer_authentication.at(call.destination_port), call);
    let policies = if refused { &[] } else { inbound.policies.as_slice() };
    policies.iter().filter(|policy| is_only_reported(policy)).filter_map(|policy| matched(policy, call))
}

/// What AUDIT and dry-run policies say of a call, to be told beside its verdict; `None` when that is
/// nothing. Where there are no such policies this costs a look at each policy's action.
pub fn unenforced<'r>(inbound: &'r Inbound, call: &Call<'_>) -> Option<Unenforced<'r>> {
    if !inbound.policies.iter().any(is_only_reported)
        || strict_refuses(inbound.peer_authentication.at(call.destination_port), call)
    {
        return None;
    }
    let audit: Vec<_> = reported(inbound, call).filter(|found| found.policy.action == Action::Audit).collect();
    let could_decide = |p: &Policy| p.enforcement == Enforcement::DryRun && p.action != Action::Audit;
    let dry_run = inbound.policies.iter().any(could_decide).then(|| rehearse(inbound, call));
    (!audit.is_empty() || dry_run.is_some()).then_some(Unenforced { audit, dry_run })
}

/// What policies without a part in the verdict say of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unenforced<'r> {
    /// The AUDIT policies that match.
    pub audit: Vec<Match<'r>>,
    /// The verdict that [`rehearse`] gives; `None` where no dry-run policy could decide.
    pub dry_run: Option<Verdict<'r>>,
}

/// What was decided, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// Whether the call may enter.
    pub decision: Decision,
    /// What decided it.
    pub reason: Reason<'r>,
    /// As whom the caller was judged.
    pub caller: Caller<'r>,
    /// What could be seen of the call.
    pub layer: Layer,
    /// Which policies had a part in it.
    pub counted: Counted,
}

/// Whether a call may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

impl fmt::Display for Decision {
    /// `allow` or `deny`, as `weft authz explain -o json` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// What decided. Each reason has one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason<'r> {
    /// Denied: peer authentication is STRICT and the caller proved no identity. The resource that
    /// says so; `None` for a default.
    PeerAuthentication(Option<&'r Origin>),
    /// Denied by a rule of a DENY policy.
    DeniedBy(Match<'r>),
    /// Denied because a policy could not be understood: this rule stands for what it might have
    /// denied.
    Defect(Match<'r>, &'r Defect),
    /// Denied: there are ALLOW policies, and no rule of them matches.
    NoAllowMatched,
    /// Allowed by a rule of an ALLOW policy.
    AllowedBy(Match<'r>),
    /// Allowed: no DENY rule matches, and no ALLOW policy selects the workload.
    NoAllowPolicy,
}

impl Reason<'_> {
    fn decision(&self) -> Decision {
        match self {
            Self::PeerAuthentication(_) | Self::DeniedBy(_) | Self::Defect(..) | Self::NoAllowMatched => Decision::Deny,
            Self::AllowedBy(_) | Self::NoAllowPolicy => Decision::Allow,
        }
    }
}

/// A policy that matches the call, and the first of its rules that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'r> {
    /// The policy.
    pub policy: &'r Policy,
    /// Its rule.
    pub rule: &'r Rule,
}

/// As whom the caller was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'r> {
    /// As the identity that it proved.
    Verified,
    /// As one that proved none.
    Plaintext,
    /// As one that proved none although it did: this setting is DISABLE.
    Disregarded(&'r Scoped),
}

/// What could be seen of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// An HTTP request.
    Http,
    /// A connection; HTTP fields can't be seen.
    Tcp,
}

/// Which policies have a part in a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Those that are enforced.
    Enforced,
    /// Those on dry-run too.
    All,
}

impl Counted {
    /// Whether the policy has a part in such a verdict.
    pub fn includes(self, policy: &Policy) -> bool {
        self == Self::All || policy.enforcement == Enforcement::Enforced
    }
}

fn judge<'r>(inbound: &'r Inbound, call: &Call<'_>, counted: Counted) -> Verdict<'r> {
    let authentication = inbound.peer_authentication.at(call.destination_port);
    let (reason, caller) = match (authentication.mode, call.peer) {
        _ if strict_refuses(authentication, call) => {
            (Reason::PeerAuthentication(authentication.origin.as_ref()), Caller::Plaintext)
        }
        (_, None) => (by_policies(inbound, call, counted), Caller::Plaintext),
        (MtlsMode::Disable, Some(_)) => {
            let proved = by_policies(inbound, call, counted);
            let plain = Call { peer: None, ..*call };
            match proved.decision() {
                Decision::Deny => (proved, Caller::Verified),
                Decision::Allow => (by_policies(inbound, &plain, counted), Caller::Disregarded(authentication)),
            }
        }
        (_, Some(_)) => (by_policies(inbound, call, counted), Caller::Verified),
    };
    let layer = if call.http.is_some() { Layer::Http } else { Layer::Tcp };
    Verdict { decision: reason.decision(), reason, caller, layer, counted }
}

fn strict_refuses(authentication: &Scoped, call: &Call<'_>) -> bool {
    authentication.mode == MtlsMode::Strict && call.peer.is_none()
}

fn by_policies<'r>(inbound: &'r Inbound, call: &Call<'_>, counted: Counted) -> Reason<'r> {
    let of = |action| inbound.policies.iter().filter(move |p| p.action == action && counted.includes(p));
    if let Some(found) = of(Action::Deny).find_map(|policy| matched(policy, call)) {
        return match &found.policy.defect {
            Some(defect) => Reason::Defect(found, defect),
            None => Reason::DeniedBy(found),
        };
    }
    match of(Action::Allow).find_map(|policy| matched(policy, call)) {
        Some(found) => Reason::AllowedBy(found),
        None if of(Action::Allow).next().is_some() => Reason::NoAllowMatched,
        None => Reason::NoAllowPolicy,
    }
}

fn is_only_reported(policy: &Policy) -> bool {
    policy.action == Action::Audit || policy.enforcement == Enforcement::DryRun
}

fn matched<'r>(policy: &'r Policy, call: &Call<'_>) -> Option<Match<'r>> {
    let rule = policy.rules.iter().find(|rule| rule::matches(rule, policy.action, call))?;
    Some(Match { policy, rule })
}

#[cfg(test)]
mod tests;
