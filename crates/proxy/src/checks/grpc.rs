//! A probe by gRPC's health protocol (`grpc.health.v1.Health/Check`), as the kubelet makes it.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client;
use http::{Method, Request, Response};

use super::http::connect;

/// Asks whether the service is serving.
///
/// # Errors
/// When it isn't, or doesn't say so.
pub(super) async fn check(at: SocketAddr, service: &str) -> Result<(), String> {
    let (sender, connection) = client::handshake(connect(at).await?).await.map_err(|error| error.to_string())?;
    tokio::select! {
        checked = ask(sender, at, service) => checked,
        ended = connection => Err(ended.err().map_or_else(|| "the program ended it".to_owned(), |e| e.to_string())),
    }
}

async fn ask(sender: client::SendRequest<Bytes>, at: SocketAddr, service: &str) -> Result<(), String> {
    let failed = |error: h2::Error| error.to_string();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{at}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/weft")
        .body(())
        .map_err(|error| error.to_string())?;
    let mut sender = sender.ready().await.map_err(failed)?;
    let (response, mut body) = sender.send_request(request, false).map_err(failed)?;
    body.send_data(message(service), true).map_err(failed)?;
    let (head, mut body) = response.await.map(Response::into_parts).map_err(failed)?;
    let mut answer = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(failed)?;
        body.flow_control().release_capacity(data.len()).map_err(failed)?;
        answer.extend_from_slice(&data);
        if answer.len() > ANSWER_BYTES {
            return Err("expected a short answer, found a long one".to_owned());
        }
    }
    let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
    let status = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status"));
    match status.map(|status| status.as_bytes()) {
        Some(b"0") if is_serving(&answer) => Ok(()),
        Some(b"0") => Err("the program says that it isn't serving".to_owned()),
        Some(code) => Err(format!("the program answered with gRPC status {}", String::from_utf8_lossy(code))),
        None => Err(format!("expected an answer of gRPC, found status {}", head.status)),
    }
}

/// `HealthCheckRequest`: the service's name is field 1.
fn message(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length > 0x7f {
            // The casts are exact: seven bits.
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// `HealthCheckResponse`: field 1 is the status, and 1 is SERVING.
fn is_serving(answer: &[u8]) -> bool {
    answer == [0, 0, 0, 0, 2, 0x08, 1]
}

const ANSWER_BYTES: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_a_message_of_grpc() {
        assert_eq!(message("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(message("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = message(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(vec![0; ANSWER_BYTES + 1].into(), true).unwrap();
            }
        });
        assert_eq!(check(at, "").await.unwrap_err(), "expected a short answer, found a long one");
    }
}
