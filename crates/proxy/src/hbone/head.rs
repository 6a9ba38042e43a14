//! What CONNECT says of the caller: the destination as authority, and for whoever watches `baggage`,
//! `forwarded` (RFC 7239) and `traceparent` (W3C Trace Context). Pure, save for the ids of a new trace.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::BuildHasher;
use std::net::SocketAddr;

use http::header::{CONTENT_LENGTH, FORWARDED, HeaderMap};
use http::{Method, Request, Uri};
use weft_http::authority::Authority;
use weft_http::forwarded::forwarded_host;
use weft_wire::head::Trace;

use crate::metrics::Party;
use crate::tunnel::Asked;

/// The request that opens a stream to what is asked for.
///
/// # Errors
/// When a value is no header's; the names of a mesh never are such.
pub(super) fn request(own: &Party, Asked { head, service }: Asked<'_>) -> Result<Request<()>, http::Error> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(Uri::builder().authority(head.destination.to_string()).build()?)
        .header("baggage", baggage(own))
        .header(FORWARDED, forwarded(head.source, service))
        .header("traceparent", traceparent(head.trace.unwrap_or_else(new_trace)))
        .body(())
}

/// Why a request's authority is no address of this workload's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoDestination {
    /// It is no CONNECT to anything.
    #[error("{0}")]
    Malformed(String),
    /// It names a service, as gateways to other networks do; which port of the workload that means
    /// isn't known here.
    #[error("expected an authority IP:PORT, found the name {0}")]
    Name(String),
}

/// Reads a CONNECT's authority.
///
/// # Errors
/// [`NoDestination`], for logs.
pub(super) fn destination<T>(request: &Request<T>) -> Result<SocketAddr, NoDestination> {
    let malformed =
        |expected: &str, found: &str| Err(NoDestination::Malformed(format!("expected {expected}, found {found:?}")));
    if request.method() != Method::CONNECT {
        return malformed("CONNECT", request.method().as_str());
    }
    if request.headers().contains_key(CONTENT_LENGTH) {
        return malformed("a CONNECT without content-length", "one");
    }
    let authority = request.uri().authority().map(http::uri::Authority::as_str).unwrap_or_default();
    match Authority::parse(authority.as_bytes()) {
        Some(Authority { port: None | Some(0), .. }) | None => malformed("an authority IP:PORT", authority),
        Some(Authority { host, .. }) => match authority.parse() {
            Ok(address) => Ok(address),
            Err(_) if is_name(host) => Err(NoDestination::Name(authority.to_owned())),
            Err(_) => malformed("an authority IP:PORT", authority),
        },
    }
}

/// Whether a host that is no address is a name: its last label isn't a number, by which it would be an
/// address that is miswritten.
fn is_name(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    !host.starts_with('[') && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The service that the caller's proxy says its program called. It is told, never proved: for logs.
pub(super) fn service(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(FORWARDED).iter();
    match (fields.next(), fields.next()) {
        (Some(only), None) => forwarded_host(only.as_bytes()),
        _ => None,
    }
}

/// RFC 7239, as ztunnel has it: the address in quotes, for its colon; a host without a port in none.
fn forwarded(source: SocketAddr, service: Option<&str>) -> String {
    let is_plain = |host: &&str| is_name(host) && Authority::parse(host.as_bytes()).is_some_and(|a| a.host == *host);
    match service.filter(is_plain) {
        Some(host) => format!("for=\"{source}\";host={host}"),
        None => format!("for=\"{source}\""),
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

    use weft_wire::head::{Head, Kind};

    use super::*;

    fn party(app: &str) -> Party {
        let name = |text: &str| Arc::from(text);
        Party { workload: name("web-1"), namespace: name("shop"), app: name(app), ..Party::unknown() }
    }

    fn asked(destination: &str, trace: Option<Trace>) -> Asked<'static> {
        let source = "240.240.1.1:40000".parse().unwrap();
        let head = Head { kind: Kind::Tcp, destination: destination.parse().unwrap(), source, trace };
        Asked { head, service: None }
    }

    #[test]
    fn a_request_says_who_calls_what() {
        let trace = Trace { trace_id: [0xab; 16], parent_id: [1; 8], flags: 1 };
        let asked = asked("[fd00::1]:80", Some(trace));
        let plain = request(&party("we b,\""), asked).unwrap();
        assert_eq!(plain.uri().to_string(), "[fd00::1]:80");
        for (name, expected) in [
            ("baggage", "k8s.namespace.name=shop,k8s.pod.name=web-1,service.name=we%20b%2C%22"),
            ("forwarded", "for=\"240.240.1.1:40000\""),
            ("traceparent", "00-abababababababababababababababab-0101010101010101-01"),
        ] {
            assert_eq!(plain.headers()[name], expected);
        }
        assert_eq!(destination(&plain), Ok("[fd00::1]:80".parse().unwrap()));
        assert_eq!(service(plain.headers()), None);
    }

    #[test]
    fn a_service_that_was_called_is_told() {
        let told = |host| {
            let asked = Asked { service: Some(host), ..asked("10.0.0.1:80", None) };
            request(&party("web"), asked).unwrap()
        };
        let request = told("api.shop.svc.cluster.local");
        assert_eq!(request.headers()[FORWARDED], "for=\"240.240.1.1:40000\";host=api.shop.svc.cluster.local");
        assert_eq!(service(request.headers()), Some("api.shop.svc.cluster.local"));
        for no_host in ["", "a;for=b", "a b", "a:80", "[fd00::1]"] {
            assert_eq!(told(no_host).headers()[FORWARDED], "for=\"240.240.1.1:40000\"", "{no_host}");
        }
        let mut twice = request;
        twice.headers_mut().append(FORWARDED, http::HeaderValue::from_static("host=other"));
        assert_eq!(service(twice.headers()), None);
    }

    #[test]
    fn a_trace_that_begins_here_has_ids_of_its_own() {
        let [one, other] = [(), ()].map(|()| request(&party("web"), asked("10.0.0.1:80", None)).unwrap());
        let text = one.headers()["traceparent"].to_str().unwrap();
        assert_eq!((text.len(), &text[52..]), (55, "-00"));
        assert_ne!(one.headers()["traceparent"], other.headers()["traceparent"]);
    }

    #[test]
    fn what_names_no_address_is_no_destination() {
        let uri = |authority: &str| Uri::builder().authority(authority).build().unwrap();
        let to = |authority: &str| {
            destination(&Request::builder().method(Method::CONNECT).uri(uri(authority)).body(()).unwrap())
        };
        for authority in ["10.0.0.1", "10.0.0.1:0", "10.0.0.256:80", "10.1:80", "[::1]", "user@10.0.0.1:80", "api:0"] {
            assert!(matches!(to(authority), Err(NoDestination::Malformed(_))), "{authority}");
        }
        for name in ["api.default.svc.cluster.local:80", "api.default.svc.cluster1:80"] {
            assert_eq!(to(name), Err(NoDestination::Name(name.to_owned())));
        }
        let connect = |builder: http::request::Builder| destination(&builder.uri(uri("10.0.0.1:80")).body(()).unwrap());
        assert!(connect(Request::builder().method(Method::CONNECT)).is_ok());
        assert!(connect(Request::builder().method(Method::GET)).is_err());
        assert!(connect(Request::builder().method(Method::CONNECT).header(CONTENT_LENGTH, "0")).is_err());
    }
}
