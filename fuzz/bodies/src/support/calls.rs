//! A fixed set of calls, to compare what two records admit.

use std::net::{IpAddr, Ipv4Addr};

use weft_mesh::call::{Call, HttpCall, Sni};
use weft_mesh::decide::{Decision, decide, rehearse, reported, unenforced};
use weft_mesh::explain::explain;
use weft_mesh::record::Inbound;
use weft_mesh::{SpiffeId, TrustDomain};

/// Whether the record admits each of the calls; always the same ones in the same order.
pub(crate) fn verdicts(inbound: &Inbound) -> Vec<bool> {
    let mut verdicts = Vec::new();
    each(|call| verdicts.push(decide(inbound, call).decision == Decision::Allow));
    verdicts
}

/// Checks what is told of each verdict.
///
/// # Panics
/// When a verdict contradicts its explanation, or a dry run of no policy its verdict.
pub(crate) fn check_explanations(inbound: &Inbound) {
    each(|call| {
        let verdict = decide(inbound, call);
        assert_eq!(explain(inbound, &verdict).verdict, verdict.decision);
        let rehearsed = rehearse(inbound, call);
        assert_eq!(explain(inbound, &rehearsed).verdict, rehearsed.decision);
        assert!(rehearsed.decision == verdict.decision || !inbound.policies.is_empty(), "a dry run of nothing differs");
        assert!(reported(inbound, call).count() <= inbound.policies.len());
        let told = unenforced(inbound, call);
        assert!(told.is_none_or(|told| told.dry_run.is_none_or(|dry_run| dry_run == rehearsed)));
    });
}

fn each(mut judge: impl FnMut(&Call<'_>)) {
    let id = |namespace, account| SpiffeId::new(&TrustDomain::default(), namespace, account).expect("good names");
    let callers = [None, Some(id("shop", "a")), Some(id("x", "b"))];
    let fields = vec![("x-token".to_owned(), "secret".to_owned())];
    let requests = [None, Some(("GET", "/public")), Some(("POST", "/admin"))];
    for peer in &callers {
        for port in [80, 9090] {
            for request in requests {
                let http = request.map(|(method, path)| HttpCall { method, authority: "web", path, headers: &fields });
                judge(&call(peer.as_ref(), port, http));
            }
        }
    }
}

fn call<'a>(peer: Option<&'a SpiffeId>, destination_port: u16, http: Option<HttpCall<'a>>) -> Call<'a> {
    let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let (source_ip, destination_ip) = (address(1), address(2));
    Call { peer, source_ip, remote_ip: source_ip, destination_ip, destination_port, sni: Sni::Absent, http }
}
