//! From what the watches tell to the mesh: each change costs what it changes. The model says which
//! inputs are others than before; they are compiled and sent by the mesh.

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tracing::{info, warn};
use weft_control::{Mesh, Shared};

use super::health::Health;
use crate::model::{Changes, Cluster};
use crate::watch::Told;
use crate::watched::Watched;

/// Follows the cluster.
pub(crate) struct Follower {
    pub(crate) watched: Watched,
    pub(crate) shared: Shared,
    pub(crate) health: Health,
}

impl Follower {
    /// Takes in what the watches tell, until everything ends.
    pub(crate) async fn run(self, watching: JoinSet<()>, mut events: Receiver<Told>) {
        let mut batch = Vec::new();
        let mut news = self.health.news();
        loop {
            tokio::select! {
                count = events.recv_many(&mut batch, MAX_BATCH) => match count {
                    0 => return,
                    _ => self.take(&mut batch),
                },
                // Whoever asks what is wrong with the mesh is told of this, too. The sender lives in `self`.
                _ = news.changed() => self.tell_problems(),
                () = self.shared.ending() => return drop(watching),
            }
        }
    }

    fn take(&self, batch: &mut Vec<Told>) {
        let (unlisted, changes) = self.watched.change(|cluster| {
            for told in batch.drain(..) {
                match told {
                    Told::Event(event) => cluster.apply(event),
                    Told::Broken(kind, reason) => self.broken(&kind.to_string(), reason),
                    Told::Mended(kind) => self.mended(&kind.to_string()),
                }
            }
            let unlisted = cluster.unlisted();
            // A part of the cluster would be a mesh with holes: all of it, or nothing yet.
            let changes = unlisted.is_empty().then(|| cluster.changes());
            (unlisted, changes)
        });
        if let Some(changes) = changes {
            self.watched.look(|cluster| self.shared.with(|mesh| publish(cluster, mesh, &changes, &self.health)));
        }
        let names: Vec<String> = unlisted.iter().map(ToString::to_string).collect();
        self.health.unlisted(Some(names.join(", ")).filter(|names| !names.is_empty()));
    }

    fn tell_problems(&self) {
        if self.watched.look(|cluster| cluster.unlisted().is_empty()) {
            let only = Changes { policies: true, ..Changes::default() };
            self.watched.look(|cluster| self.shared.with(|mesh| publish(cluster, mesh, &only, &self.health)));
        }
    }

    fn broken(&self, what: &str, reason: String) {
        if self.health.broken(what, reason.clone()) {
            warn!(what, reason, "not followed now: what is known of them stands");
        }
    }

    fn mended(&self, what: &str) {
        if self.health.mended(what) {
            info!(what, "followed again");
        }
    }
}

/// Policies first, then workloads, then services: so each record is compiled once.
fn publish(cluster: &Cluster, mesh: &mut Mesh, changes: &Changes, health: &Health) {
    if changes.policies {
        let (resources, mut problems) = cluster.resources();
        problems.extend(health.problems());
        mesh.replace_policies(resources, problems);
    }
    for id in &changes.ended {
        mesh.remove_workload(id);
    }
    for id in &changes.workloads {
        match cluster.workload(id) {
            Some(workload) => mesh.put_workload(workload),
            None => mesh.remove_workload(id),
        }
    }
    for name in &changes.services {
        match cluster.service(name) {
            Some(service) => mesh.put_service(service),
            None => mesh.remove_service(&name.namespace, &name.name),
        }
    }
}

/// Events that are taken in at once, so that a burst compiles each record once.
const MAX_BATCH: usize = 512;
