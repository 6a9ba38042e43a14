//! Whether the program can be called: asked again and again, from inside its own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use weft_capture::{Ended, InheritedSignals, Namespaces, Program, RunAs};
use weft_wire::maker::Family;

use crate::args::{ReadyArgs, ReadyTimingArgs};
use crate::command::program::ended;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// Whether it accepts connections at a port.
    Port(u16),
    /// Whether it answers a GET with 200 to 399.
    Http {
        /// The port.
        port: u16,
        /// The path.
        path: String,
    },
    /// Whether this line of the shell, run beside it, ends with 0.
    Exec(String),
}

/// Whom it is asked of.
pub(super) struct Asked {
    /// Where the program is.
    pub(super) namespaces: Arc<Namespaces>,
    /// The workload's own addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// Whose exec's program is; the launcher's own where nothing is said.
    pub(super) user: Option<RunAs>,
    /// What exec's program begins with.
    pub(super) signals: InheritedSignals,
}

impl Check {
    /// What the command line asks for, if anything.
    pub(super) fn of(args: &ReadyArgs) -> Option<Self> {
        let http = args.http.as_ref().map(|(port, path)| Self::Http { port: *port, path: path.clone() });
        let exec = || args.exec.clone().map(Self::Exec);
        args.port.map(Self::Port).or(http).or_else(exec)
    }
}

/// Asks in the background, as long as somebody listens, and tells when the answer has become another: `false` at first.
pub(super) fn watch(check: Check, timing: ReadyTimingArgs, asked: Asked) -> watch::Receiver<bool> {
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        let seconds = |number: u16| Duration::from_secs(number.into());
        let mut gauge = Gauge::new(timing);
        sleep(seconds(timing.initial_delay)).await;
        loop {
            let passed = timeout(seconds(timing.timeout), passes(&check, &asked)).await.unwrap_or(false);
            let answer = if passed { Answer::Good } else { Answer::Bad };
            if gauge.takes(answer) && tell.send(gauge.is_ready).is_err() {
                return;
            }
            sleep(seconds(timing.period)).await;
        }
    });
    told
}

/// Whether a question was answered well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Good,
    Bad,
}

/// It takes several answers of a kind in a row to make a difference.
#[derive(Debug)]
struct Gauge {
    successes: u16,
    failures: u16,
    is_ready: bool,
    /// Answers in a row that speak against what it is.
    contrary: u16,
}

impl Gauge {
    fn new(timing: ReadyTimingArgs) -> Self {
        Self { successes: timing.successes, failures: timing.failures, is_ready: false, contrary: 0 }
    }

    /// Whether the answer makes a difference.
    fn takes(&mut self, answer: Answer) -> bool {
        let agrees = (answer == Answer::Good) == self.is_ready;
        self.contrary = if agrees { 0 } else { self.contrary + 1 };
        let changes = self.contrary >= if self.is_ready { self.failures } else { self.successes };
        if changes {
            self.is_ready = !self.is_ready;
            self.contrary = 0;
        }
        changes
    }
}

async fn passes(check: &Check, asked: &Asked) -> bool {
    match check {
        Check::Port(port) => asked.connect(*port).await.is_some(),
        Check::Http { port, path } => match asked.connect(*port).await {
            Some(stream) => answers(stream, (*port, path)).await.unwrap_or(false),
            None => false,
        },
        Check::Exec(line) => asked.succeeds(line).await,
    }
}

impl Asked {
    /// At the workload's addresses, then 127.0.0.1, then ::1, as its callers are delivered.
    async fn connect(&self, port: u16) -> Option<TcpStream> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for ip in self.addresses.iter().chain(&loopback) {
            let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
            let Ok(socket) = weft_capture::socket_inside(&self.namespaces, family) else { continue };
            let socket = TcpSocket::from_std_stream(socket.into());
            if let Ok(stream) = socket.connect(SocketAddr::new(*ip, port)).await {
                return Some(stream);
            }
        }
        None
    }

    async fn succeeds(&self, line: &str) -> bool {
        let words = ["/bin/sh", "-c", &format!("exec >/dev/null 2>&1 </dev/null; {line}")].map(Into::into);
        let program = Program { argv: words.to_vec(), user: self.user.clone(), signals: self.signals };
        let Ok(folder) = std::env::current_dir() else { return false };
        let started = weft_capture::join(&self.namespaces, &program, &folder).and_then(|held| held.start());
        let Ok(mut running) = started else { return false };
        // Dropped after its time, it is killed.
        matches!(ended(&mut running).await, Ok(Ended::Code(0)))
    }
}

/// Asks as Kubernetes does: any status of 200 to 399 will do.
async fn answers(mut stream: TcpStream, (port, path): (u16, &str)) -> std::io::Result<bool> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: weft-readiness\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    // `HTTP/1.1 200`
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(is_good(&start))
}

fn is_good(start: &[u8]) -> bool {
    let status = start.strip_prefix(b"HTTP/1.1 ").or_else(|| start.strip_prefix(b"HTTP/1.0 "));
    matches!(status, Some([b'2' | b'3', tens, ones]) if tens.is_ascii_digit() && ones.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_answers_in_a_row_make_a_difference() {
        let timing = ReadyTimingArgs { initial_delay: 0, period: 1, timeout: 1, successes: 1, failures: 3 };
        let mut gauge = Gauge::new(timing);
        let mut told = Vec::new();
        let (good, bad) = (Answer::Good, Answer::Bad);
        for answer in [bad, good, good, bad, bad, good, bad, bad, bad, bad, good] {
            if gauge.takes(answer) {
                told.push(gauge.is_ready);
            }
        }
        assert_eq!(told, [true, false, true]);
        let mut gauge = Gauge::new(ReadyTimingArgs { successes: 2, failures: 1, ..timing });
        assert_eq!(
            [good, bad, good, good, bad, good].map(|answer| gauge.takes(answer)),
            [false, false, false, true, true, false]
        );
    }

    #[test]
    fn a_good_status_is_told_from_others() {
        for (start, good) in [
            (&b"HTTP/1.1 200"[..], true),
            (b"HTTP/1.0 204", true),
            (b"HTTP/1.1 302", true),
            (b"HTTP/1.1 404", false),
            (b"HTTP/1.1 503", false),
            (b"HTTP/1.1 2xx", false),
            (b"SSH-2.0-Open", false),
        ] {
            assert_eq!(is_good(start), good, "{start:?}");
        }
    }
}
