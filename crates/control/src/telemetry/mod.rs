//! Golden signals: what proxies tell of traffic, kept for an hour at bounded cardinality, and read
//! by the command line and by Prometheus.
//!
//! ```text
//! proxies ─> report ─> hub ─┬─> aggregate (slots of 5 s and of a minute) ─> stat, edges ─> observe
//!                           ├─> aggregate (sums since the beginning) ─> exposition ─> scrape
//!                           └─> taps ─> observe
//! ```
//!
//! A cluster's series name what made a pod, not the pod: `resource` reads them.
//! `aggregate`, `near`, `slots`, `sums`, `stat`, `edges`, `resource` and `exposition` are pure, time passed in. A control
//! plane that starts again starts afresh: longer history is Prometheus's work.

mod aggregate;
mod edges;
mod exposition;
mod hub;
mod near;
mod observe;
mod report;
mod resource;
mod scrape;
mod slots;
mod stat;
mod sums;
mod tap;

pub(crate) use hub::Hub;
pub(crate) use observe::Observer;
pub(crate) use report::Reports;
pub(crate) use scrape::{Scrape, bind};

#[cfg(test)]
mod fixtures;
