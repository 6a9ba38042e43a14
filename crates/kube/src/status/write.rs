//! Writes the status of policies where it is another than before: the edge of status. Server-side
//! apply, under a field manager of its own.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};
use tracing::warn;
use weft_control::{Mesh, Shared};
use weft_mesh::WorkloadId;
use weft_resources::Problem;

use super::scope::Scopes;
use super::{Condition, Subject, conditions, is_told};
use crate::client::failed;
use crate::controller::Health;
use crate::model::policy::{Policy, PolicyKind};
use crate::model::{Cluster, Name};
use crate::names::CONTROLLER;
use crate::watched::Watched;

/// Keeps the status of all policies true, until everything ends.
pub(crate) async fn run(client: Client, watched: Watched, shared: Shared, health: Health) {
    let mut changes = watched.changes();
    changes.mark_changed();
    let mut writer = Writer { client, health, written: HashMap::new() };
    let mut current = BTreeSet::new();
    loop {
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = shared.ending() => return,
        }
        let before = mem::replace(&mut current, shared.with(|mesh| mesh.current()));
        // The sender lives in `watched`.
        let is_news = writer.forgets() || before != current || changes.has_changed().unwrap_or_default();
        let Some(now) = now().filter(|_| is_news) else { continue };
        changes.mark_unchanged();
        let untold = watched.look(|cluster| shared.with(|mesh| untold(cluster, mesh, &current, &now)));
        if untold.is_empty() {
            // Nothing is left that couldn't be written: it may have gone.
            writer.health.mended(STATUS);
        }
        for (key, conditions) in untold {
            writer.write(key, conditions).await;
        }
    }
}

/// RFC 3339, whole seconds.
fn now() -> Option<String> {
    OffsetDateTime::now_utc().replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}

type Key = (PolicyKind, Name);

/// The conditions that no status holds yet.
fn untold(cluster: &Cluster, mesh: &Mesh, current: &BTreeSet<WorkloadId>, now: &str) -> Vec<(Key, Vec<Condition>)> {
    let scopes = Scopes::of(mesh);
    let of = |(key, policy): (&Key, &Policy)| {
        let origin = format!("{} {}", key.0.as_str(), key.1);
        let problems: Vec<&Problem> = mesh.policy_problems().iter().filter(|problem| problem.file == origin).collect();
        let selected = scopes.selected(&policy.parsed.resources, current);
        let (generation, resources) = (policy.generation, &*policy.parsed.resources);
        let subject = Subject { generation, resources, problems: &problems, selected: &selected };
        let conditions = conditions(subject, &policy.conditions, now);
        (!is_told(&conditions, &policy.conditions)).then(|| (key.clone(), conditions))
    };
    cluster.policies().filter_map(of).collect()
}

struct Writer {
    client: Client,
    health: Health,
    /// What was written lately: the watch may not have told of it yet.
    written: HashMap<Key, (Instant, Vec<Condition>)>,
}

impl Writer {
    async fn write(&mut self, key: Key, conditions: Vec<Condition>) {
        let same = |(_, written): &(Instant, Vec<Condition>)| states(written).eq(states(&conditions));
        if self.written.get(&key).is_some_and(same) {
            return;
        }
        match self.patch(&key, &conditions).await {
            Ok(()) => {
                self.health.mended(STATUS);
            }
            // It has gone meanwhile, or its definition, of which the watch tells.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                let reason = failed("write the status of policies", &error).to_string();
                if self.health.broken(STATUS, reason.clone()) {
                    warn!(kind = key.0.as_str(), name = %key.1, reason, "a status can't be written");
                }
            }
        }
        self.written.insert(key, (Instant::now(), conditions));
    }

    /// Forgets what was written a while ago; whether there was any, which may have to be written again.
    fn forgets(&mut self) -> bool {
        let count = self.written.len();
        self.written.retain(|_, (at, _)| at.elapsed() < PATIENCE);
        self.written.len() < count
    }

    async fn patch(&self, (kind, name): &Key, conditions: &[Condition]) -> Result<(), kube::Error> {
        let mut last = None;
        for version in PolicyKind::VERSIONS {
            let resource = kind.resource(version);
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
            let body = json!({
                "apiVersion": resource.api_version, "kind": resource.kind,
                "metadata": {"name": name.name}, "status": {"conditions": conditions},
            });
            let params = PatchParams::apply(CONTROLLER).force();
            match api.patch_status(&name.name, &params, &Patch::Apply(&body)).await {
                Ok(_) => return Ok(()),
                // Perhaps it isn't served in this version.
                Err(kube::Error::Api(status)) if status.code == 404 => last = Some(kube::Error::Api(status)),
                Err(error) => return Err(error),
            }
        }
        last.map_or(Ok(()), Err)
    }
}

/// Conditions without the times at which they came.
fn states(conditions: &[Condition]) -> impl Iterator<Item = (&str, &str, &str, i64)> {
    conditions.iter().map(|c| (c.kind, c.reason, c.message.as_str(), c.observed_generation))
}

/// What is wrong with writing is told under this name.
const STATUS: &str = "status";
/// How often acknowledgements are looked at; no call of the API server is made when nothing differs.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a write may take to come back by the watch.
const PATIENCE: Duration = Duration::from_secs(10);
