//! What the access log tells of flows of datagrams: a line as each ends, and one now and then of those that are refused.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::flows::Ends;
use super::judge::Refusal;
use crate::access::AccessRecord;
use crate::data::Data;
use crate::metrics::{Party, ServiceName};
use crate::outbound;
use crate::why::{Cause, Failure};

/// A flow has ended.
pub(super) fn ended(data: &Data, ends: Ends, since: (SystemTime, Duration), (sent, received): (u64, u64)) {
    let (start, duration) = since;
    let record = record(data, ends, start, outbound::outside_name(ends.destination.ip()));
    log(data, AccessRecord { duration, from_caller: sent, from_callee: received, ..record });
}

/// Says whose datagrams were refused, and why. Looking the name up may take a while.
pub(super) async fn refused(data: Rc<Data>, ends: Ends, length: usize, refusal: Refusal) {
    let start = SystemTime::now();
    let Ends { source, destination } = ends;
    let found = match refusal {
        Refusal::Mesh => data.records.by_address(destination.ip()).await.ok().flatten(),
        _ => None,
    };
    let (service, place) = match found {
        Some(service) => (service.name(), format!("{}:{}", service.record().host, destination.port())),
        None => (outbound::outside_name(destination.ip()), destination.to_string()),
    };
    let failure = Failure::outbound(Cause::Datagram, format!("{place}: {refusal}"));
    tracing::info!(%source, %destination, %failure, "UDP is refused");
    let record = record(&data, ends, start, service);
    log(&data, AccessRecord { from_caller: length as u64, failure: Some(failure), ..record });
}

fn record(data: &Data, Ends { source, destination }: Ends, start: SystemTime, service: ServiceName) -> AccessRecord {
    let labels = Arc::new(outbound::labels(data, service, Party::unknown(), "udp"));
    AccessRecord::begun(labels, start, (source, destination))
}

fn log(data: &Data, record: AccessRecord) {
    data.report.see(&record);
    data.access.push(record);
}
