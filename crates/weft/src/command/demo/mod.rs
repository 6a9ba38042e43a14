//! `weft demo --once`: what Weft claims, shown with programs that are not ours (python3, curl).
//!
//! The demo plays in a user and network namespace of its own, where an ordinary user may capture
//! packets. Each claim is checked by what was seen, and one that doesn't hold fails the demo.

mod sniff;
mod stage;

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, ExitCode, Output};

use crate::args::DemoArgs;
use crate::failure::{Context, Failure};
use crate::print;
use sniff::Sniffer;
use stage::{Stage, finish, wait_for};

/// What must never be seen on the wire.
const SECRET: &str = "card-4929-1312-0007-2026";
const POLICIES: &str = include_str!("../../../../../examples/demo/policies.yaml");
const CHECKOUT: &str = "spiffe://cluster.local/ns/default/sa/checkout";
const PAYMENTS: &str = "spiffe://cluster.local/ns/default/sa/payments";
const PLAIN_PORT: u16 = 18_000;
const MESH_PORT: u16 = 15008;
const PUBLISHED: &str = "127.0.0.1:18080";

/// Plays the demo through.
pub(crate) fn run(_: &DemoArgs) -> Result<ExitCode, Failure> {
    need("python3")?;
    need("curl")?;
    weft_capture::enter_private_network().context("make a private network for the demo")?;
    let sniffer = Sniffer::start().context("capture packets")?;
    let mut stage = Stage::new(&[("shop/charge", SECRET), ("policies/policies.yaml", POLICIES)])?;
    let mut claims = Claims::default();
    without_weft(&mut stage, &sniffer, &mut claims)?;
    start_mesh(&mut stage)?;
    checkout_is_served(&stage, &sniffer, &mut claims)?;
    strangers_are_refused(&stage, &mut claims)?;
    Ok(claims.conclude())
}

fn need(program: &str) -> Result<(), Failure> {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    let missing = || Failure::new(format!("the demo runs {program}, which is not here"));
    if found { Ok(()) } else { Err(missing().hint("on Debian: apt-get install python3 curl")) }
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Held,
    Failed,
}

impl From<bool> for Outcome {
    fn from(holds: bool) -> Self {
        if holds { Self::Held } else { Self::Failed }
    }
}

/// The claims made so far, each printed as it is made.
#[derive(Default)]
struct Claims {
    failed: usize,
    held: usize,
}

impl Claims {
    fn claim(&mut self, text: &str, outcome: Outcome, seen: &str) {
        let holds = outcome == Outcome::Held;
        let mark = if holds { print::paint(print::Stream::Out, "32", "ok    ") } else { "FAILED".to_owned() };
        print::line(&format!("{mark}  {text}"));
        for line in seen.lines() {
            print::line(&format!("        {line}"));
        }
        if holds { self.held += 1 } else { self.failed += 1 }
    }

    fn conclude(&self) -> ExitCode {
        print::line(&format!("\n{} claims held, {} failed", self.held, self.failed));
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// First the eavesdropper's view of today's traffic: so the capture itself is known to work.
fn without_weft(stage: &mut Stage, sniffer: &Sniffer, claims: &mut Claims) -> Result<(), Failure> {
    print::line("Without Weft: curl asks a Python server over plain HTTP.");
    let mut server = Command::new("python3");
    server
        .args(["-m", "http.server", &PLAIN_PORT.to_string(), "--bind", "127.0.0.1", "--directory"])
        .arg(stage.path("shop"));
    stage.start("plain", server)?;
    wait_for("the plain server", || ask_plainly("charge").filter(|output| output.status.success()))?;
    let seen = caught_up(sniffer, SECRET).is_ok();
    claims.claim("a capture of the wire shows the payload", Outcome::from(seen), "");
    Ok(())
}

fn ask_plainly(path: &str) -> Option<Output> {
    let url = format!("http://127.0.0.1:{PLAIN_PORT}/{path}");
    finish(Command::new("curl").args(["-sS", "-m", "5", &url])).ok()
}

/// Waits until the capture shows `text` of the plain server's traffic. Packets come in order, so
/// that everything before it has been seen then, too.
fn caught_up(sniffer: &Sniffer, text: &str) -> Result<(), Failure> {
    let plain = |flow: &sniff::Flow| flow.0.port() == PLAIN_PORT || flow.1.port() == PLAIN_PORT;
    let seen = || sniffer.seen(plain).iter().any(|(_, bytes)| contains(bytes, text)).then_some(());
    wait_for("the capture to catch up", seen)
}

fn start_mesh(stage: &mut Stage) -> Result<(), Failure> {
    print::line("\nWith Weft: the same programs, unmodified.");
    let up = finish(stage.weft().arg("up").arg("-f").arg(stage.path("policies")).arg("-d"))?;
    if !up.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&up.stderr).trim().to_owned()));
    }
    let mut payments = stage.weft();
    payments.args(["run", "payments", "--publish", &format!("{PUBLISHED}:8080"), "--"]);
    payments.args(["python3", "-u", "-m", "http.server", "8080", "--directory"]).arg(stage.path("shop"));
    stage.start("payments", payments)?;
    wait_for("payments to serve", || stage.output("payments").contains("Serving HTTP").then_some(()))
        .map_err(|failure| Failure::new(format!("{}: {}", failure.message, stage.output("payments").trim())))
}

fn checkout_is_served(stage: &Stage, sniffer: &Sniffer, claims: &mut Claims) -> Result<(), Failure> {
    let output = call(stage, "checkout", "http://payments:8080/charge")?;
    let body = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = format!("weft run checkout -- curl http://payments:8080/charge\n{}", body.trim());
    claims.claim("checkout is answered by payments", Outcome::from(output.status.success() && body == SECRET), &told);

    ask_plainly("after-the-mesh");
    caught_up(sniffer, "after-the-mesh")?;
    let flows = sniffer.seen(|flow| touches_mesh(*flow));
    let bytes: usize = flows.iter().map(|(_, bytes)| bytes.len()).sum();
    let plain = flows.iter().filter(|(_, bytes)| contains(bytes, SECRET) || contains(bytes, "/charge")).count();
    let handshakes = flows.iter().filter(|(_, bytes)| bytes.starts_with(TLS_HANDSHAKE)).count();
    let told =
        format!("{} flows, {bytes} bytes, {handshakes} begin with a TLS handshake, {plain} show payload", flows.len());
    claims.claim(
        "a capture of the wire shows only TLS",
        Outcome::from(plain == 0 && handshakes > 0 && handshakes == flows.len()),
        &told,
    );

    let log = |name: &str, field: &str| wait_for("the access log", || logged(&stage.proxy_log(name), field));
    let caller = log("payments", "source_principal")?;
    claims.claim("payments' proxy verified who called", Outcome::from(caller == CHECKOUT), &caller);
    let server = log("checkout", "destination_principal")?;
    claims.claim("checkout's proxy verified who answered", Outcome::from(server == PAYMENTS), &server);
    Ok(())
}

fn strangers_are_refused(stage: &Stage, claims: &mut Claims) -> Result<(), Failure> {
    let output = call(stage, "stranger", "http://payments:8080/charge")?;
    let told = format!("weft run stranger -- curl http://payments:8080/charge\n{}", text(&output.stdout));
    let refused = Outcome::from(text(&output.stdout) == DENIED);
    claims.claim("a stranger in the mesh gets a refusal and nothing else", refused, &told);
    let rule = wait_for("the access log", || logged(&stage.proxy_log("payments"), "reason"))?;
    let named = Outcome::from(rule.contains("default/payments-policy at policies.yaml"));
    claims.claim("payments' proxy says which policy refused", named, &rule);

    let output = finish(Command::new("curl").args(["-sS", "-m", "5", &format!("http://{PUBLISHED}/charge")]))?;
    let refused = !output.status.success() && output.stdout.is_empty();
    let told = format!("curl http://{PUBLISHED}/charge\n{}", text(&output.stderr));
    claims.claim("a caller outside the mesh gets nothing", Outcome::from(refused), &told);
    Ok(())
}

fn call(stage: &Stage, name: &str, url: &str) -> Result<Output, Failure> {
    finish(stage.weft().args(["run", name, "--", "curl", "-sS", "-m", "5", url]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn touches_mesh((from, to): (SocketAddr, SocketAddr)) -> bool {
    let loopback = |address: &SocketAddr| matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
    loopback(&from) && loopback(&to) && (from.port() == MESH_PORT || to.port() == MESH_PORT)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The last value of a field in a log of JSON lines.
fn logged(log: &str, field: &str) -> Option<String> {
    let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter_map(|line| line.get(field)?.as_str().map(str::to_owned)).next()
}

/// All that a denied caller is told.
const DENIED: &str = "RBAC: access denied";
/// A TLS record that holds a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
