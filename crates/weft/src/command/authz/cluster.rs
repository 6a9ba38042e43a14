//! A cluster, asked for what governs its pods: with the user's own rights, not the controller's.

use weft_kube::explain::{Pods, View};
use weft_mesh::SpiffeId;
use weft_mesh::record::Inbound;

use crate::access::{Access, told};
use crate::args::{Callee, Caller, ExplainArgs, Resources, Target};
use crate::failure::{Context, Failure};

/// Who calls, and the records of those who are called.
pub(super) struct Found {
    pub(super) caller: Option<SpiffeId>,
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
        let (namespace, pods) = called(&usual, &args.to);
        let read = View::read(&cluster.client, &access.namespace, &namespace).await;
        let mut view = read.map_err(|error| told(&error))?;
        let (mut inbounds, problems) = view.inbounds(&namespace, &pods);
        if let (true, Callee::Target(target)) = (inbounds.is_empty(), &args.to)
            && let Some(name) = target.name()
        {
            // A pod's own name is taken too.
            inbounds = view.inbounds(&namespace, &Pods::Named(name.to_owned())).0;
        }
        if inbounds.is_empty() {
            let hint = format!("list those that there are: kubectl get pods -n {namespace} --show-labels");
            return Err(Failure::new(format!("no running pods of {} in {namespace}", args.to)).hint(hint));
        }
        if usual != namespace && matches!(args.from, Some(Caller::Resource(_))) {
            view.read_pods(&cluster.client, &usual).await.map_err(|error| told(&error))?;
        }
        let caller = args.from.as_ref().map(|caller| calling(&view, &usual, caller)).transpose()?;
        Ok(Found { caller, inbounds, problems })
    })
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

fn calling(view: &View, namespace: &str, caller: &Caller) -> Result<SpiffeId, Failure> {
    match caller {
        Caller::Identity(identity) => Ok(identity.clone()),
        Caller::Account { namespace, name } => {
            SpiffeId::new(view.trust_domain(), namespace, name).context(format!("--from {namespace}/{name}"))
        }
        Caller::Resource(resources) => match view.identities(namespace, &pods(resources)).as_slice() {
            [identity] => Ok(identity.clone()),
            [] => Err(Failure::new(format!("no running pods of {resources} in {namespace}"))),
            _ => Err(Failure::new(format!("{resources} in {namespace}: its pods have different accounts"))
                .hint("name one of them: --from po/NAME")),
        },
    }
}
