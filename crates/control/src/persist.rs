//! Keeps the state folder up with the plane: what changed while it wrote is written next, once.

use std::sync::Arc;

use prost::Message;
use tokio::task::spawn_blocking;
use tracing::{error, warn};
use weft_wire::proto::weft::v1::ListWorkloadsResponse;

use crate::addresses::Addresses;
use crate::machine::Machine;
use crate::messages;
use crate::registry::Registration;
use crate::store::{Store, StoreError};

/// Addresses of services, JSON.
const ADDRESSES: &str = "addresses.json";
/// The workloads, as `weft.v1.ListWorkloadsResponse`; it holds their tokens.
const WORKLOADS: &str = "workloads.pb";

/// Reads what an earlier control plane left.
///
/// # Errors
/// [`StoreError`] when a file is there and can't be read: a mesh whose addresses all changed would
/// be worse than none.
pub(crate) fn load(store: &Store) -> Result<(Addresses, Vec<Registration>), StoreError> {
    let addresses = match store.read(ADDRESSES)? {
        None => Addresses::default(),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|cause| StoreError::Content {
            path: store.path(ADDRESSES),
            expected: "addresses by service",
            cause: cause.to_string(),
        })?,
    };
    let content = |cause: String| StoreError::Content { path: store.path(WORKLOADS), expected: "workloads", cause };
    let bytes = store.read(WORKLOADS)?.unwrap_or_default();
    let stored = ListWorkloadsResponse::decode(bytes.as_slice()).map_err(|cause| content(cause.to_string()))?;
    let workloads = stored.workloads.into_iter().filter_map(|message| {
        // Its launcher can still come back and say the same.
        messages::restored(message).inspect_err(|error| warn!(error, "a workload of before was dropped")).ok()
    });
    Ok((addresses, workloads.collect()))
}

/// Writes after every change, until everything ends.
pub(crate) async fn run(machine: Machine, store: Arc<Store>) {
    let mut registrations = machine.registrations();
    loop {
        tokio::select! {
            // The sender lives in `machine`: it can't be gone.
            _ = registrations.changed() => save(&machine, &store).await,
            () = machine.shared().ending() => return,
        }
    }
}

/// Writes what is now.
pub(crate) async fn save(machine: &Machine, store: &Arc<Store>) {
    let (addresses, workloads) =
        machine.with(|plane, _| (plane.addresses().clone(), plane.workloads().map(messages::stored).collect()));
    let store = Arc::clone(store);
    let written =
        spawn_blocking(move || write(&store, &addresses, ListWorkloadsResponse { workloads, idle: Vec::new() })).await;
    match written {
        Ok(Ok(())) => {}
        // What runs goes on; the next change tries again.
        Ok(Err(error)) => error!(%error, "the state can't be kept"),
        Err(error) => error!(%error, "the state can't be kept"),
    }
}

fn write(store: &Store, addresses: &Addresses, workloads: ListWorkloadsResponse) -> Result<(), StoreError> {
    let json = serde_json::to_vec_pretty(addresses).map_err(|cause| StoreError::Content {
        path: store.path(ADDRESSES),
        expected: "addresses that JSON can hold",
        cause: cause.to_string(),
    })?;
    store.write(ADDRESSES, &json)?;
    store.write(WORKLOADS, &workloads.encode_to_vec())
}
