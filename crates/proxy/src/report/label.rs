//! Labels as messages.

use weft_wire::proto::weft::v1 as proto;

use crate::metrics::{Party, Reporter, ServiceName};

pub(super) fn view(reporter: Reporter) -> proto::Reporter {
    match reporter {
        Reporter::Source => proto::Reporter::Source,
        Reporter::Destination => proto::Reporter::Destination,
    }
}

pub(super) fn party(party: &Party) -> proto::Party {
    proto::Party {
        workload: party.workload.to_string(),
        namespace: party.namespace.to_string(),
        app: party.app.to_string(),
        principal: party.principal.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind: party.kind.to_string(),
    }
}

pub(super) fn service(name: &ServiceName) -> proto::ServiceName {
    let ServiceName { host, name, namespace } = name;
    proto::ServiceName { host: host.to_string(), name: name.to_string(), namespace: namespace.to_string() }
}
