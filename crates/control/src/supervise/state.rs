//! Which programs should run, which do, and what is to be done about the difference. Pure: time is passed in,
//! and what is to be done is returned.
//!
//! ```text
//!            start                    ended                  its time has come
//! (nothing) -------> running ------------------> waiting ------------------------> (nothing)
//!                      |      as `restart` says     | a new text of it
//!                      | removed, or replaced       v
//!                      +---> leaving        finished: `restart` says no
//!                               | callers have heard of it
//!                               +---> stopping
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weft_resources::{Restart, Workload};

use crate::idle::{Idle, Outcome};
use crate::owner::{Owner, Place};
use crate::registry::Readiness;

/// When something happened: since the supervisor began.
pub(crate) type Time = Duration;

/// All programs of the folder.
#[derive(Debug, Default)]
pub(crate) struct State {
    wanted: BTreeMap<Place, Wanted>,
    running: Vec<Instance>,
    pauses: BTreeMap<Place, Pause>,
}

/// What should stand at a place: one replica of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    workload: Workload,
    revision: u64,
}

/// A launcher that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instance {
    pid: u32,
    owner: Owner,
    began: Time,
    readiness: Readiness,
    /// Since when nobody is to call it any more.
    leaving: Option<Time>,
    /// When it was asked to end, if it was.
    stopping: Option<Time>,
    /// Nobody wants it any more since then.
    unwanted: Option<Time>,
}

/// A place at which nothing runs, for now or for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    revision: u64,
    failures: u32,
    until: Option<Time>,
    outcome: Outcome,
}

/// What stands at a place.
enum Standing {
    /// Nothing.
    Nothing,
    /// What is wanted, ready; and launchers that needn't be there.
    Done(Vec<u32>),
    /// An older text of the workload.
    Older(Vec<u32>),
    /// What is wanted and not ready yet, or what hasn't ended yet.
    Between,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a launcher, and tell its pid by [`State::started`].
    Start(Owner, Box<Workload>),
    /// Have callers of this launcher's program go elsewhere.
    Withdraw(u32),
    /// Ask this launcher to end its program.
    Stop(u32),
    /// End it.
    Kill(u32),
}

impl State {
    /// What the folder says from now on. `revision` tells whether a workload's text has changed.
    pub(crate) fn want(&mut self, workloads: &[Workload], revision: impl Fn(&Workload) -> u64) {
        self.wanted.clear();
        for workload in workloads {
            for index in 0..workload.replicas {
                let place = Place::new(&workload.namespace, &workload.name, index);
                self.wanted.insert(place, Wanted { workload: workload.clone(), revision: revision(workload) });
            }
        }
        let wanted = &self.wanted;
        self.pauses.retain(|place, pause| wanted.get(place).is_some_and(|wanted| wanted.revision == pause.revision));
    }

    /// A launcher was started.
    pub(crate) fn started(&mut self, pid: u32, owner: Owner, now: Time) {
        let readiness = Readiness::Starting;
        let instance = Instance { pid, owner, began: now, readiness, leaving: None, stopping: None, unwanted: None };
        self.running.push(instance);
    }

    /// A launcher is registered; one that an earlier control plane started is taken over.
    pub(crate) fn seen(&mut self, pid: u32, owner: &Owner, readiness: Readiness, now: Time) {
        match self.running.iter_mut().find(|instance| instance.pid == pid) {
            Some(instance) => instance.readiness = readiness,
            None => {
                self.started(pid, owner.clone(), now);
                self.seen(pid, owner, readiness, now);
            }
        }
    }

    /// A launcher has ended.
    pub(crate) fn ended(&mut self, pid: u32, outcome: Outcome, now: Time) {
        let Some(at) = self.running.iter().position(|instance| instance.pid == pid) else { return };
        let Instance { owner, began, leaving, stopping, .. } = self.running.swap_remove(at);
        let Some(wanted) = self.wanted.get(&owner.place).filter(|wanted| wanted.revision == owner.revision) else {
            return;
        };
        if leaving.or(stopping).is_some() {
            return;
        }
        let again = match wanted.workload.restart {
            Restart::Always => true,
            Restart::OnFailure => outcome != Outcome::Code(0),
            Restart::Never => false,
        };
        let lasted = now.saturating_sub(began) >= LASTED;
        let before = self.pauses.get(&owner.place).map_or(0, |pause| pause.failures);
        let failures = if lasted { 1 } else { before + 1 };
        let until = again.then(|| now + pause(failures));
        let pause = Pause { revision: owner.revision, failures, until, outcome };
        self.pauses.insert(owner.place, pause);
    }

    /// What is to be done now. Starts are to be told by [`State::started`] before it is asked again.
    pub(crate) fn act(&mut self, now: Time) -> Vec<Action> {
        let mut actions = self.end_unwanted(now);
        actions.extend(self.stop_each(&self.left(now), now));
        let mut changed = BTreeSet::new();
        for (place, wanted) in self.wanted.clone() {
            let start = |place: Place, wanted: Wanted| {
                Action::Start(Owner { place, revision: wanted.revision }, Box::new(wanted.workload))
            };
            match self.standing(&place) {
                Standing::Nothing if self.may_start(&place, now) => actions.push(start(place, wanted)),
                Standing::Done(surplus) => actions.extend(self.withdraw_each(&surplus, now)),
                // One place after the other, so that a bad text doesn't take all down.
                Standing::Older(older) if self.others_are_settled(&place) && changed.insert(place.service()) => {
                    // A port of the host is one program's at a time.
                    if wanted.workload.ports.iter().any(|port| port.publish.is_some()) {
                        actions.extend(self.stop_each(&older, now));
                    } else if self.may_start(&place, now) {
                        actions.push(start(place, wanted));
                    }
                }
                Standing::Nothing | Standing::Between | Standing::Older(_) => {}
            }
        }
        actions
    }

    /// When it is worth asking again, if nothing else happens. What is due already waits for something else.
    pub(crate) fn next(&self, now: Time) -> Option<Time> {
        let pauses = self.pauses.values().filter_map(|pause| pause.until);
        let ends = self.running.iter().filter_map(|instance| {
            let stopping = instance.stopping.map(|since| since + KILL_AFTER);
            let leaving = instance.leaving.map(|since| since + LEAVE);
            stopping.or(leaving).or(instance.unwanted.map(|since| since + GRACE))
        });
        pauses.chain(ends).filter(|time| *time > now).min()
    }

    /// Nothing is wanted any more: asks all to end.
    pub(crate) fn stop_all(&mut self, now: Time) -> Vec<Action> {
        self.wanted.clear();
        let pids: Vec<u32> = self.pids().collect();
        self.stop_each(&pids, now)
    }

    /// The launchers that run.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.running.iter().map(|instance| instance.pid)
    }

    /// Places at which nothing runs though a workload wants it, or did.
    pub(crate) fn idle(&self, now: Time) -> Vec<Idle> {
        let idle = |(place, pause): (&Place, &Pause)| {
            let command = self.wanted.get(place)?.workload.command.clone();
            let wait = pause.until.map(|until| until.saturating_sub(now));
            Some(Idle { place: place.clone(), outcome: pause.outcome, wait, command })
        };
        self.pauses.iter().filter(|(place, _)| !self.runs(place)).filter_map(idle).collect()
    }

    fn end_unwanted(&mut self, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        for instance in &mut self.running {
            let is_wanted = self.wanted.contains_key(&instance.owner.place);
            instance.unwanted = if is_wanted { None } else { instance.unwanted.or(Some(now)) };
            if let Some(since) = instance.stopping.filter(|since| now >= *since + KILL_AFTER) {
                actions.push(Action::Kill(instance.pid));
                // Not each time it is asked; a process that can't be killed yet is tried again later.
                instance.stopping = Some(since + KILL_AFTER);
            }
        }
        // Whoever edits a file may remove it for a moment.
        let is_over = |instance: &&Instance| instance.unwanted.is_some_and(|since| now >= since + GRACE);
        let gone: Vec<u32> = self.running.iter().filter(is_over).map(|instance| instance.pid).collect();
        actions.extend(self.withdraw_each(&gone, now));
        actions
    }

    /// Those whose callers have had their time to go elsewhere.
    fn left(&self, now: Time) -> Vec<u32> {
        let has_left = |instance: &&Instance| instance.leaving.is_some_and(|since| now >= since + LEAVE);
        self.running.iter().filter(has_left).map(|instance| instance.pid).collect()
    }

    /// What stands at a place that is wanted.
    fn standing(&self, place: &Place) -> Standing {
        let revision = self.wanted.get(place).map(|wanted| wanted.revision);
        let at_place = || self.running.iter().filter(|instance| instance.owner.place == *place);
        let staying = || at_place().filter(|instance| instance.leaving.or(instance.stopping).is_none());
        let pids = |instances: Vec<&Instance>| instances.into_iter().map(|instance| instance.pid).collect();
        let (new, older): (Vec<_>, Vec<_>) = staying().partition(|instance| Some(instance.owner.revision) == revision);
        match new.iter().position(|instance| instance.readiness == Readiness::Ready) {
            Some(ready) => {
                let surplus = new.into_iter().enumerate().filter(|(at, _)| *at != ready).map(|(_, instance)| instance);
                Standing::Done(pids(surplus.chain(older).collect()))
            }
            None if !new.is_empty() => Standing::Between,
            None if !older.is_empty() => Standing::Older(pids(older)),
            None if at_place().next().is_some() => Standing::Between,
            None => Standing::Nothing,
        }
    }

    /// Whether no other place of the same workload is on its way from one text to the next.
    fn others_are_settled(&self, place: &Place) -> bool {
        let others = self.wanted.keys().filter(|other| other.service() == place.service() && *other != place);
        others.into_iter().all(|other| match self.standing(other) {
            Standing::Done(leaving) => leaving.is_empty(),
            Standing::Older(_) => true,
            Standing::Nothing | Standing::Between => false,
        })
    }

    fn may_start(&self, place: &Place, now: Time) -> bool {
        self.pauses.get(place).is_none_or(|pause| pause.until.is_some_and(|until| now >= until))
    }

    fn runs(&self, place: &Place) -> bool {
        self.running.iter().any(|instance| instance.owner.place == *place)
    }

    fn withdraw_each(&mut self, pids: &[u32], now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        for instance in self.running.iter_mut().filter(|instance| pids.contains(&instance.pid)) {
            if instance.leaving.or(instance.stopping).is_none() {
                instance.leaving = Some(now);
                actions.push(Action::Withdraw(instance.pid));
            }
        }
        actions
    }

    fn stop_each(&mut self, pids: &[u32], now: Time) -> Vec<Action> {
        pids.iter().filter_map(|pid| self.stop(*pid, now)).collect()
    }

    fn stop(&mut self, pid: u32, now: Time) -> Option<Action> {
        let instance = self.running.iter_mut().find(|instance| instance.pid == pid && instance.stopping.is_none())?;
        instance.stopping = Some(now);
        Some(Action::Stop(pid))
    }
}

/// After the first failure half a second, then twice as long each time, half a minute at most.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(6);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// One that ran so long didn't fail at its start: the next pause is the first one's.
const LASTED: Duration = Duration::from_secs(30);
/// What stands nowhere any more is ended after this time.
const GRACE: Duration = Duration::from_millis(500);
/// A program that is to end goes on for so long after its callers were told to go elsewhere: what they had asked for by
/// then is answered. They hear of it within milliseconds.
const LEAVE: Duration = Duration::from_secs(1);
/// A program that is asked to end gets this long.
pub(crate) const KILL_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
