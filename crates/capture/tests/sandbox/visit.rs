//! A second program in a running sandbox: where it is, what it can't do, and how it ends.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weft_capture::{CaptureError, Ended, HeldProgram, Namespaces, RunningProgram, join};

use crate::isolation::{NO_POWER, assert_no_power};
use crate::lifetime::launcher;
use crate::rig::{PYTHON, Scene, exists, wait_until};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("a_visitor_is_where_the_program_is", same_place),
    ("a_visitor_has_no_power_over_the_sandbox", no_power),
    ("a_visitor_ends_in_its_own_way", ends),
    ("a_visitor_works_in_the_callers_folder", folder),
    ("a_visitor_ends_with_the_sandbox", ends_with_sandbox),
    ("a_killed_callers_visitor_ends", killed_caller),
    ("namespaces_pass_a_socket", handed_over),
];

/// A sandbox whose program stays.
struct Host {
    running: RunningProgram,
    namespaces: Namespaces,
    _scene: Scene,
}

impl Host {
    fn new(scene: Scene) -> Self {
        let sandbox = scene.prepare();
        Self { running: sandbox.program.start().unwrap(), namespaces: sandbox.namespaces, _scene: scene }
    }

    fn sleeping() -> Self {
        Self::new(Scene::new(&["sleep", "1000"]))
    }

    fn admit(&self, visitor: &Scene) -> HeldProgram {
        join(&self.namespaces, &visitor.plan.program, "/".as_ref()).unwrap()
    }

    fn visited_by(&self, visitor: &Scene) -> (Ended, String) {
        (self.admit(visitor).start().unwrap().wait().unwrap(), visitor.output())
    }
}

fn same_place() {
    let hidden = tempfile::tempdir().unwrap();
    std::fs::write(hidden.path().join("key"), "secret").unwrap();
    let mut scene = Scene::new(&["sleep", "1000"]);
    scene.plan.hide = vec![hidden.path().to_path_buf()];
    let host = Host::new(scene);
    let code = "
import os, socket, sys
[host] = [p for p in os.listdir('/proc') if p.isdigit() and open(f'/proc/{p}/comm').read().strip() == 'sleep']
print([os.readlink('/proc/self/ns/' + n) == os.readlink(f'/proc/{host}/ns/' + n) for n in ('user', 'net', 'pid', 'mnt')])
print(os.listdir(sys.argv[1]), 'nameserver 240.240.0.53' in open('/etc/resolv.conf').read())
print([n for i, n in socket.if_nameindex()], os.getuid() == os.stat(f'/proc/{host}').st_uid)
";
    let (ended, output) = host.visited_by(&Scene::python(code, &[hidden.path().to_str().unwrap()]));
    assert_eq!(ended, Ended::Code(0), "{output}");
    assert_eq!(output, "[True, True, True, True]\n[] True\n['lo'] True\n");
}

fn no_power() {
    let (ended, output) = Host::sleeping().visited_by(&Scene::python(NO_POWER, &[]));
    assert_eq!(ended, Ended::Code(0), "{output}");
    assert_no_power(&output);
}

fn ends() {
    let host = Host::sleeping();
    for code in [0, 7, 255] {
        assert_eq!(host.visited_by(&Scene::new(&["sh", "-c", &format!("exit {code}")])).0, Ended::Code(code));
    }
    assert_eq!(host.visited_by(&Scene::new(&["sh", "-c", "kill -TERM $$"])).0, Ended::Signal(15));
    let scene = Scene::new(&["sh", "-c", "echo runs; exec sleep 1000"]);
    let mut visitor = host.admit(&scene).start().unwrap();
    scene.said("runs");
    visitor.signal(libc::SIGUSR1).unwrap();
    assert_eq!(visitor.wait().unwrap(), Ended::Signal(libc::SIGUSR1));
    let mut nothing = Scene::new(&[]);
    nothing.plan.program.argv = vec!["/nonexistent/program".into()];
    match host.admit(&nothing).start() {
        Err(CaptureError::Exec { errno, .. }) => assert_eq!(errno, libc::ENOENT),
        other => panic!("{other:?}"),
    }
}

fn folder() {
    let host = Host::sleeping();
    let scene = Scene::new(&["pwd"]);
    let here = scene.folder.path().canonicalize().unwrap();
    let mut visitor = join(&host.namespaces, &scene.plan.program, &here).unwrap().start().unwrap();
    assert_eq!(visitor.wait().unwrap(), Ended::Code(0));
    assert_eq!(scene.output(), format!("{}\n", here.display()));
    let refused = join(&host.namespaces, &scene.plan.program, "/nonexistent/folder".as_ref()).unwrap().start();
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("working folder") && message.ends_with("/nonexistent/folder"), "{message}");
}

fn ends_with_sandbox() {
    let host = Host::sleeping();
    let scene = Scene::new(&["sh", "-c", "echo runs; exec sleep 1000"]);
    let mut visitor = host.admit(&scene).start().unwrap();
    scene.said("runs");
    drop(host.running);
    assert_eq!(visitor.wait().unwrap(), Ended::Signal(libc::SIGKILL));
    assert!(join(&host.namespaces, &scene.plan.program, "/".as_ref()).unwrap().start().is_err());
}

fn killed_caller() {
    let mut child = launcher("visitor", "");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let visitor: i32 = lines.next().unwrap().unwrap().parse().unwrap();
    assert!(exists(visitor));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    wait_until("the visitor's end", || !exists(visitor));
}

/// A sandbox with a visitor, whose pid it tells; see [`launcher`].
pub(crate) fn stay_with_visitor() -> ExitCode {
    let host = Host::sleeping();
    let scene = Scene::new(&[PYTHON, "-c", "import time; time.sleep(1000)"]);
    let mut visitor = host.admit(&scene).start().unwrap();
    println!("{}", visitor.pid());
    visitor.wait().unwrap();
    ExitCode::SUCCESS
}

fn handed_over() {
    let host = Host::sleeping();
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    host.namespaces.send(&one).unwrap();
    let namespaces = Namespaces::receive(&other).unwrap();
    let scene = Scene::new(&["true"]);
    assert_eq!(
        join(&namespaces, &scene.plan.program, "/".as_ref()).unwrap().start().unwrap().wait(),
        Ok(Ended::Code(0))
    );
    drop(one);
    assert_eq!(Namespaces::receive(&other).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}
