//! Starts the programs that the folder names and keeps them running. `state` decides, this does: each program is
//! a `weft run` of its own, which outlives a control plane that is killed, and is taken over by the next.

mod launcher;
mod state;

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use weft_resources::Workload;

use crate::hash::fnv1a;
use crate::idle::Outcome;
use crate::machine::Machine;
use crate::owner::Owner;
use crate::registry::Readiness;
use crate::shared::Phase;
pub(crate) use launcher::Launcher;
use state::{Action, KILL_AFTER, State, Time};

/// Keeps the folder's programs running.
pub(crate) struct Supervisor {
    machine: Machine,
    launcher: Launcher,
    wanted: watch::Receiver<Vec<Workload>>,
    state: State,
    children: JoinSet<(u32, Outcome)>,
    /// Those of the running launchers that this process started: only their end is seen here.
    own: BTreeSet<u32>,
    began: Instant,
    end: Arc<Notify>,
}

impl Supervisor {
    /// One that has started nothing yet.
    pub(crate) fn new(machine: Machine, launcher: Launcher, wanted: watch::Receiver<Vec<Workload>>) -> Self {
        Self {
            machine,
            launcher,
            wanted,
            state: State::default(),
            children: JoinSet::new(),
            own: BTreeSet::new(),
            began: Instant::now(),
            end: Arc::new(Notify::new()),
        }
    }

    /// Notified, it ends its programs and returns.
    pub(crate) fn end(&self) -> Arc<Notify> {
        Arc::clone(&self.end)
    }

    /// Works until it is told to end, or until all workloads are asked to stop: then nothing is started any more.
    pub(crate) async fn run(mut self) {
        let mut registrations = self.machine.registrations();
        let mut phase = self.machine.shared().phase();
        let end = self.end();
        self.look();
        self.want();
        while *phase.borrow_and_update() == Phase::Running {
            self.act();
            let now = self.now();
            let wait = self.state.next(now).map_or(KILL_AFTER, |next| next.saturating_sub(now));
            tokio::select! {
                () = end.notified() => return self.end_all().await,
                // The senders live in `machine`: they can't be gone.
                _ = phase.changed() => {}
                _ = registrations.changed() => self.look(),
                // Where the folder is followed no more, what is wanted stays.
                Ok(()) = self.wanted.changed() => self.want(),
                Some(ended) = self.children.join_next() => self.note_end(ended.ok()),
                () = sleep(wait) => {}
            }
        }
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    fn want(&mut self) {
        let workloads = self.wanted.borrow_and_update().clone();
        self.state.want(&workloads, revision);
    }

    /// Which launchers are registered. One that this process didn't start, and that is no more, has ended.
    fn look(&mut self) {
        let now = self.now();
        let registered: Vec<(u32, Owner, Readiness)> = self.machine.with(|plane, _| {
            let supervised = plane.workloads().filter_map(|workload| {
                let readiness = workload.launch.map_or(Readiness::Starting, |_| workload.readiness);
                Some((workload.spec.pid, workload.spec.owner.parse().ok()?, readiness))
            });
            supervised.collect()
        });
        for (pid, owner, readiness) in &registered {
            self.state.seen(*pid, owner, *readiness, now);
        }
        let is_gone = |pid: &u32| !self.own.contains(pid) && !registered.iter().any(|(known, ..)| known == pid);
        let gone: Vec<u32> = self.state.pids().filter(is_gone).collect();
        gone.into_iter().for_each(|pid| self.state.ended(pid, Outcome::Signal(None), now));
    }

    fn act(&mut self) {
        let now = self.now();
        let actions = self.state.act(now);
        actions.into_iter().for_each(|action| self.perform(action));
        self.machine.set_idle(self.state.idle(now));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(owner, workload) => self.start(owner, &workload),
            Action::Withdraw(pid) => self.machine.with(|plane, mesh| plane.withdraw(pid, mesh)),
            Action::Stop(pid) => send(pid, Signal::SIGTERM),
            Action::Kill(pid) => send(pid, Signal::SIGKILL),
        }
    }

    fn start(&mut self, owner: Owner, workload: &Workload) {
        let now = self.now();
        let started = self.launcher.start(&owner, workload);
        let child =
            started.and_then(|child| child.id().map(|pid| (pid, child)).ok_or_else(|| io::ErrorKind::NotFound.into()));
        match child {
            Ok((pid, child)) => {
                info!(%owner, pid, "started");
                self.own.insert(pid);
                self.state.started(pid, owner, now);
                self.children.spawn(wait(pid, child));
            }
            Err(error) => {
                warn!(%owner, %error, "expected to start weft run in the workload's folder");
                self.state.started(NOBODY, owner, now);
                self.state.ended(NOBODY, Outcome::Code(NOT_RUN), now);
            }
        }
    }

    fn note_end(&mut self, ended: Option<(u32, Outcome)>) {
        let Some((pid, outcome)) = ended else { return };
        info!(pid, ?outcome, "ended");
        self.own.remove(&pid);
        let now = self.now();
        self.state.ended(pid, outcome, now);
    }

    /// Ends all programs; those that don't are killed.
    async fn end_all(mut self) {
        let now = self.now();
        let actions = self.state.stop_all(now);
        actions.into_iter().for_each(|action| self.perform(action));
        let all = async { while self.children.join_next().await.is_some() {} };
        if timeout(KILL_AFTER, all).await.is_err() {
            self.own.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
        }
    }
}

/// What tells one text of a workload from another. How many replicas there are says nothing of each, nor does the name
/// of its file; where that stands does.
fn revision(workload: &Workload) -> u64 {
    let folder = workload.file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let text = format!("{:?}", Workload { replicas: 1, file: folder.to_owned(), ..workload.clone() });
    // The cast keeps the lower half.
    fnv1a(text.as_bytes()) as u64
}

async fn wait(pid: u32, mut child: Child) -> (u32, Outcome) {
    let outcome = match child.wait().await {
        Ok(status) => status.code().map_or(Outcome::Signal(status.signal()), Outcome::Code),
        Err(_) => Outcome::Signal(None),
    };
    (pid, outcome)
}

fn send(pid: u32, signal: Signal) {
    // It may have ended already. 0 would mean ourselves.
    if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 0) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// The pid of a launcher that never was.
const NOBODY: u32 = 0;
/// As shells have it.
const NOT_RUN: i32 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_renamed_and_replicas_added() {
        let text = "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {name: web}\nspec: {command: [web]}\n";
        let of = |file: &str, text: &str| revision(&weft_resources::parse(file, text.as_bytes()).workloads[0]);
        let more = text.replace("spec: {", "spec: {replicas: 3, ");
        assert_eq!((of("b.yaml", text), of("a.yaml", &more)), (of("a.yaml", text), of("a.yaml", text)));
        assert_ne!(of("sub/a.yaml", text), of("a.yaml", text), "it works in its file's folder");
        assert_ne!(of("a.yaml", &text.replace("[web]", "[web, -v]")), of("a.yaml", text));
    }
}
