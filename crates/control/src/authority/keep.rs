//! Renews the issuer while the control plane runs, and tells in time that the root ends. The edge: it waits,
//! and hands on what [`renewed`](super::renewed) has decided.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{error, warn};
use weft_identity::{Authority, issuer_due};
use weft_mesh::TrustDomain;

use super::{UNRENEWED, renewed};
use crate::store::Store;
use crate::wall::until;

/// Puts each new issuer into `signing`. What the former one signed holds until its own end.
pub(crate) async fn keep(
    store: Arc<Store>,
    domain: TrustDomain,
    mut authority: Arc<Authority>,
    signing: watch::Sender<Option<Arc<Authority>>>,
) -> Infallible {
    loop {
        until(next_look(issuer_due(authority.issuer()), SystemTime::now())).await;
        let now = SystemTime::now();
        if ends_soon(authority.root().not_after, now) {
            let until = time::OffsetDateTime::from(authority.root().not_after);
            warn!(%until, "the mesh's root ends soon, and every certificate with it: weft check says what to do");
        }
        let (kept, store, domain) = (Arc::clone(&authority), Arc::clone(&store), domain.clone());
        match spawn_blocking(move || renewed(&store, &kept, &domain, now)).await {
            Ok(Ok(Some(issuer))) => {
                authority = Arc::new(issuer);
                signing.send_replace(Some(Arc::clone(&authority)));
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => warn!(%error, "{UNRENEWED}"),
            Err(error) => error!(%error, "{UNRENEWED}"),
        }
    }
}

/// When to look next: at the time at which the issuer is due, each day before, and each hour where it is overdue.
fn next_look(due: SystemTime, now: SystemTime) -> SystemTime {
    if due > now { due.min(now + LOOKS) } else { now + RETRY }
}

fn ends_soon(end: SystemTime, now: SystemTime) -> bool {
    end < now + SOON
}

const LOOKS: Duration = Duration::from_secs(24 * 60 * 60);
/// A third of the issuer's life is left then: months.
const RETRY: Duration = Duration::from_secs(60 * 60);
/// A month in which to plan a change, as `weft check` has it.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_daily_until_it_is_due_and_hourly_after() {
        let now = SystemTime::now();
        let after = |due| next_look(due, now).duration_since(now).unwrap();
        assert_eq!(after(now + 90 * LOOKS), LOOKS);
        assert_eq!(after(now + RETRY / 2), RETRY / 2);
        assert_eq!((after(now), after(now - LOOKS)), (RETRY, RETRY));
    }

    #[test]
    fn a_roots_end_is_told_a_month_before_it_and_after_it() {
        let now = SystemTime::now();
        assert!(!ends_soon(now + SOON, now) && ends_soon(now + SOON - RETRY, now) && ends_soon(now - SOON, now));
    }
}
