//! Dialled once for all who wait: whoever needs a connection that isn't there waits for the one who
//! dials, and shares what becomes of it. Knows nothing of connections.

use std::cell::{Cell, RefCell};

use tokio::sync::Mutex;

use crate::why::Failure;

/// The dialling of one place.
#[derive(Default)]
pub(crate) struct Dialling {
    /// Held by the one who dials.
    turn: Mutex<()>,
    /// How often it has failed, and how the last time.
    failures: Cell<u64>,
    failed: RefCell<Option<Failure>>,
}

impl Dialling {
    /// What `find` finds at once or when somebody else has dialled; else what `dial` makes.
    ///
    /// # Errors
    /// What `dial` says, to whoever waited for it meanwhile, too.
    pub(crate) async fn once<T>(
        &self,
        find: impl Fn() -> Option<T>,
        dial: impl AsyncFnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(found) = find() {
            return Ok(found);
        }
        let before = self.failures.get();
        let _turn = self.turn.lock().await;
        if let Some(found) = find() {
            return Ok(found);
        }
        if self.failures.get() != before
            && let Some(failure) = &*self.failed.borrow()
        {
            return Err(failure.clone());
        }
        // In a box, for it is large and most find what they need.
        let dialled = Box::pin(dial()).await;
        if let Err(failure) = &dialled {
            self.failures.set(self.failures.get() + 1);
            *self.failed.borrow_mut() = Some(failure.clone());
        }
        dialled
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::why::Cause;

    #[tokio::test]
    async fn all_who_wait_share_what_becomes_of_one_dialling() {
        for fails in [false, true] {
            let (dialling, made, dialled) = (Dialling::default(), Rc::new(Cell::new(None)), Cell::new(0));
            let ask = || {
                dialling.once(
                    || made.get(),
                    async || {
                        tokio::task::yield_now().await;
                        dialled.set(dialled.get() + 1);
                        if fails {
                            return Err(Failure::outbound(Cause::Connect, "down".to_owned()));
                        }
                        made.set(Some(7));
                        Ok(7)
                    },
                )
            };
            let (first, second, third) = tokio::join!(ask(), ask(), ask());
            assert_eq!(dialled.get(), 1);
            for got in [first, second, third] {
                assert_eq!(got.ok(), (!fails).then_some(7));
            }
            // A failure isn't kept for those who come later.
            let _later = ask().await;
            assert_eq!(dialled.get(), if fails { 2 } else { 1 });
        }
    }
}
