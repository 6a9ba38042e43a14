//! Endpoint choice stays in range and takes the lighter of two.

use std::cell::RefCell;
use std::time::Duration;

use proptest::prelude::*;
use weft_mesh::balance::{PeakEwma, choose};

proptest! {
    #[test]
    fn two_different_endpoints_are_compared_and_the_lighter_taken(
        loads in prop::collection::vec(0.0f64..10.0, 2..40),
        random: u64,
    ) {
        let asked = RefCell::new(Vec::new());
        let chosen = choose(loads.len(), random, |at| {
            asked.borrow_mut().push(at);
            loads[at]
        });
        let asked = asked.into_inner();
        prop_assert_eq!(asked.len(), 2);
        prop_assert_ne!(asked[0], asked[1]);
        let lightest = asked.iter().map(|at| loads[*at]).fold(f64::INFINITY, f64::min);
        prop_assert_eq!(loads[chosen.unwrap()], lightest);
    }

    #[test]
    fn loads_without_order_do_no_harm(len in 0usize..5, random: u64) {
        let chosen = choose(len, random, |_| f64::NAN);
        prop_assert_eq!(chosen.is_some(), len > 0);
        prop_assert!(chosen.is_none_or(|at| at < len));
    }

    #[test]
    fn a_load_is_always_a_number_above_zero(
        steps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 0..20),
        decay: u64,
    ) {
        let mut load = PeakEwma::new(Duration::from_millis(30), Duration::from_nanos(decay), Duration::ZERO);
        for (rtt, now, begins) in steps {
            let now = Duration::from_nanos(now);
            load.observe(Duration::from_nanos(rtt), now);
            if begins { load.begin() } else { load.end() }
            prop_assert!(load.load(now).is_finite() && load.load(now) > 0.0);
        }
    }
}

#[test]
fn every_endpoint_is_drawn_about_as_often() {
    // A Weyl sequence covers the 64-bit numbers evenly, so the counts are the same on each run.
    let mut counts = [0u32; 7];
    for n in 0..70_000u64 {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        counts[choose(7, random, |_| 1.0).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
}
