//! `hbone-peer connect` and `hbone-peer serve`: the two ends on a command line. Events are JSON lines, on stdout when
//! serving and on stderr when connecting, whose stdout is the tunnel's.
#![forbid(unsafe_code)]

mod args;

use std::io::Write;
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;
use weft_hbone_peer::client::{self, Head, Opened, Tunnel};
use weft_hbone_peer::event::Events;
use weft_hbone_peer::pipe::{Broken, Ended, pipe};
use weft_hbone_peer::server::{self, pipe_tcp};
use weft_hbone_peer::tls;

use crate::args::{Command, Connect, Serve};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args::parse(&words) {
        Ok(command) => run(command),
        Err(why) => Outcome::Usage(why),
    };
    if let Outcome::Usage(why) | Outcome::Failed(why) = &outcome {
        tell_error(&json!({"event": "failed", "why": why}));
    }
    // At once: a read of stdin that still waits in another thread must not hold the exit.
    std::process::exit(outcome.code());
}

/// How the program ended; README.md lists the codes.
enum Outcome {
    Done,
    Usage(String),
    Failed(String),
    Refused,
    Broken,
    Violated,
}

impl Outcome {
    fn code(&self) -> i32 {
        match self {
            Self::Done => 0,
            Self::Usage(_) => 1,
            Self::Failed(_) => 2,
            Self::Refused => 3,
            Self::Broken => 4,
            Self::Violated => 5,
        }
    }
}

fn run(command: Command) -> Outcome {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return Outcome::Failed(format!("runtime: {e}")),
    };
    let ended = runtime.block_on(async {
        match command {
            Command::Connect(options) => connect(options).await,
            Command::Serve(options) => serve(options).await,
        }
    });
    ended.unwrap_or_else(Outcome::Failed)
}

async fn serve(options: Serve) -> Result<Outcome, String> {
    let tls = tls::server(&options.files)?;
    let listener = TcpListener::bind(options.listen).await.map_err(|e| format!("{}: {e}", options.listen))?;
    let events: Events = Arc::new(|event| tell(&event));
    listening(&listener, &events)?;
    server::serve(listener, tls, options.rules, events).await.map_err(|e| e.to_string())?;
    Ok(Outcome::Done)
}

async fn connect(options: Connect) -> Result<Outcome, String> {
    let tls = tls::client(&options.files, options.expect)?;
    let events: Events = Arc::new(|event| tell_error(&event));
    let tunnel = client::connect(options.target, tls, events.clone()).await?;
    match options.listen {
        None => one(&tunnel, &options.head, &events).await,
        Some(address) => {
            let listener = TcpListener::bind(address).await.map_err(|e| format!("{address}: {e}"))?;
            listening(&listener, &events)?;
            many(listener, tunnel, options.head, events).await
        }
    }
}

fn listening(listener: &TcpListener, events: &Events) -> Result<(), String> {
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    events(json!({"event": "listening", "address": address.to_string()}));
    Ok(())
}

/// One stream between stdin and stdout.
async fn one(tunnel: &Tunnel, head: &Head, events: &Events) -> Result<Outcome, String> {
    let mut opened = open(tunnel, head, events).await?;
    let Some(halves) = opened.halves.take() else { return Ok(Outcome::Refused) };
    let ended = pipe(tokio::io::stdin(), tokio::io::stdout(), halves).await;
    finished(&ended, events);
    Ok(match ended.how {
        Err(Broken::Malformed(_)) => Outcome::Violated,
        _ if !opened.violations.is_empty() => Outcome::Violated,
        Err(_) => Outcome::Broken,
        Ok(()) => Outcome::Done,
    })
}

/// A stream for each connection to the listener, all on one tunnel.
async fn many(listener: TcpListener, tunnel: Tunnel, head: Head, events: Events) -> Result<Outcome, String> {
    loop {
        let (tcp, _) = listener.accept().await.map_err(|e| e.to_string())?;
        tcp.set_nodelay(true).map_err(|e| e.to_string())?;
        let (tunnel, head, events) = (tunnel.clone(), head.clone(), events.clone());
        tokio::spawn(async move {
            match open(&tunnel, &head, &events).await {
                Ok(mut opened) => {
                    if let Some(halves) = opened.halves.take() {
                        finished(&pipe_tcp(tcp, halves).await, &events);
                    }
                }
                Err(why) => events(json!({"event": "failed", "why": why})),
            }
        });
    }
}

async fn open(tunnel: &Tunnel, head: &Head, events: &Events) -> Result<Opened, String> {
    let opened = tunnel.open(head).await?;
    events(json!({"event": "status", "status": opened.status.as_u16(), "violations": opened.violations}));
    Ok(opened)
}

fn finished(ended: &Ended, events: &Events) {
    let why = ended.how.as_ref().err().map(ToString::to_string);
    events(json!({
        "event": "stream", "bytes_to_peer": ended.sent, "bytes_from_peer": ended.received, "why": why,
    }));
}

/// A reader that is gone doesn't end the tunnels.
fn tell(event: &serde_json::Value) {
    let _gone = writeln!(std::io::stdout(), "{event}");
}

fn tell_error(event: &serde_json::Value) {
    let _gone = writeln!(std::io::stderr(), "{event}");
}
