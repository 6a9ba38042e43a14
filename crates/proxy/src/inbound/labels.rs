//! How a call of others is counted and logged.

use std::net::SocketAddr;
use std::rc::Rc;

use weft_mesh::record::Inbound;

use crate::connection::Account;
use crate::data::Data;
use crate::metrics::{Labels, Party, Reporter, ServiceName};

/// The account of one call of `source`.
pub(crate) fn account(data: &Rc<Data>, caller: SocketAddr, destination: SocketAddr, source: &Party) -> Account {
    let labels = Labels { protocol: "tcp", ..unjudged_labels(data, source) };
    Account::new(data, caller, destination, labels)
}

/// Labels of what a caller asks.
pub(crate) fn labels(data: &Data, inbound: &Inbound, caller: &Party, protocol: &'static str) -> Labels {
    Labels { service: own_service(inbound), protocol, ..unjudged_labels(data, caller) }
}

/// Labels of what a caller asks, when the inbound record hasn't come.
pub(crate) fn unjudged_labels(data: &Data, caller: &Party) -> Labels {
    let own = data.own_party();
    let service = ServiceName { host: own.app.clone(), name: own.app.clone(), namespace: own.namespace.clone() };
    let (reporter, source) = (Reporter::Destination, caller.clone());
    let security = if caller.principal.is_some() { "mutual_tls" } else { "none" };
    Labels { reporter, source, destination: own, service, protocol: "http", security }
}

pub(super) fn own_service(inbound: &Inbound) -> ServiceName {
    let (name, namespace) = (&inbound.service, inbound.workload.namespace());
    ServiceName {
        host: format!("{name}.{namespace}.svc.{}", inbound.identity.trust_domain()).into(),
        name: name.as_str().into(),
        namespace: namespace.into(),
    }
}
