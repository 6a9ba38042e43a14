use super::*;

/// A supervisor's state beside a machine that does what it says.
#[derive(Default)]
struct Machine {
    state: State,
    now: Time,
    next_pid: u32,
    started: Vec<(u32, Owner)>,
    withdrawn: Vec<u32>,
    stopped: Vec<u32>,
    killed: Vec<u32>,
}

fn workload(text: &str) -> Workload {
    let head = "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {name: web}\nspec: ";
    let parsed = weft_resources::parse("a.yaml", format!("{head}{text}\n").as_bytes());
    assert_eq!(parsed.problems, [], "{text}");
    parsed.workloads[0].clone()
}

impl Machine {
    fn want(&mut self, texts: &[&str]) {
        let workloads: Vec<Workload> = texts.iter().map(|text| workload(text)).collect();
        self.state.want(&workloads, |workload| workload.command[0].len() as u64);
        self.act();
    }

    fn act(&mut self) {
        for action in self.state.act(self.now) {
            match action {
                Action::Start(owner, _) => {
                    self.next_pid += 1;
                    self.state.started(self.next_pid, owner.clone(), self.now);
                    self.started.push((self.next_pid, owner));
                }
                Action::Withdraw(pid) => self.withdrawn.push(pid),
                Action::Stop(pid) => self.stopped.push(pid),
                Action::Kill(pid) => self.killed.push(pid),
            }
        }
    }

    fn ready(&mut self, pid: u32) {
        let owner = self.started.iter().find(|(started, _)| *started == pid).unwrap().1.clone();
        self.state.seen(pid, &owner, Readiness::Ready, self.now);
        self.act();
    }

    fn ended(&mut self, pid: u32, outcome: Outcome) {
        self.state.ended(pid, outcome, self.now);
        self.act();
    }

    fn wait(&mut self) -> Duration {
        let next = self.state.next(self.now).expect("something to wait for");
        let waited = next - self.now;
        self.now = next;
        self.act();
        waited
    }

    /// Who was withdrawn is stopped after a while, and not before.
    fn leave(&mut self, withdrawn: &[u32]) {
        let before = self.stopped.clone();
        assert!(self.withdrawn.ends_with(withdrawn), "{:?}", self.withdrawn);
        self.now += LEAVE - Duration::from_millis(1);
        self.act();
        assert_eq!(self.stopped, before);
        assert_eq!(self.wait(), Duration::from_millis(1));
        assert_eq!(self.stopped, [&before[..], withdrawn].concat());
    }

    fn running(&self) -> Vec<u32> {
        self.state.pids().collect()
    }
}

#[test]
fn as_many_run_as_are_wanted() {
    let mut machine = Machine::default();
    machine.want(&["{command: [a], replicas: 2}"]);
    assert_eq!(machine.running(), [1, 2]);
    machine.act();
    assert_eq!(machine.running(), [1, 2]);
    machine.want(&["{command: [a], replicas: 3}"]);
    assert_eq!((machine.running(), machine.stopped.len()), (vec![1, 2, 3], 0));
    machine.want(&["{command: [a], replicas: 1}"]);
    assert!(machine.stopped.is_empty(), "a file may be gone for a moment");
    assert_eq!(machine.wait(), Duration::from_millis(500));
    machine.leave(&[2, 3]);
    machine.want(&[]);
    machine.wait();
    machine.leave(&[1]);
    for pid in [1, 2, 3] {
        machine.ended(pid, Outcome::Signal(Some(15)));
    }
    assert_eq!((machine.running(), machine.state.next(machine.now)), (vec![], None));
}

#[test]
fn what_comes_back_at_once_is_not_ended() {
    let mut machine = Machine::default();
    machine.want(&["{command: [a]}"]);
    machine.want(&[]);
    machine.now += Duration::from_millis(100);
    machine.want(&["{command: [a]}"]);
    machine.now += Duration::from_secs(60);
    machine.act();
    assert_eq!((machine.running(), machine.stopped.len()), (vec![1], 0));
}

#[test]
fn pauses_grow_and_begin_anew_after_a_good_while() {
    let mut machine = Machine::default();
    machine.want(&["{command: [a]}"]);
    let mut pauses = Vec::new();
    for pid in 1..9 {
        machine.ended(pid, Outcome::Code(1));
        assert!(machine.running().is_empty());
        pauses.push(machine.wait().as_millis());
        assert_eq!(machine.running(), [pid + 1]);
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    machine.now += Duration::from_secs(40);
    machine.ended(9, Outcome::Code(1));
    assert_eq!(machine.wait(), FIRST_PAUSE);
}

#[test]
fn restart_says_who_begins_anew() {
    for (restart, outcome, again) in [
        ("Always", Outcome::Code(0), true),
        ("OnFailure", Outcome::Code(0), false),
        ("OnFailure", Outcome::Code(3), true),
        ("OnFailure", Outcome::Signal(None), true),
        ("Never", Outcome::Code(3), false),
    ] {
        let mut machine = Machine::default();
        let text = format!("{{command: [a], restart: {restart}}}");
        machine.want(&[&text]);
        machine.ended(1, outcome);
        assert_eq!(machine.state.next(machine.now).is_some(), again, "{restart} {outcome:?}");
        let idle = machine.state.idle(machine.now);
        assert_eq!((idle[0].outcome, idle[0].wait.is_some(), idle.len()), (outcome, again, 1));
        // Its text has changed: another chance.
        machine.want(&[&text.replace("[a]", "[bb]")]);
        assert_eq!(machine.running(), [2], "{restart} {outcome:?}");
    }
}

/// The new one is ready before the old one goes, and one place follows the other.
#[test]
fn a_new_text_replaces_the_old_one_place_after_place() {
    let mut machine = Machine::default();
    machine.want(&["{command: [a], replicas: 2}"]);
    machine.ready(1);
    machine.ready(2);
    machine.want(&["{command: [bb], replicas: 2}"]);
    assert_eq!((machine.running(), machine.stopped.len()), (vec![1, 2, 3], 0));
    machine.act();
    assert_eq!(machine.running(), [1, 2, 3], "not twice");
    machine.ready(3);
    machine.leave(&[1]);
    machine.ended(1, Outcome::Signal(Some(15)));
    assert_eq!(machine.started.last().unwrap().1.place.index, 1);
    machine.ready(4);
    machine.leave(&[2]);
    machine.ended(2, Outcome::Code(0));
    assert_eq!(machine.running().len(), 2);
}

#[test]
fn a_bad_text_leaves_the_old_one_running() {
    let mut machine = Machine::default();
    machine.want(&["{command: [a], replicas: 2}"]);
    machine.ready(1);
    machine.ready(2);
    machine.want(&["{command: [bb], replicas: 2}"]);
    for pid in [3, 4, 5] {
        machine.ended(pid, Outcome::Code(1));
        assert_eq!((machine.running(), machine.stopped.len()), (vec![1, 2], 0));
        machine.wait();
    }
    // The old text again: nothing has to change.
    machine.want(&["{command: [a], replicas: 2}"]);
    machine.leave(&[6]);
    assert_eq!(machine.running().len(), 2 + 1, "the new one is still ending");
}

#[test]
fn a_port_of_the_host_is_free_before_it_is_taken_again() {
    let mut machine = Machine::default();
    machine.want(&["{command: [a], ports: [{port: 80, publish: 8080}]}"]);
    machine.ready(1);
    machine.want(&["{command: [bb], ports: [{port: 80, publish: 8080}]}"]);
    assert_eq!((machine.running(), &machine.stopped), (vec![1], &vec![1]));
    machine.ended(1, Outcome::Code(0));
    assert_eq!(machine.running(), [2]);
}

#[test]
fn who_does_not_end_is_killed() {
    let mut machine = Machine::default();
    machine.want(&["{command: [a]}"]);
    let stops = machine.state.stop_all(machine.now);
    assert_eq!(stops, [Action::Stop(1)]);
    assert_eq!((machine.wait(), &machine.killed), (KILL_AFTER, &vec![1]));
    machine.act();
    assert_eq!(machine.killed, [1], "not each time");
}

#[test]
fn launchers_of_an_earlier_control_plane_are_taken_over() {
    let mut machine = Machine::default();
    let owner = Owner { place: Place::new("default", "web", 0), revision: 1 };
    machine.state.seen(77, &owner, Readiness::Ready, machine.now);
    machine.want(&["{command: [a]}"]);
    assert_eq!(machine.running(), [77]);
    machine.ended(77, Outcome::Signal(None));
    machine.wait();
    assert_eq!(machine.running(), [1]);
    // It wasn't gone after all: one of both is enough.
    machine.ready(1);
    machine.state.seen(77, &owner, Readiness::Ready, machine.now);
    machine.act();
    machine.leave(&[77]);
}
