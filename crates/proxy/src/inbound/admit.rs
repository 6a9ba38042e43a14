//! Whether a call comes in: a place for it, the verdict on it, and the program's end of it.

use std::net::SocketAddr;

use weft_mesh::decide::hangs_on_sni;
use weft_mesh::record::Inbound;

use super::labels::own_service;
use crate::connection::{Account, broken};
use crate::copy::copy;
use crate::crowd::Place;
use crate::data::Data;
use crate::live::{Admitted, Facts, Hello, unenforced};
use crate::metrics::count;
use crate::side::Side;
use crate::why::{Cause, Failure};

/// A place for one more of a caller's address, unless that has half of all.
pub(super) fn place(data: &Data, from: SocketAddr) -> Option<Place> {
    let place = data.inbound_crowd.enter(from.ip());
    if place.is_none() {
        count(&data.metrics.process.crowded);
        tracing::debug!(%from, "an address that has half of all connections gets no more");
    }
    place
}

/// Whether the verdict on a call to this workload hangs on the server name of the caller's own TLS.
pub(super) fn asks_for_name(data: &Data, inbound: &Inbound, facts: &Facts) -> bool {
    data.addresses.contains(&facts.destination.ip()) && hangs_on_sni(inbound, &facts.connection(&Hello::Unseen))
}

/// Judges a call and connects to the program. The program sees nothing of a call that is refused.
pub(crate) async fn open(
    data: &Data,
    account: &mut Account,
    facts: Facts,
    caller: SocketAddr,
) -> Result<(Side, Admitted), Failure> {
    open_named(data, account, (facts, Hello::Unseen), caller).await
}

/// As [`open`], where the first bytes of the caller were looked at.
pub(super) async fn open_named(
    data: &Data,
    account: &mut Account,
    (facts, hello): (Facts, Hello),
    caller: SocketAddr,
) -> Result<(Side, Admitted), Failure> {
    let inbound = data.records.inbound().await?;
    account.labels.service = own_service(&inbound);
    let destination = facts.destination;
    if !data.addresses.contains(&destination.ip()) {
        let detail = format!("{} is no address of {}", destination.ip(), data.workload);
        return Err(Failure::inbound(Cause::UnknownAddress, detail));
    }
    account.unenforced = unenforced(&inbound, &facts.connection(&hello), &data.metrics.process);
    let (judged, admitted) = data.live.admit(&inbound, facts, hello);
    let reason = judged.reason.clone().unwrap_or_default();
    account.verdict = Some(judged);
    let Some(admitted) = admitted else {
        return Err(Failure::inbound(Cause::Policy, reason));
    };
    let connecting = data.sockets.connect(&data.addresses, destination, caller.ip());
    let program = connecting.await.map_err(|e| {
        Failure::inbound(Cause::Connect, format!("{} at port {}: {e}", data.workload, destination.port()))
    })?;
    Ok((Side::plain(program), admitted))
}

/// Bytes both ways, for as long as policy admits them.
pub(crate) async fn relay(mut account: Account, mut caller: Side, mut program: Side, admitted: Admitted) {
    let meter = account.open();
    let failure = tokio::select! {
        copied = copy(&mut caller, &mut program, &meter) => copied.err().map(broken),
        judged = admitted.denied() => {
            let reason = judged.reason.clone().unwrap_or_default();
            account.verdict = Some(judged);
            Some(Failure::inbound(Cause::PolicyChanged, reason))
        }
    };
    if failure.is_some() {
        caller.stream.reset();
        program.stream.reset();
    }
    account.ended(&meter, failure);
}

/// Tells of a call that wasn't admitted, or that nobody took.
pub(crate) fn refused(data: &Data, account: Account, failure: Failure) {
    if failure.cause == Cause::Policy {
        count(&data.metrics.process.denied);
    }
    account.refused(failure);
}
