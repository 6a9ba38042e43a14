//! UDP under load, and when a proxy dies.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weft_tests::User;
use weft_tests::mesh::told;

use super::rig::{ECHO, OUTSIDE, Server, counter, mesh, metrics, output_of, wait_for};

/// One socket asks before and after many others, each of which is closed at once; then waits.
const MANY: &str = "
import socket, sys, time
def ask(s):
    s.settimeout(30); s.sendto(b'x', (sys.argv[1], 4000)); s.recv(10)
first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); ask(first)
for port in range(20000, 21200):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', port)); ask(s); s.close()
ask(first); print('all came back', flush=True); time.sleep(1000)
";

#[test]
fn flows_are_bounded_and_the_one_that_is_used_again_goes_on() {
    let Some(mut mesh) = mesh(User::all().pop().unwrap()) else { return };
    let _server = Server::start(&mesh, ECHO, &OUTSIDE);
    mesh.start_workload(&["caller", "--", "python3", "-c", MANY, OUTSIDE[0]]).unwrap();
    wait_for(|| output_of(&mesh, "caller-0"), |text| text.contains("all came back"));
    let page = wait_for(|| metrics(&mesh), |page| counter(page, "weft_udp_received_datagrams_total") == 1_202);
    assert_eq!(counter(&page, "weft_udp_flows"), 1_024, "{page}");
}

/// Floods, and says when it has begun.
const FLOOD: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 9))
n = 0
while True:
    try: s.send(b'x' * 1000)
    except ConnectionRefusedError: pass
    n += 1
    if n == 10000: print('floods', flush=True)
";

#[test]
fn a_flood_of_datagrams_starves_nobody() {
    let Some(mut mesh) = mesh(User::all().pop().unwrap()) else { return };
    let _server = Server::start(&mesh, ECHO, &OUTSIDE);
    mesh.start_workload(&["web", "--", "python3", "-m", "http.server", "8080"]).unwrap();
    mesh.start_workload(&["caller", "--", "python3", "-c", FLOOD, OUTSIDE[0]]).unwrap();
    wait_for(|| output_of(&mesh, "caller-1"), |text| text.contains("floods"));
    // The name is asked for as a datagram, and the call is TCP, both through the flooded proxy.
    let call = ["exec", "caller", "--", "curl", "-sSf", "-m", "30", "-o", "/dev/null", "http://web:8080/"];
    mesh.weft_until(&call, |output| output.status.success()).unwrap();
    for _ in 0..10 {
        let output = mesh.weft().args(call).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
    }
}

/// Asks again and again, and says how often it was answered.
const ASK_ON: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.2); s.connect((sys.argv[1], 4000))
while True:
    try: s.send(b'x'); s.recv(10); print('answered', flush=True)
    except OSError: pass
";

/// The proxy beside a launcher's program.
fn proxy_of(launcher: Pid) -> Option<Pid> {
    let is_its =
        |status: &str| status.starts_with("Name:\tweft-proxy\n") && status.contains(&format!("PPid:\t{launcher}\n"));
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(Pid::from_raw)
        .find(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| is_its(&status)))
}

#[test]
fn datagrams_go_on_when_the_proxy_was_killed() {
    let Some(mut mesh) = mesh(User::all().pop().unwrap()) else { return };
    let _server = Server::start(&mesh, ECHO, &OUTSIDE);
    let launcher = mesh.start_workload(&["caller", "--", "python3", "-c", ASK_ON, OUTSIDE[0]]).unwrap();
    let answered = || output_of(&mesh, "caller-0").matches("answered\n").count();
    wait_for(|| answered().to_string(), |count| count != "0");
    let killed = proxy_of(launcher).unwrap();
    kill(killed, Signal::SIGKILL).unwrap();
    wait_for(
        || format!("{:?}", proxy_of(launcher)),
        |found| found != "None" && *found != format!("{:?}", Some(killed)),
    );
    let before = answered();
    wait_for(|| answered().to_string(), |count| count.parse::<usize>().unwrap() > before + 10);
}
