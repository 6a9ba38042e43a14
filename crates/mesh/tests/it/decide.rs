//! `decide` says what the naive statement of the rules says.

use proptest::prelude::*;
use weft_mesh::Sni;
use weft_mesh::decide::{Decision, Match, Reason, decide, hangs_on_sni, rehearse, reported, unenforced};
use weft_mesh::explain::explain;
use weft_mesh::record::{Action, Enforcement, Inbound};

use crate::generate;
use crate::naive::{self, Outcome};

/// A reason in the naive statement's words.
fn outcome(inbound: &Inbound, reason: &Reason<'_>) -> Outcome {
    let place = |found: &Match<'_>| {
        let at = inbound.policies.iter().position(|p| std::ptr::eq(p, found.policy)).unwrap();
        (at, found.policy.rules.iter().position(|r| std::ptr::eq(r, found.rule)).unwrap())
    };
    match reason {
        Reason::PeerAuthentication(_) => Outcome::Strict,
        Reason::DeniedBy(found) | Reason::Defect(found, _) => Outcome::Denied(place(found).0, place(found).1),
        Reason::AllowedBy(found) => Outcome::Allowed(place(found).0, place(found).1),
        Reason::NoAllowMatched => Outcome::NothingAllows,
        Reason::NoAllowPolicy => Outcome::NothingForbids,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_verdict_is_the_naive_one(inbound in generate::inbound(), call in generate::call()) {
        let verdict = decide(&inbound, &call.call());
        let expected = naive::decide(&inbound, &call.call());
        prop_assert_eq!(outcome(&inbound, &verdict.reason), expected.clone());
        prop_assert_eq!(verdict.decision == Decision::Allow, expected.allows());
    }

    #[test]
    fn a_rehearsal_is_the_verdict_with_everything_enforced(inbound in generate::inbound(), call in generate::call()) {
        let mut enforced = inbound.clone();
        for policy in &mut enforced.policies {
            policy.enforcement = Enforcement::Enforced;
        }
        let rehearsed = rehearse(&inbound, &call.call());
        let expected = decide(&enforced, &call.call());
        prop_assert_eq!(outcome(&inbound, &rehearsed.reason), outcome(&enforced, &expected.reason));
    }

    #[test]
    fn what_is_only_reported_never_counts(inbound in generate::inbound(), call in generate::call()) {
        let mut without = inbound.clone();
        without.policies.retain(|p| p.action != Action::Audit && p.enforcement == Enforcement::Enforced);
        prop_assert_eq!(decide(&inbound, &call.call()).decision, decide(&without, &call.call()).decision);
        prop_assert_eq!(reported(&without, &call.call()).count(), 0);
        prop_assert_eq!(unenforced(&without, &call.call()), None);
    }

    #[test]
    fn every_audit_that_matches_is_reported(inbound in generate::inbound(), call in generate::call()) {
        let refused = naive::decide(&inbound, &call.call()) == Outcome::Strict;
        let audits = inbound.policies.iter().filter(|p| p.action == Action::Audit);
        let expected = audits.filter(|p| p.rules.iter().any(|r| naive::deny_rule_matches(r, &call.call()))).count();
        let found = reported(&inbound, &call.call()).filter(|m| m.policy.action == Action::Audit).count();
        prop_assert_eq!(found, if refused { 0 } else { expected });
        prop_assert_eq!(unenforced(&inbound, &call.call()).map_or(0, |told| told.audit.len()), found);
    }

    #[test]
    fn an_unseen_server_name_admits_what_every_name_would(
        inbound in generate::inbound(),
        mut call in generate::call(),
    ) {
        call.sni = Sni::Unseen;
        let unseen = decide(&inbound, &call.call()).decision;
        let hangs = hangs_on_sni(&inbound, &call.call());
        for sni in [Sni::Absent, Sni::Name("a.example"), Sni::Name("c.example")] {
            call.sni = sni;
            let seen = decide(&inbound, &call.call()).decision;
            prop_assert!(unseen == seen || (hangs && unseen == Decision::Deny), "{:?}", sni);
        }
    }

    #[test]
    fn every_verdict_can_be_told(inbound in generate::inbound(), call in generate::call()) {
        let verdict = decide(&inbound, &call.call());
        let told = explain(&inbound, &verdict);
        let start = if verdict.decision == Decision::Allow { "allowed: " } else { "denied: " };
        prop_assert!(told.reason.starts_with(start) && !told.reason.ends_with('.'));
        prop_assert_eq!(told.verdict, verdict.decision);
    }
}

/// The random records are worth nothing if they all end alike.
#[test]
fn random_records_reach_every_outcome() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = [0; 5];
    for _ in 0..2000 {
        let (inbound, call) = (generate::inbound(), generate::call()).new_tree(&mut runner).unwrap().current();
        seen[match naive::decide(&inbound, &call.call()) {
            Outcome::Strict => 0,
            Outcome::Denied(..) => 1,
            Outcome::Allowed(..) => 2,
            Outcome::NothingAllows => 3,
            Outcome::NothingForbids => 4,
        }] += 1;
    }
    assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
}
