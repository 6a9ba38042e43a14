//! What tests of HTTP share: reading and writing by hand, and programs not ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A head, up to its empty line.
pub(crate) fn head_of(socket: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        let length = socket.read(&mut byte);
        assert!(matches!(length, Ok(1)), "{length:?} after {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The program's next connection on which something is said. A client that is slow to speak has the
/// program dialled before it is known to speak HTTP; that connection ends without a word.
pub(crate) fn asked(listener: &TcpListener) -> TcpStream {
    loop {
        let socket = crate::harness::accept(listener);
        if socket.peek(&mut [0]).is_ok_and(|length| length == 1) {
            return socket;
        }
    }
}

/// The program's connection on which the next request comes: the one that was `kept`, or another where
/// the proxy has closed that, because it was idle for so long on a busy machine.
pub(crate) fn asked_again(listener: &TcpListener, kept: Option<TcpStream>) -> TcpStream {
    let lives = kept.filter(|socket| socket.peek(&mut [0]).is_ok_and(|length| length == 1));
    lives.unwrap_or_else(|| asked(listener))
}

pub(crate) fn exactly(socket: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

pub(crate) fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    bytes
}

/// How a large body is framed.
#[derive(Clone, Copy)]
pub(crate) enum Framing {
    Length,
    Chunked,
}

const CHUNK: usize = 1 << 16;

impl Framing {
    pub(crate) fn field(self, length: usize) -> String {
        match self {
            Self::Length => format!("Content-Length: {length}\r\n"),
            Self::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        }
    }

    /// How many bytes a body of `length` takes.
    pub(crate) fn bytes(self, length: usize) -> usize {
        match self {
            Self::Length => length,
            Self::Chunked => length / CHUNK * (CHUNK + "10000\r\n\r\n".len()) + "0\r\n\r\n".len(),
        }
    }
}

fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

pub(crate) fn send_body(socket: &mut TcpStream, framing: Framing, length: usize) {
    for start in (0..length).step_by(CHUNK) {
        let data: Vec<u8> = (start..start + CHUNK).map(pattern).collect();
        let message = match framing {
            Framing::Length => data,
            Framing::Chunked => [format!("{CHUNK:x}\r\n").as_bytes(), &data, b"\r\n"].concat(),
        };
        socket.write_all(&message).unwrap();
    }
    if matches!(framing, Framing::Chunked) {
        socket.write_all(b"0\r\n\r\n").unwrap();
    }
}

/// Reads a body that [`send_body`] sent. Returns the most memory that this process had meanwhile.
pub(crate) fn check_body(socket: &mut TcpStream, framing: Framing, length: usize) -> u64 {
    let mut most = 0;
    let mut data = vec![0; CHUNK];
    for start in (0..length).step_by(CHUNK) {
        if matches!(framing, Framing::Chunked) {
            assert_eq!(exactly(socket, 7), format!("{CHUNK:x}\r\n").as_bytes());
        }
        socket.read_exact(&mut data).unwrap();
        assert!(data.iter().enumerate().all(|(n, byte)| *byte == pattern(start + n)), "after {start}");
        if matches!(framing, Framing::Chunked) {
            assert_eq!(exactly(socket, 2), b"\r\n");
        }
        if start % (CHUNK * 64) == 0 {
            most = most.max(anonymous_kib());
        }
    }
    if matches!(framing, Framing::Chunked) {
        assert_eq!(exactly(socket, 5), b"0\r\n\r\n");
    }
    most
}

/// `length` bytes each way at once; then each side hears that the other one has ended.
pub(crate) fn whole_both_ways(caller: &TcpStream, callee: &TcpStream, length: usize) {
    std::thread::scope(|scope| {
        for socket in [caller, callee] {
            let (mut sending, mut receiving) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
            scope.spawn(move || {
                send_body(&mut sending, Framing::Length, length);
                sending.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                check_body(&mut receiving, Framing::Length, length);
                assert_eq!(read_to_end(&mut receiving), b"");
            });
        }
    });
}

/// Runs a test's body in a process in which no other test runs, so that memory can be told.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args([test, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

const ALONE: &str = "WEFT_TEST_ALONE";

/// Anonymous memory of this process, in KiB.
pub(crate) fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Python's file server on a folder of its own, and its port, which it chooses and tells.
pub(crate) fn python_server() -> (TempDir, Child, u16) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Command::new("python3")
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let port = said.split_once(" port ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    let port = port.unwrap_or_else(|| panic!("python3 -m http.server said {said:?}"));
    (folder, server, port)
}
