//! The running mesh, asked for the inbound records that its proxies have.

use weft_mesh::record::Inbound;
use weft_wire::proto::weft::v1::{GetInboundRequest, StatusRequest};

use crate::args::Target;
use crate::client;
use crate::command::matters;
use crate::failure::{Context, Failure};
use crate::home::Home;

/// The records of the workloads that `target` means, at least one, and what is wrong with the
/// mesh's folder.
///
/// # Errors
/// When no mesh or no such workload runs.
pub(super) fn inbounds(home: &Home, target: &Target) -> Result<(Vec<Inbound>, Vec<String>), Failure> {
    let (records, problems) = crate::runtime::of_this_thread()?.block_on(async {
        let mut control = client::connect(home).await.map_err(|failure| failure.hint(STARTED))?;
        let what = format!("workload {target}");
        let records = control.get_inbound(GetInboundRequest { target: target.to_string() }).await;
        let records = records.map_err(|status| client::refused(&what, &status).hint(RUNNING))?.into_inner().records;
        let status = control.status(StatusRequest {}).await;
        let status = status.map_err(|status| client::refused("status", &status))?.into_inner();
        Ok((records, status.problems.into_iter().filter(|problem| matters(problem)).collect()))
    })?;
    if records.is_empty() {
        return Err(Failure::new(format!("workload {target}: expected one that runs, found none")).hint(RUNNING));
    }
    let read = |record| Inbound::try_from(record).context("read the workload's record");
    Ok((records.into_iter().map(read).collect::<Result<_, _>>()?, problems))
}

const STARTED: &str = "start one with weft up -f DIR -d, or ask a folder with -f DIR";
const RUNNING: &str = "list what runs with weft ps, or ask a folder with -f DIR";
