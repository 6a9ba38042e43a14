//! The demo, played once: each claim is checked by what was seen, and one that doesn't hold fails the demo.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{ExitCode, Output};

use super::sniff::{self, Sniffer};
use super::stage::{Stage, finish, wait_for};
use super::{CURL, DENIED, PAYMENTS, POLICIES, PUBLISHED, SHOP, WEB, curl, logged, program, start_mesh, text, visit};
use crate::failure::{Context, Failure};
use crate::print;

/// Plays it through.
pub(super) fn play() -> Result<ExitCode, Failure> {
    let sniffer = Sniffer::start().context("capture packets")?;
    let mut stage = Stage::new(&[SHOP, &[POLICIES]].concat())?;
    let mut claims = Claims::default();
    without_weft(&mut stage, &sniffer, &mut claims)?;
    print::line("\nWith Weft: the same programs, unmodified, started by weft up -f examples/shop.");
    start_mesh(&mut stage)?;
    the_shop_sells(&mut claims)?;
    checkout_is_served(&stage, &sniffer, &mut claims)?;
    strangers_are_refused(&stage, &mut claims)?;
    Ok(claims.conclude())
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
    let mut server = program("python3");
    server.arg(stage.path("shop/payments.py")).env("SHOP_PORT", PLAIN_PORT.to_string());
    stage.start("plain", server)?;
    wait_for("the plain server", || ask_plainly("charge").filter(|output| output.status.success()))?;
    let seen = caught_up(sniffer, SECRET).is_ok();
    claims.claim("a capture of the wire shows the payload", Outcome::from(seen), "");
    Ok(())
}

fn ask_plainly(path: &str) -> Option<Output> {
    let url = format!("http://127.0.0.1:{PLAIN_PORT}/{path}");
    finish(&mut curl(&url)).ok()
}

/// Waits until the capture shows `text` of the plain server's traffic. Packets come in order, so
/// that everything before it has been seen then, too.
fn caught_up(sniffer: &Sniffer, text: &str) -> Result<(), Failure> {
    let plain = |flow: &sniff::Flow| flow.0.port() == PLAIN_PORT || flow.1.port() == PLAIN_PORT;
    let seen = || sniffer.seen(plain).iter().any(|(_, bytes)| contains(bytes, text)).then_some(());
    wait_for("the capture to catch up", seen)
}

/// From outside of the mesh through web, checkout and payments.
fn the_shop_sells(claims: &mut Claims) -> Result<(), Failure> {
    let page = wait_for("the shop to open", || visit().filter(|page| text(&page.stdout).contains("charged")))?;
    let told = format!("curl {WEB}\n{}", text(&page.stdout));
    let kept = !contains(&page.stdout, SECRET);
    claims.claim("the shop sells, through three services", Outcome::from(kept), &told);
    Ok(())
}

fn checkout_is_served(stage: &Stage, sniffer: &Sniffer, claims: &mut Claims) -> Result<(), Failure> {
    let output = call(stage, &["-n", "checkout", "checkout"])?;
    let body = text(&output.stdout);
    let told = format!("weft exec -n checkout checkout -- curl {CHARGE}\n{body}");
    let answered = output.status.success() && body.ends_with(SECRET);
    claims.claim("checkout is answered by payments", Outcome::from(answered), &told);

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

    let verified = |workload: &str, field: &str, expected: &str| {
        let is_there = || logged(&stage.proxy_log(workload), field).any(|found| found == expected).then_some(());
        wait_for("the access log", is_there).is_ok()
    };
    let caller = Outcome::from(verified("payments.payments", "source_principal", CHECKOUT_ID));
    claims.claim("payments' proxy verified who called", caller, CHECKOUT_ID);
    let server = Outcome::from(verified("checkout.checkout", "destination_principal", PAYMENTS_ID));
    claims.claim("checkout's proxy verified who answered", server, PAYMENTS_ID);
    Ok(())
}

fn strangers_are_refused(stage: &Stage, claims: &mut Claims) -> Result<(), Failure> {
    let output = call(stage, &["stranger"])?;
    let told = format!("weft exec stranger -- curl {CHARGE}\n{}", text(&output.stdout));
    let refused = Outcome::from(text(&output.stdout) == DENIED);
    claims.claim("a stranger in the mesh gets a refusal and nothing else", refused, &told);
    let rule = wait_for("the access log", || logged(&stage.proxy_log("payments.payments"), "reason").next())?;
    let named = Outcome::from(rule.contains("payments/payments-policy at policies.yaml"));
    claims.claim("payments' proxy says which policy refused", named, &rule);

    let output = finish(&mut curl(PAYMENTS))?;
    // Where nobody listened, nobody would have been refused. A connection that is closed at once may fail otherwise.
    let listens = !TcpStream::connect(PUBLISHED).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    let refused = listens && !output.status.success() && output.stdout.is_empty();
    let told = format!("curl {PAYMENTS}\n{}", text(&output.stderr));
    claims.claim("a caller outside the mesh gets nothing", Outcome::from(refused), &told);
    Ok(())
}

/// Asks payments from inside of a workload.
fn call(stage: &Stage, workload: &[&str]) -> Result<Output, Failure> {
    finish(stage.weft().arg("exec").args(workload).arg("--").args(CURL).arg(CHARGE))
}

fn touches_mesh((from, to): (SocketAddr, SocketAddr)) -> bool {
    let loopback = |address: &SocketAddr| matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
    loopback(&from) && loopback(&to) && (from.port() == MESH_PORT || to.port() == MESH_PORT)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// What must never be seen on the wire; examples/shop/payments.py knows it.
const SECRET: &str = "card-4929-1312-0007-2026";
const CHARGE: &str = "http://payments.payments:8080/charge";
const CHECKOUT_ID: &str = "spiffe://cluster.local/ns/checkout/sa/checkout-service";
const PAYMENTS_ID: &str = "spiffe://cluster.local/ns/payments/sa/payments";
const PLAIN_PORT: u16 = 18_000;
const MESH_PORT: u16 = 15008;
/// A TLS record that holds a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
