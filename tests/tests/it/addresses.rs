//! Who a program is to itself and to those whom it calls, what answers to a ping, and that workloads of one name share
//! their calls.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weft_tests::mesh::{Mesh, PATIENCE, told};
use weft_tests::{User, can_run, missing};

/// Says its own address and its caller's, to whoever connects by either family.
const SERVER: &str = r#"
import socket
server = socket.create_server(("::", 7777), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    connection, caller = server.accept()
    plain = lambda address: address[0].removeprefix("::ffff:")
    connection.sendall(f"{plain(connection.getsockname())} {plain(caller)}".encode())
    connection.close()
"#;
/// Prints all of its own addresses, and what the server says.
const CLIENT: &str = r#"
import socket, sys
own, said = set(), []
for family in socket.AF_INET, socket.AF_INET6:
    for *_, address in socket.getaddrinfo("web", 7777, family, socket.SOCK_STREAM):
        with socket.socket(family) as connection:
            connection.connect(address)
            assert connection.getpeername() == address
            own.add(connection.getsockname()[0])
            said.append(connection.makefile().read().split())
print(*{server for server, _ in said})
print(all(caller in own for _, caller in said), len(own))
"#;
/// Greets whoever connects to the port of name servers.
const NAMES: &str = r#"
import socket
server = socket.create_server(("", 53))
while True:
    connection, _ = server.accept()
    connection.sendall(b"no name server")
    connection.close()
"#;
/// Pings each argument once, and says what came of it.
const PING: &str = r#"
for ip; do
	said=$(ping -n -c 1 -W 30 "$ip" 2>&1)
	case $said in
	*" 1 received"*) echo "$ip answers" ;;
	*"Packet filtered"* | *"Administratively prohibited"*) echo "$ip is out of reach" ;;
	*) echo "$said" ;;
	esac
done
"#;

fn mesh() -> Option<Mesh> {
    if !can_run() {
        return None;
    }
    Some(Mesh::start(User::all().pop().unwrap(), &[], &[]).unwrap())
}

fn serve(mesh: &Mesh) {
    let run = ["run", "--detach", "--ready-port", "7777", "web", "--", "python3", "-c", SERVER];
    let output = mesh.weft().args(run).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
}

/// Each workload that runs as `web`: its address, and its launcher.
fn places(mesh: &Mesh) -> Vec<(String, Pid)> {
    let output = mesh.weft().args(["ps", "-o", "json"]).output().unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", told(&output)));
    let web = rows.iter().filter(|row| row["name"] == "web");
    let pid = |row: &Value| Pid::from_raw(row["pid"].as_i64().and_then(|pid| pid.try_into().ok()).unwrap());
    web.map(|row| (row["address"].as_str().unwrap().to_owned(), pid(row))).collect()
}

/// Which place answers a caller, once it has checked what it was told.
fn answering(mesh: &Mesh) -> BTreeSet<String> {
    let output = mesh.run(&["caller", "--", "python3", "-c", CLIENT]).unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let (places, callers) = printed.split_once('\n').unwrap_or_else(|| panic!("{}", told(&output)));
    assert_eq!(callers, "True 2\n", "{}", told(&output));
    places.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_program_sees_its_own_address_and_its_callers() {
    let Some(mesh) = mesh() else { return };
    serve(&mesh);
    let (address, _) = places(&mesh).pop().unwrap();
    assert_eq!(answering(&mesh), BTreeSet::from([address]));
}

/// Every address is local to the workload's kernel, which must not answer for others.
#[test]
fn no_ping_is_answered_but_ones_own() {
    let Some(mesh) = mesh() else { return };
    if Command::new("ping").arg("-V").output().is_err() {
        missing::<()>("ping");
        return;
    }
    serve(&mesh);
    let (web, _) = places(&mesh).pop().unwrap();
    let ping = format!("set -- \"$@\" $(ip -o addr show scope global | sed 's|.*inet6* ||; s|/.*||'){PING}");
    let output =
        mesh.run(&["caller", "--", "sh", "-c", &ping, "sh", "127.0.0.1", "::1", "198.51.100.9", "2001:db8::9", &web]);
    let printed = String::from_utf8(output.unwrap().stdout).unwrap();
    let at = |what: &str| printed.lines().filter(|line| line.ends_with(what)).count();
    for far in ["198.51.100.9", "2001:db8::9", &web] {
        assert!(printed.contains(&format!("{far} is out of reach\n")), "{printed}");
    }
    // Loopback and its own, of both families.
    assert_eq!((at("answers"), printed.lines().count()), (4, 7), "{printed}");
}

#[test]
fn workloads_of_one_name_share_its_calls_and_one_that_dies_gets_none() {
    let Some(mesh) = mesh() else { return };
    serve(&mesh);
    serve(&mesh);
    let both = places(&mesh);
    let wanted: BTreeSet<String> = both.iter().map(|(address, _)| address.clone()).collect();
    assert_eq!(wanted.len(), 2);
    let deadline = Instant::now() + PATIENCE;
    let mut seen = BTreeSet::new();
    while seen != wanted {
        assert!(Instant::now() < deadline, "{seen:?} of {wanted:?}");
        seen.extend(answering(&mesh));
    }
    let (dead, launcher) = &both[0];
    kill(*launcher, Signal::SIGKILL).unwrap();
    while places(&mesh).len() > 1 {
        assert!(Instant::now() < deadline, "{:?}", places(&mesh));
    }
    for _ in 0..8 {
        let place = answering(&mesh);
        assert!(!place.contains(dead), "{place:?}");
    }
}

#[test]
fn a_workload_serves_the_port_of_name_servers_too() {
    let Some(mesh) = mesh() else { return };
    let run = ["run", "--detach", "--ready-port", "53", "names", "--", "python3", "-c", NAMES];
    let output = mesh.weft().args(run).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let ask = "import socket; print(socket.create_connection(('names', 53)).makefile().read())";
    let output = mesh.run(&["caller", "--", "python3", "-c", ask]).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no name server\n", "{}", told(&output));
}
