//! The control thread: asks the control plane for records and certificates and hands them to the
//! data thread. When the control plane is away, it tries again, and what is known stays in force.
//! Knows no connection of the program.

mod certificate;
mod discovery;
mod link;
mod network;
mod socket;
mod wall_clock;

use std::io;
use std::pin::pin;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

use crate::config::ControlConfig;
use crate::limits::LAST_REPORT;
use crate::records::{Order, Update};
use crate::report::{self, ControlEnd, Known};
pub(crate) use link::Link;

/// Starts the control thread. It ends when the data thread has: it takes no more updates, and its
/// last signals are told.
///
/// # Errors
/// When the system gives no thread, or no runtime for it.
pub fn spawn(
    config: ControlConfig,
    (told, orders): (mpsc::Sender<Update>, mpsc::UnboundedReceiver<Order>),
    reports: ControlEnd,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        runtime.block_on(async {
            let link = Link::new(&config);
            let known = watch::Sender::new(Known::default());
            let discovery = discovery::follow(&link, &config, (told.clone(), &known), orders);
            let certificates = certificate::keep(&link, &config, (told.clone(), &known));
            let mut reporting = pin!(report::follow(&link, reports, known.subscribe()));
            tokio::select! {
                () = discovery => {}
                () = certificates => {}
                () = told.closed() => {}
                () = &mut reporting => return,
            }
            // Who doesn't take it by then won't know.
            let _late = tokio::time::timeout(LAST_REPORT, reporting).await;
        });
    })
}

/// A random number from 0 to 1, for jitter; seeded by the standard library.
pub(crate) fn jitter() -> f64 {
    use std::hash::BuildHasher;
    let bits = std::collections::hash_map::RandomState::new().hash_one(0);
    bits as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests;
