//! A cluster, asked for what governs its pods: with the user's own rights, not the controller's.

use std::net::IpAddr;

use weft_kube::explain::{Pods, View};
use weft_mesh::SpiffeId;
use weft_mesh::record::Inbound;

use super::question::usual_port;
use crate::access::{Access, told};
use crate::args::{Callee, Caller, ExplainArgs, Resources, Target};
use crate::failure::{Context, Failure};

/// Who calls, and the records of those who are called.
pub(super) struct Found {
    pub(super) caller: Option<SpiffeId>,
    /// From where, unless the user says so.
    pub(super) address: Option<IpAddr>,
    pub(super) inbounds: Vec<Inbound>,
    /// What is wrong with the policies.
    pub(super) problems: Vec<String>,
}

/// Reads what a question is about.
///
/// # Errors
/// When the API server doesn't tell, or there are no such pods.
pub(super) fn find(access: &Access, args: &ExplainArgs) -> Result<Found, Failure> {
    crate::runtime::of_this_thread()?.block_on(async {
        let cluster = access.cluster().await?;
        let usual = args.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
        let (namespace, mut meant) = called(&usual, &args.to);
        let read = View::read(&cluster.client, &access.namespace, &namespace).await;
        let mut view = read.map_err(|error| told(&error))?;
        let (mut inbounds, mut problems) = view.inbounds(&namespace, &meant);
        if let (true, Callee::Target(target)) = (inbounds.is_empty(), &args.to)
            && let Some(name) = target.name()
        {
            // A pod's own name is taken too.
            meant = Pods::Named(name.to_owned());
            (inbounds, problems) = view.inbounds(&namespace, &meant);
        }
        if inbounds.is_empty() {
            let hint = format!("list those that there are: kubectl get pods -n {namespace} --show-labels");
            return Err(Failure::new(format!("no running pods of {} in {namespace}", args.to)).hint(hint));
        }
        if usual != namespace && matches!(args.from, Some(Caller::Resource(_))) {
            view.read_pods(&cluster.client, &usual).await.map_err(|error| told(&error))?;
        }
        let caller = args.from.as_ref().map(|caller| calling(&view, &usual, caller)).transpose()?.flatten();
        if let (Some(Caller::Resource(resources)), None) = (&args.from, &caller) {
            problems.push(format!("warning: {resources} has no proxy: it calls without an identity"));
        }
        let port = args.port.unwrap_or_else(|| usual_port(&inbounds));
        if let (None, Some(pod)) = (&caller, view.reached_directly(&namespace, &meant, port)) {
            let text =
                format!("warning: who has no proxy reaches port {port} of {pod} directly, whatever policies say");
            problems.push(text);
        }
        let address = address(&view, &usual, args.from.as_ref(), &inbounds);
        Ok(Found { caller, address, inbounds, problems })
    })
}

/// The address of the pod that calls. Whoever else calls is likely to be in the cluster, as the callee is.
fn address(view: &View, namespace: &str, caller: Option<&Caller>, inbounds: &[Inbound]) -> Option<IpAddr> {
    let own = match caller {
        Some(Caller::Resource(resources)) => view.addresses(namespace, &pods(resources)),
        _ => Vec::new(),
    };
    own.into_iter().chain(inbounds.iter().flat_map(|inbound| inbound.addresses.iter().copied())).next()
}

fn called(usual: &str, callee: &Callee) -> (String, Pods) {
    match callee {
        Callee::Target(Target { namespace, labels }) => (namespace.clone(), Pods::Labelled(labels.clone())),
        Callee::Resource(resources) => (usual.to_owned(), pods(resources)),
    }
}

fn pods(resources: &Resources) -> Pods {
    let name = resources.name.clone().unwrap_or_default();
    match resources.kind {
        "Pod" => Pods::Named(name),
        "Service" => Pods::Behind(name),
        kind => Pods::Of { kind: kind.to_owned(), name },
    }
}

fn calling(view: &View, namespace: &str, caller: &Caller) -> Result<Option<SpiffeId>, Failure> {
    match caller {
        Caller::Identity(identity) => Ok(Some(identity.clone())),
        Caller::Account { namespace, name } => {
            SpiffeId::new(view.trust_domain(), namespace, name).map(Some).context(format!("--from {namespace}/{name}"))
        }
        Caller::Resource(resources) => match view.identities(namespace, &pods(resources)).as_slice() {
            [identity] => Ok(identity.clone()),
            [] => Err(Failure::new(format!("no running pods of {resources} in {namespace}"))),
            _ => {
                Err(Failure::new(format!("{resources} in {namespace}: its pods aren't all the same to whom they call"))
                    .hint("name one of them: --from po/NAME"))
            }
        },
    }
}
