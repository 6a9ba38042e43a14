//! A client of HTTP that is just enough for probes and scrapes: one GET, and of the answer its status
//! or its body. Everything read is bounded; how long it may take is the caller's to bound.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use weft_identity::{server_name, unverified_client_config};

use super::{HttpGet, Scheme};
use crate::limits::{ADMIN_HEAD_BYTES, SCRAPE_BYTES};

/// Connects to the program.
pub(super) async fn connect(at: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(at).await.map_err(|error| format!("connecting to port {}: {error}", at.port()))
}

/// The status with which the program answers.
pub(super) async fn get(at: SocketAddr, get: &HttpGet) -> Result<u16, String> {
    let socket = connect(at).await?;
    let request = request(at, get);
    match get.scheme {
        Scheme::Http => status(socket, &request).await,
        Scheme::Https => {
            let config = unverified_client_config().map_err(|error| error.to_string())?;
            let connected = TlsConnector::from(config).connect(server_name(), socket).await;
            status(connected.map_err(|error| format!("TLS at port {}: {error}", at.port()))?, &request).await
        }
    }
}

/// The body of the program's page of metrics. It is asked in HTTP/1.0, whose answers aren't chunked.
pub(super) async fn page(at: SocketAddr, path: &str) -> Result<Vec<u8>, String> {
    let mut socket = connect(at).await?;
    let path = escaped(path);
    let request = format!("GET {path} HTTP/1.0\r\nhost: {at}\r\naccept: text/plain;version=0.0.4\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let mut bounded = socket.take(SCRAPE_BYTES + 1);
    bounded.read_to_end(&mut answer).await.map_err(|error| error.to_string())?;
    if answer.len() as u64 > SCRAPE_BYTES {
        return Err(format!("expected at most {SCRAPE_BYTES} bytes, found more"));
    }
    let end = head_end(&answer).ok_or("expected an answer of HTTP, found another")?;
    match status_of(&answer) {
        Some(200) => Ok(answer.split_off(end)),
        Some(status) => Err(format!("expected status 200, found {status}")),
        None => Err("expected an answer of HTTP, found another".to_owned()),
    }
}

fn request(at: SocketAddr, get: &HttpGet) -> String {
    let own = |name: &str| get.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let slash = if get.path.starts_with('/') { "" } else { "/" };
    let mut text = format!("GET {slash}{} HTTP/1.1\r\nconnection: close\r\n", escaped(&get.path));
    let host = get.host.as_ref().filter(|host| !host.is_empty());
    let host = host.map_or_else(|| at.to_string(), |host| format!("{host}:{}", at.port()));
    for (name, value) in [("host", host.as_str()), ("user-agent", "kube-probe/weft"), ("accept", "*/*")] {
        if !own(name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for (name, value) in &get.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text
}

/// A path as a request's first line can hold it: manifests may have it with blanks and in any script, and the
/// kubelet escapes it. Escapes that are in it stay; a fragment is nobody else's business (RFC 9110, 7.1).
fn escaped(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let one = |byte: u8| match byte {
        b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => format!("%{byte:02X}"),
        b'!'..=b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(one).collect()
}

async fn status(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Result<u16, String> {
    let failed = |error: std::io::Error| error.to_string();
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut answer = Vec::new();
    loop {
        if stream.read_buf(&mut answer).await.map_err(failed)? == 0 {
            return Err("the program ended the connection without an answer".to_owned());
        }
        // Answers of 100 to 199 announce another.
        while let (Some(100..200), Some(end)) = (status_of(&answer), head_end(&answer)) {
            answer.drain(..end);
        }
        match status_of(&answer) {
            Some(status @ 200..) => {
                // A server that is cut off while it answers would log it; most have answered by now.
                let _rest = tokio::time::timeout(REST, stream.take(REST_BYTES).read_to_end(&mut answer)).await;
                return Ok(status);
            }
            _ if answer.len() > ADMIN_HEAD_BYTES => return Err("expected an answer of HTTP, found another".to_owned()),
            _ => {}
        }
    }
}

/// The status in an answer's first line, once that is there.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = &answer[..answer.iter().position(|byte| *byte == b'\n')?];
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|status| status.len() == 3)?.parse().ok()
}

fn head_end(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4)
}

/// What is still read once the status is known.
const REST_BYTES: u64 = 10 << 10;
const REST: Duration = Duration::from_millis(100);
