//! Changes in the cluster, and how long it takes until the last proxy that they concern runs what
//! follows from them: from the moment at which the change is sent to the API server.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use weft_mesh::record::MtlsMode;
use weft_proxy::records::Update;

use crate::api::{Failure, Outcome};
use crate::cluster::Cluster;
use crate::controller::Controller;
use crate::fleet::{Expected, Fleet, Seen};
use crate::objects::edition_path;
use crate::plan::Pod;
use crate::report::Row;
use crate::wire::Sent;

/// A settled mesh.
pub(crate) struct Scene<'s> {
    pub(crate) cluster: &'s Cluster,
    pub(crate) controller: &'s Controller,
    pub(crate) fleet: &'s mut Fleet,
}

/// How often each change is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) endpoint: usize,
    pub(crate) policy: usize,
    pub(crate) mesh_wide: usize,
    pub(crate) rolled: usize,
}

impl Scene<'_> {
    /// All changes, one kind after another.
    pub(crate) async fn all(&mut self, rounds: Rounds) -> Outcome<Vec<Row>> {
        Ok(vec![
            self.endpoints(rounds.endpoint).await?,
            self.policies(rounds.policy).await?,
            self.mesh_wide(rounds.mesh_wide).await?,
            self.rollout(rounds.rolled).await?,
        ])
    }

    /// One pod of a Service goes unready, or ready again.
    async fn endpoints(&mut self, rounds: usize) -> Outcome<Row> {
        let plan = self.cluster.plan;
        let mut row = Row::new("one endpoint goes unready, or ready again");
        for round in 0..rounds {
            let service = (round / 2) * SPREAD % plan.services;
            let pods: Vec<Pod> = plan.pods_of(service).collect();
            let unready = round.is_multiple_of(2).then_some(pods[0]);
            let (host, address) = (plan.host(service), IpAddr::from(pods[0].address()));
            let begun = self.begin()?;
            self.cluster.patch_endpoints(service, &pods, unready).await?;
            let wanted = unready.is_none();
            let holds = Box::new(move |update: &Update| serves(update, &host, address) == Some(wanted));
            let expected = Expected { proxies: plan.callers_of(service), since: begun.at, holds };
            self.end(begun, &[expected], &mut row).await?;
        }
        Ok(row)
    }

    /// An AuthorizationPolicy of all pods of a namespace changes.
    async fn policies(&mut self, rounds: usize) -> Outcome<Row> {
        let plan = self.cluster.plan;
        let mut row = Row::new("a policy of one namespace");
        for round in 1..=rounds {
            let namespace = round % plan.meshed_namespaces();
            let path = edition_path(round);
            let begun = self.begin()?;
            self.cluster.patch_policy(namespace, round).await?;
            let holds = Box::new(move |update: &Update| match update {
                Update::Inbound(inbound) => format!("{:?}", inbound.policies).contains(&path),
                _ => false,
            });
            let expected = Expected { proxies: plan.proxies_in(namespace), since: begun.at, holds };
            self.end(begun, &[expected], &mut row).await?;
        }
        Ok(row)
    }

    /// The mesh's own PeerAuthentication changes.
    async fn mesh_wide(&mut self, rounds: usize) -> Outcome<Row> {
        let mut row = Row::new("the whole mesh's PeerAuthentication");
        for round in 0..rounds {
            let (name, mode) = [("STRICT", MtlsMode::Strict), ("PERMISSIVE", MtlsMode::Permissive)][round % 2];
            let begun = self.begin()?;
            self.cluster.patch_mesh_wide(name).await?;
            let holds = Box::new(move |update: &Update| match update {
                Update::Inbound(inbound) => inbound.peer_authentication.default.mode == mode,
                _ => false,
            });
            let proxies = (0..self.cluster.plan.proxies).collect();
            let expected = Expected { proxies, since: begun.at, holds };
            self.end(begun, &[expected], &mut row).await?;
        }
        Ok(row)
    }

    /// Pods are replaced one after another, as fast as the API server takes it, in Services outside the
    /// mesh: each step makes a pod, puts it in the old one's place, and takes the old one away.
    async fn rollout(&mut self, rolled: usize) -> Outcome<Row> {
        let plan = self.cluster.plan;
        let mut row = Row::new("a rolling change of pods, for each that is replaced");
        let services = rolled.div_ceil(plan.pods_of_a_service());
        let mut expected = Vec::new();
        let begun = self.begin()?;
        for service in plan.services - services..plan.services {
            let mut pods: Vec<Pod> = plan.pods_of(service).collect();
            for at in 0..pods.len() {
                let (old, new) = (pods[at], pods[at].successor());
                self.cluster.start(new).await?;
                pods[at] = new;
                let (host, address, since) = (plan.host(service), IpAddr::from(new.address()), Instant::now());
                self.cluster.patch_endpoints(service, &pods, None).await?;
                self.cluster.delete(old).await?;
                let holds = Box::new(move |update: &Update| serves(update, &host, address) == Some(true));
                expected.push(Expected { proxies: plan.callers_of(service), since, holds });
            }
        }
        self.end(begun, &expected, &mut row).await?;
        Ok(row)
    }

    fn begin(&self) -> Outcome<Begun> {
        Ok(Begun { sent: Sent::now()?, cpu_ns: self.controller.cost()?.cpu_ns, at: Instant::now() })
    }

    /// Waits for what is expected, and notes what it took.
    async fn end(&mut self, begun: Begun, expected: &[Expected], row: &mut Row) -> Outcome<()> {
        let concerned: BTreeSet<usize> = expected.iter().flat_map(|change| change.proxies.iter().copied()).collect();
        let Seen { last, touched } = self.fleet.watch(expected).await?;
        if touched != concerned {
            let why = format!("{} proxies were told, {} are concerned", touched.len(), concerned.len());
            return Err(Failure::new(row.name, why));
        }
        let cpu_ns = self.controller.cost()?.cpu_ns - begun.cpu_ns;
        let address = |proxy: &usize| IpAddr::from(Pod { index: *proxy, generation: 0 }.address());
        let bytes = Sent::now()?.since(&begun.sent, &concerned.iter().map(address).collect());
        row.add(&last, concerned.len(), bytes, Duration::from_nanos(cpu_ns));
        Ok(())
    }
}

/// What was counted when a change began.
struct Begun {
    sent: Sent,
    cpu_ns: u64,
    at: Instant,
}

/// Whether a destination is served at an address, if the update is of that destination.
fn serves(update: &Update, host: &str, address: IpAddr) -> Option<bool> {
    match update {
        Update::Destination(destination) if destination.host == host => {
            Some(destination.endpoints.iter().any(|endpoint| endpoint.address == address))
        }
        _ => None,
    }
}

/// A prime, so that Services of all namespaces have their turn.
const SPREAD: usize = 37;
