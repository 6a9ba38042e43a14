//! The end of a proxy: it stops accepting, lets what is open go on for a bounded time, and ends.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

/// Counts what is open, and says when to end. Shared by all tasks of the data thread.
#[derive(Default)]
pub(crate) struct Drain {
    draining: Cell<bool>,
    began: Notify,
    open: Cell<usize>,
    ended: Notify,
}

/// Something that is open; the proxy waits for it. Dropping it says that it has ended.
pub(crate) struct Open(Rc<Drain>);

impl Drain {
    /// Counts one more that is open.
    pub(crate) fn open(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        Open(self.clone())
    }

    /// From now on nothing new is accepted.
    pub(crate) fn begin(&self) {
        self.draining.set(true);
        self.began.notify_waiters();
    }

    /// Waits until draining begins.
    pub(crate) async fn begun(&self) {
        let began = self.began.notified();
        if !self.draining.get() {
            began.await;
        }
    }

    /// Whether draining has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Waits until nothing is open, for at most `limit`. Returns how many are left.
    pub(crate) async fn finish(&self, limit: Duration) -> usize {
        let all_ended = async {
            loop {
                let ended = self.ended.notified();
                if self.open.get() == 0 {
                    return;
                }
                ended.await;
            }
        };
        // Late or not, the count says what is left.
        let _late = tokio::time::timeout(limit, all_ended).await;
        self.open.get()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let left = self.0.open.get() - 1;
        self.0.open.set(left);
        if left == 0 {
            self.0.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_what_is_open_and_no_longer_than_the_limit() {
        let drain = Rc::new(Drain::default());
        let open = drain.open();
        drain.begin();
        drain.begun().await;
        assert_eq!(drain.finish(Duration::from_secs(9)).await, 1);
        drop(open);
        assert_eq!(drain.finish(Duration::from_secs(9)).await, 0);
    }
}
