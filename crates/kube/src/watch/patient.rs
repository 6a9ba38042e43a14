//! A watch of which only what it tells is wanted: it is taken up again whatever happens to it, and what is
//! wrong with it is logged once for each reason.

use std::future::ready;
use std::mem;

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use kube::runtime::watcher;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{REFUSED_PAUSE, is_clear, is_forgotten, is_refused, reason};

/// What watches tell, without their errors. `watch` begins one; `what` names it in the log; `is_empty` is
/// what comes before the API server was asked, and so proves nothing.
pub(crate) fn patient<T, S>(
    what: &'static str,
    watch: impl FnMut() -> S + Send + 'static,
    is_empty: impl Fn(&T) -> bool + Send + 'static,
) -> BoxStream<'static, T>
where
    T: Send + 'static,
    S: Stream<Item = watcher::Result<T>> + Send + 'static,
{
    let mut complaint = String::new();
    let told = stream::repeat_with(watch).flat_map(until_refused).filter_map(move |found| {
        let found = match found {
            Ok(found) => {
                if !is_empty(&found) && !mem::take(&mut complaint).is_empty() {
                    info!(what, "followed again");
                }
                Some(found)
            }
            Err(error) => {
                let reason = reason(&error);
                if complaint != reason && is_clear(&error) && !is_forgotten(&error) {
                    warn!(what, reason, "not followed now: what is known of it stands");
                    complaint = reason;
                }
                None
            }
        };
        async move {
            if found.is_none() {
                sleep(REFUSED_PAUSE).await;
            }
            found
        }
    });
    told.boxed()
}

/// A watch up to the moment at which its right was taken away: another one begins with a list, which tells
/// when the right is back.
fn until_refused<T>(watch: impl Stream<Item = watcher::Result<T>>) -> impl Stream<Item = watcher::Result<T>> {
    watch.scan(false, |is_over, found| {
        let is_last = found.as_ref().is_err_and(is_refused);
        ready((!mem::replace(is_over, is_last)).then_some(found))
    })
}
