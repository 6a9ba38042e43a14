//! Waiting by the wall clock, which goes on while a machine sleeps, and can be set. Knows nothing of what is waited for.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

/// Returns when the wall clock shows `time`.
pub(crate) async fn until(time: SystemTime) {
    while let Ok(left) = time.duration_since(SystemTime::now()) {
        sleep(left.min(LONGEST_SLEEP)).await;
    }
}

/// The clock of sleeps stands still while the machine does.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
