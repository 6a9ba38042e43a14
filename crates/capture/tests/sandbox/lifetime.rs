//! How programs start and end, and that nothing is left.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::unistd::Pid;
use weft_capture::{CaptureError, Ended, prepare};

use crate::rig::{PATIENCE, PYTHON, Scene, exists, wait_until};
use crate::visit;

pub(crate) const ALL: &[(&str, fn())] = &[
    ("exit_codes_and_signals_pass", exit_codes_and_signals),
    ("signals_reach_the_program", signals_reach),
    ("a_program_that_cannot_run_says_why", cannot_run),
    ("a_program_is_held_until_started", held),
    ("streams_environment_and_folder_are_the_launchers", inherited),
    ("ignored_signals_stay_ignored", ignored_signals),
    ("a_signal_to_the_group_spares_pid_1", group_signal),
    ("what_a_program_leaves_behind_is_ended", leftovers),
    ("a_killed_launcher_leaves_nothing", killed_launcher),
    ("two_threads_are_refused", two_threads),
    ("a_bad_plan_is_refused", bad_plan),
    ("a_covered_proc_costs_the_pid_namespace_only", covered_proc),
    ("a_hundred_sandboxes", hundred),
];

fn exit_codes_and_signals() {
    for code in [0, 7, 255] {
        assert_eq!(Scene::new(&["sh", "-c", &format!("exit {code}")]).run().0, Ended::Code(code));
    }
    for signal in [15, 9, 6, 40] {
        assert_eq!(Scene::new(&["sh", "-c", &format!("kill -{signal} $$")]).run().0, Ended::Signal(signal));
    }
}

fn signals_reach() {
    for signal in [libc::SIGTERM, libc::SIGKILL, 45] {
        let scene = Scene::new(&["sh", "-c", "echo runs; exec sleep 1000"]);
        let mut program = scene.prepare().program.start().unwrap();
        scene.said("runs");
        assert_eq!(program.try_wait().unwrap(), None);
        assert!(exists(program.pid()));
        let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        assert_eq!(numbers.split_whitespace().count(), 2, "outside and inside: {status}");
        program.signal(signal).unwrap();
        let mut watched = [PollFd::new(program.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut watched, PollTimeout::try_from(PATIENCE).unwrap()), Ok(1));
        assert_eq!(program.try_wait().unwrap(), Some(Ended::Signal(signal)));
        assert!(!exists(program.pid()));
        assert!(program.signal(signal).is_err());
    }
}

fn cannot_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-program");
    std::fs::write(&file, "text").unwrap();
    for (name, expected) in
        [("/nonexistent/program", libc::ENOENT), ("no-such-word", libc::ENOENT), (file.to_str().unwrap(), libc::EACCES)]
    {
        let mut scene = Scene::new(&[]);
        scene.plan.program.argv = vec![name.into()];
        match scene.prepare().program.start() {
            Err(CaptureError::Exec { program, errno }) => assert_eq!((program.as_str(), errno), (name, expected)),
            other => panic!("{other:?}"),
        }
    }
}

fn held() {
    let scene = Scene::new(&["echo", "ran"]);
    let sandbox = scene.prepare();
    let pids = descendants(std::process::id());
    assert_eq!(pids.len(), 2, "{pids:?}");
    drop(sandbox);
    assert!(pids.iter().all(|pid| !exists(*pid)));
    assert_eq!(scene.output(), "");
}

/// As without Weft: the same program, started directly, says the same.
fn inherited() {
    let code = "
import os, sys
print(sorted(os.listdir('/proc/self/fd')), os.getcwd(), sorted(os.environ.items()), os.getuid(), os.getgid(), sys.stdin.read())
";
    let say = |mut child: Child| {
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"words").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let mut direct = Command::new(PYTHON);
    direct.args(["-c", code]).env("CODE", code).current_dir("/usr").stdin(Stdio::piped()).stdout(Stdio::piped());
    let direct = say(direct.spawn().unwrap());
    assert!(direct.contains("/usr") && direct.ends_with("words\n"), "{direct}");
    assert_eq!(say(launcher("inherited", code)), direct);
}

fn ignored_signals() {
    handle(Signal::SIGHUP, SigHandler::SigIgn);
    // A shell starts what it sends to the background with this ignored.
    handle(Signal::SIGINT, SigHandler::SigDfl);
    let code = "
import signal
for s in ('SIGHUP', 'SIGPIPE', 'SIGTERM', 'SIGINT', 'SIGCHLD'):
    l = [x for x in open('/proc/self/status') if x.startswith('SigIgn')][0].split()[1]
    print(s, int(l, 16) >> (getattr(signal, s) - 1) & 1)
print([x.split()[1] for x in open('/proc/self/status') if x.startswith('SigBlk')][0])
";
    let (_, output) = Scene::python(code, &[]).run();
    assert!(output.starts_with("SIGHUP 1\n"), "{output}");
    assert!(output.contains("SIGTERM 0\nSIGINT 0\nSIGCHLD 0\n0000000000000000"), "{output}");
    // Python ignores SIGPIPE by itself; grep doesn't. The standard library gives its children the default too.
    let direct = Command::new("grep").args(["SigIgn", "/proc/self/status"]).output().unwrap().stdout;
    let (_, output) = Scene::new(&["grep", "SigIgn", "/proc/self/status"]).run();
    assert_eq!(ignored(&output), ignored(&String::from_utf8(direct).unwrap()));
}

/// The signals of a line of `SigIgn`, but for glibc's own two, which its `posix_spawn` has ignored.
fn ignored(line: &str) -> u64 {
    u64::from_str_radix(line.trim_start_matches("SigIgn:").trim(), 16).unwrap() & !(3 << 31)
}

fn group_signal() {
    let code = "
import signal, time
def end(*_): raise SystemExit(3)
signal.signal(signal.SIGINT, end)
print('runs', flush=True)
while True: time.sleep(100)
";
    let mut child = launcher("group", code);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "runs");
    let group = Pid::from_raw(child.id() as i32);
    for signal in [Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGINT] {
        killpg(group, signal).unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

fn leftovers() {
    let code = "
import os, time
for i in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: time.sleep(100)
        os._exit(0)
print('left', flush=True)
os.read(0, 1)
";
    let scene = Scene::python(code, &[]);
    let (here, there) = nix::unistd::pipe().unwrap();
    nix::unistd::dup2_stdin(&here).unwrap();
    let mut program = scene.prepare().program.start().unwrap();
    scene.said("left");
    let pids = descendants(std::process::id());
    assert!(pids.len() >= 23, "{pids:?}");
    drop(there);
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null").unwrap()).unwrap();
    drop(here);
    program.signal(libc::SIGTERM).unwrap();
    program.wait().unwrap();
    let left: Vec<_> = pids.iter().filter(|pid| exists(**pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn killed_launcher() {
    kill_launcher(launcher("group", FORKING));
}

const FORKING: &str = "
import os, time
if os.fork() == 0: os.setsid()
else: print('runs', flush=True)
while True: time.sleep(100)
";

fn kill_launcher(mut child: Child) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    wait_until("the program runs", || lines.next().is_some_and(|line| line.unwrap() == "runs"));
    let pids = descendants(child.id());
    assert!(pids.len() >= 4, "socket maker, PID 1, program, its child: {pids:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("nothing is left", || pids.iter().all(|pid| !exists(*pid)));
}

fn two_threads() {
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    assert_eq!(prepare(&Scene::new(&["true"]).plan).err(), Some(CaptureError::Threads(2)));
    assert_eq!(weft_capture::probe().err(), Some(CaptureError::Threads(2)));
    drop(end);
    let _ = thread.join();
}

fn bad_plan() {
    let mut scene = Scene::new(&[]);
    scene.plan.addresses.swap(0, 1);
    assert!(matches!(prepare(&scene.plan), Err(CaptureError::Addresses(_))));
    let mut scene = Scene::new(&[]);
    scene.plan.program.argv.clear();
    assert_eq!(prepare(&scene.plan).err(), Some(CaptureError::NoProgram));
    // The kernel's own refusal comes with its step: a multicast address is nobody's own.
    let mut scene = Scene::new(&["true"]);
    scene.plan.addresses = vec!["224.0.0.1".parse().unwrap()];
    if let Err(error) = prepare(&scene.plan) {
        assert!(error.to_string().starts_with("cannot set up addresses and routes"), "{error}");
    }
}

/// As in a container. Root needs no unbroken `/proc`, so it covers one for an ordinary user.
fn covered_proc() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let output = under_covered_proc(CODE_THAT_LEAVES_A_CHILD).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("note: the program sees the processes around it"), "{said}");
    assert!(said.contains("systempaths=unconfined"), "{said}");
    assert!(said.contains("note: cannot set /proc/sys/net/ipv4/ip_unprivileged_port_start"), "{said}");
    let left: i32 = said.lines().find_map(|line| line.strip_prefix("child ")).unwrap().parse().unwrap();
    assert!(!exists(left), "{said}");
    kill_launcher(under_covered_proc(FORKING).stdout(Stdio::piped()).spawn().unwrap());
}

fn under_covered_proc(code: &str) -> Command {
    let exe = std::env::current_exe().unwrap();
    // One that is whole, wherever it is mounted, lets another one be.
    let script = format!(
        "for other in $(awk '/ - proc / && $5 != \"/proc\" {{print $5}}' /proc/self/mountinfo); do \
         umount --lazy \"$other\"; done; \
         mount -t tmpfs none /proc/fs && mount -o bind,ro /proc/sys /proc/sys && \
         exec setpriv --reuid=65534 --regid=65534 --clear-groups {} --launch covered",
        exe.display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).env("CODE", code);
    command
}

const CODE_THAT_LEAVES_A_CHILD: &str = "
import os, time
pid = os.fork()
if pid == 0:
    os.setsid()
    while True: time.sleep(100)
print('child', pid, flush=True)
raise SystemExit(5)
";

fn hundred() {
    let begin = Instant::now();
    let scene = Scene::new(&["true"]);
    let sandboxes: Vec<_> = (0..100).map(|_| scene.prepare()).collect();
    let prepared = begin.elapsed();
    for sandbox in sandboxes {
        let mut program = sandbox.program.start().unwrap();
        assert_eq!(program.wait().unwrap(), Ended::Code(0));
    }
    println!("note: 100 sandboxes prepared in {prepared:?}, run and gone in {:?}", begin.elapsed());
}

/// Another process of this binary as a launcher, the leader of a process group.
pub(crate) fn launcher(what: &str, code: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--launch", what]).env("CODE", code).process_group(0).current_dir("/usr");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// That process's `main`: runs the python code of `$CODE` with the streams it has.
pub(crate) fn launch(what: &str) -> ExitCode {
    if what == "visitor" {
        return visit::stay_with_visitor();
    }
    let code = std::env::var("CODE").unwrap();
    let mut scene = Scene::new(&[]);
    if what == "group" {
        // The launcher's own part of job control; read above, so the program gets defaults.
        handle(Signal::SIGINT, SigHandler::SigIgn);
        handle(Signal::SIGTSTP, SigHandler::SigIgn);
    }
    scene.plan.program.argv = [PYTHON, "-c", &code].map(Into::into).to_vec();
    let mut program = scene.prepare().program.start().unwrap();
    match program.wait().unwrap() {
        Ended::Code(code) => ExitCode::from(code as u8),
        Ended::Signal(signal) => ExitCode::from(128 + signal as u8),
    }
}

#[allow(unsafe_code, reason = "signal dispositions")]
fn handle(which: Signal, how: SigHandler) {
    assert!(!matches!(how, SigHandler::Handler(_) | SigHandler::SigAction(_)));
    // SAFETY: no handler is installed.
    unsafe { signal(which, how) }.unwrap();
}

/// All that a process has started, and what they have.
fn descendants(pid: u32) -> Vec<i32> {
    let mut found = Vec::new();
    let tasks = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in tasks.split_whitespace() {
        found.push(child.parse().unwrap());
        found.extend(descendants(child.parse().unwrap()));
    }
    found
}
