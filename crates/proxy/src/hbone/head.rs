//! What CONNECT says of the caller: the destination as authority, and for whoever watches `baggage`,
//! `forwarded` (RFC 7239) and `traceparent` (W3C Trace Context). Pure, save for the ids of a new trace.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::BuildHasher;
use std::net::SocketAddr;

use http::header::CONTENT_LENGTH;
use http::{Method, Request, Uri};
use weft_wire::head::{Head, Trace};

use crate::metrics::Party;

/// The request that opens a stream to `head.destination`.
///
/// # Errors
/// When a value is no header's; the names of a mesh never are such.
pub(super) fn request(own: &Party, head: &Head) -> Result<Request<()>, http::Error> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(Uri::builder().authority(head.destination.to_string()).build()?)
        .header("baggage", baggage(own))
        .header("forwarded", format!("for=\"{}\"", head.source))
        .header("traceparent", traceparent(head.trace.unwrap_or_else(new_trace)))
        .body(())
}

/// Reads a CONNECT's authority.
///
/// # Errors
/// A text for logs: it is no CONNECT to an address.
pub(super) fn destination<T>(request: &Request<T>) -> Result<SocketAddr, String> {
    if request.method() != Method::CONNECT {
        return Err(format!("expected CONNECT, found {}", request.method()));
    }
    if request.headers().contains_key(CONTENT_LENGTH) {
        return Err("expected a CONNECT without content-length".to_owned());
    }
    let authority = request.uri().authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let address: SocketAddr =
        authority.parse().map_err(|_| format!("expected an authority IP:PORT, found {authority:?}"))?;
    match address.port() {
        0 => Err(format!("expected a port above 0, found {authority:?}")),
        _ => Ok(address),
    }
}

/// The caller in OpenTelemetry's words, in the order in which ztunnel has them.
fn baggage(own: &Party) -> String {
    let mut text = String::new();
    for (name, value) in
        [("k8s.namespace.name", &own.namespace), ("k8s.pod.name", &own.workload), ("service.name", &own.app)]
    {
        let comma = if text.is_empty() { "" } else { "," };
        let _infallible = write!(text, "{comma}{name}=");
        for byte in value.bytes() {
            let _infallible = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => write!(text, "{}", char::from(byte)),
                other => write!(text, "%{other:02X}"),
            };
        }
    }
    text
}

fn traceparent(Trace { trace_id, parent_id, flags }: Trace) -> String {
    let mut text = String::with_capacity(55);
    text.push_str("00-");
    for byte in trace_id {
        let _infallible = write!(text, "{byte:02x}");
    }
    text.push('-');
    for byte in parent_id {
        let _infallible = write!(text, "{byte:02x}");
    }
    let _infallible = write!(text, "-{flags:02x}");
    text
}

/// A trace that begins here and isn't sampled.
fn new_trace() -> Trace {
    // An id of zeros is none.
    let random = |n: u8| RandomState::new().hash_one(n) | 1;
    let trace_id = (u128::from(random(0)) << 64) | u128::from(random(1));
    Trace { trace_id: trace_id.to_be_bytes(), parent_id: random(2).to_be_bytes(), flags: 0 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weft_wire::head::Kind;

    use super::*;

    fn party(app: &str) -> Party {
        let name = |text: &str| Arc::from(text);
        Party { workload: name("web-1"), namespace: name("shop"), app: name(app), principal: None }
    }

    fn head(destination: &str, trace: Option<Trace>) -> Head {
        let source = "240.240.1.1:40000".parse().unwrap();
        Head { kind: Kind::Tcp, destination: destination.parse().unwrap(), source, trace }
    }

    #[test]
    fn a_request_says_who_calls_what() {
        let trace = Trace { trace_id: [0xab; 16], parent_id: [1; 8], flags: 1 };
        let request = request(&party("we b,\""), &head("[fd00::1]:80", Some(trace))).unwrap();
        assert_eq!(request.uri().to_string(), "[fd00::1]:80");
        for (name, expected) in [
            ("baggage", "k8s.namespace.name=shop,k8s.pod.name=web-1,service.name=we%20b%2C%22"),
            ("forwarded", "for=\"240.240.1.1:40000\""),
            ("traceparent", "00-abababababababababababababababab-0101010101010101-01"),
        ] {
            assert_eq!(request.headers()[name], expected);
        }
        assert_eq!(destination(&request), Ok("[fd00::1]:80".parse().unwrap()));
    }

    #[test]
    fn a_trace_that_begins_here_has_ids_of_its_own() {
        let [one, other] = [(), ()].map(|()| request(&party("web"), &head("10.0.0.1:80", None)).unwrap());
        let text = one.headers()["traceparent"].to_str().unwrap();
        assert_eq!((text.len(), &text[52..]), (55, "-00"));
        assert_ne!(one.headers()["traceparent"], other.headers()["traceparent"]);
    }

    #[test]
    fn what_names_no_address_is_no_destination() {
        let uri = |authority: &str| Uri::builder().authority(authority).build().unwrap();
        for authority in ["api.default.svc.cluster.local:80", "10.0.0.1", "10.0.0.1:0", "[::1]", "user@10.0.0.1:80"] {
            let request = Request::builder().method(Method::CONNECT).uri(uri(authority)).body(()).unwrap();
            assert!(destination(&request).is_err(), "{authority}");
        }
        let connect = |builder: http::request::Builder| destination(&builder.uri(uri("10.0.0.1:80")).body(()).unwrap());
        assert!(connect(Request::builder().method(Method::CONNECT)).is_ok());
        assert!(connect(Request::builder().method(Method::GET)).is_err());
        assert!(connect(Request::builder().method(Method::CONNECT).header(CONTENT_LENGTH, "0")).is_err());
    }
}
