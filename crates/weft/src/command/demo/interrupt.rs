//! Ctrl-C, and the signals of the same meaning. They are caught and not blocked: whatever the demo starts must still be
//! ended by them. What the demo waits for ends as well, so that the stage is cleared.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Context, Failure};

static CAME: Mutex<bool> = Mutex::new(false);
static TOLD: Condvar = Condvar::new();

/// Catches the signals from now on, in a thread of its own.
///
/// # Errors
/// When they can't be caught.
pub(super) fn watch() -> Result<(), Failure> {
    let runtime = crate::runtime::of_this_thread()?;
    let [mut interrupt, mut terminate, mut hangup] = {
        let _inside = runtime.enter();
        let catch = |kind| signal(kind).context("wait for Ctrl-C");
        [catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?, catch(SignalKind::hangup())?]
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
        });
        *CAME.lock().unwrap_or_else(PoisonError::into_inner) = true;
        TOLD.notify_all();
    });
    Ok(())
}

/// Whether one has come.
pub(super) fn came() -> bool {
    *CAME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, and says whether one has come.
pub(super) fn comes_within(time: Duration) -> bool {
    let came = CAME.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = TOLD.wait_timeout_while(came, time, |came| !*came);
    waited.map_or_else(|poisoned| *poisoned.into_inner().0, |(came, _)| *came)
}
