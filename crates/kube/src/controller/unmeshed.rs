//! Tells of pods that should have a proxy and run without one: an event on each, and their number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::time::sleep;
use weft_control::Shared;

use crate::events::Events;
use crate::inject::Unmeshed;
use crate::watched::Watched;
use crate::webhook::Metrics;

/// Follows the cluster until everything ends.
pub(crate) async fn run(
    client: Client,
    watched: Watched,
    shared: Shared,
    (namespace, metrics): (String, Arc<Metrics>),
) {
    let (events, posting) = Events::new(client);
    tokio::select! {
        () = tell(&watched, &events, &namespace, &metrics) => {}
        () = posting => {}
        () = shared.ending() => {}
    }
}

async fn tell(watched: &Watched, events: &Events, namespace: &str, metrics: &Metrics) {
    let mut changes = watched.changes();
    let mut known: BTreeSet<Unmeshed> = BTreeSet::new();
    loop {
        let found = watched.look(|cluster| cluster.unlisted().is_empty().then(|| cluster.unmeshed(namespace)));
        if let Some(found) = found {
            for pod in found.difference(&known) {
                tracing::warn!(
                    namespace = pod.namespace,
                    pod = pod.name,
                    "a pod should have a proxy and runs without one"
                );
                if events.proxy_missing(pod).is_err() {
                    metrics.event_dropped();
                }
            }
            metrics.set_unmeshed(found.len());
            known = found;
        }
        // A rollout is one look.
        sleep(PAUSE).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// A pod that is about to be replaced, or a namespace that is set up, settles meanwhile.
const PAUSE: Duration = Duration::from_secs(5);
