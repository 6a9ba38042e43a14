//! The first init container of a meshed pod: redirects the pod's connections to its proxy, proves
//! that they are, and ends. Knows nothing of the proxy but its user and its ports.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use weft_capture::pod::{self, Capture, Found, Verified};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word] = arguments.as_slice()
        && ["--help", "-h"].contains(&word.as_str())
    {
        // A reader that went away is no error.
        let _gone = std::io::stdout().write_all(HELP.as_bytes());
        return ExitCode::SUCCESS;
    }
    let wanted = match pod::parse(&arguments) {
        Ok(wanted) => wanted,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::from(BAD_USE);
        }
    };
    match pod::capture(&wanted) {
        Ok(verified) => {
            say(&done(&wanted, verified));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn done(wanted: &Capture, verified: Verified) -> String {
    let Capture { outbound_port, inbound_port, .. } = wanted;
    let (v4, v6) = (word(verified.v4), word(verified.v6));
    format!(
        "connections go to the proxy: outbound at {outbound_port}, inbound at {inbound_port} (IPv4 {v4}, IPv6 {v6})"
    )
}

fn word(found: Found) -> &'static str {
    match found {
        Found::Redirected => "tried",
        Found::NoRoute => "has nothing to try",
        Found::ProxyRuns => "not tried, the proxy runs",
    }
}

/// One line on standard error.
fn say(text: &str) {
    let _gone = writeln!(std::io::stderr(), "weft-init: {text}");
}

/// The exit code for a command line that can't be understood.
const BAD_USE: u8 = 2;

const HELP: &str = "weft-init: redirects a pod's connections to its proxy; the first init container of a meshed pod

  weft-init --proxy-uid 2102 --outbound-port 15001 --inbound-port 15006 [...]

  --proxy-uid UID                 the user whose own connections pass
  --outbound-port PORT            where the proxy takes the programs' connections
  --inbound-port PORT             where the proxy takes plain connections of callers
  --skip-inbound-ports LIST       ports of the pod that callers reach without the proxy
  --skip-inbound-subnets CIDRS    callers who reach the pod without the proxy
  --only-inbound-ports LIST       the only ports of the pod that callers reach through the proxy
  --skip-outbound-ports LIST      ports that programs call without the proxy
  --skip-outbound-subnets CIDRS   destinations that programs call without the proxy
  --only-outbound-subnets CIDRS   the only destinations that programs call through the proxy

Lists are such as 80,90-95 and 10.0.0.0/8,fd00::/8. It needs the capability NET_ADMIN, and may be run again.
Exit: 0 connections are redirected, 1 they are not, 2 a command line that can't be understood.
";
