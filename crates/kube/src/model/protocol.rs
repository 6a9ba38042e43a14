//! What is spoken on a Service's port, as `appProtocol` or else the port's name says.
//!
//! Source: istio-semantics, "Protocol selection"; KEP-3726 for the `kubernetes.io/` values; Linkerd's
//! `linkerd.io/` ones.

use weft_mesh::record::AppProtocol;

/// What is spoken by declaration. `appProtocol` decides alone where it is set; nothing known means
/// that the first bytes tell.
pub(crate) fn declared(app_protocol: Option<&str>, port_name: Option<&str>) -> AppProtocol {
    let text = app_protocol.or(port_name).unwrap_or_default().to_ascii_lowercase();
    match text.as_str() {
        "kubernetes.io/h2c" => AppProtocol::Http2,
        "kubernetes.io/ws" => AppProtocol::Http,
        "kubernetes.io/wss" | "linkerd.io/opaque" | "linkerd.io/tcp" => AppProtocol::Tcp,
        // Over HTTP/1.1 as over HTTP/2, and its errors are no gRPC statuses.
        "grpc-web" => AppProtocol::Http,
        text if text.starts_with("grpc-web-") => AppProtocol::Http,
        text => prefixed(text.split('-').next().unwrap_or_default()),
    }
}

fn prefixed(prefix: &str) -> AppProtocol {
    match prefix {
        "http" => AppProtocol::Http,
        "http2" | "h2c" => AppProtocol::Http2,
        "grpc" => AppProtocol::Grpc,
        "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" => AppProtocol::Tcp,
        _ => AppProtocol::Detect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_beats_the_name() {
        let cases = [
            (None, None, AppProtocol::Detect),
            (None, Some("http"), AppProtocol::Http),
            (None, Some("http-admin"), AppProtocol::Http),
            (None, Some("HTTP2-x"), AppProtocol::Http2),
            (None, Some("grpc"), AppProtocol::Grpc),
            (None, Some("grpc-web"), AppProtocol::Http),
            (None, Some("grpc-web-ui"), AppProtocol::Http),
            (None, Some("https"), AppProtocol::Tcp),
            (None, Some("redis-main"), AppProtocol::Tcp),
            (None, Some("httpx"), AppProtocol::Detect),
            (None, Some("web"), AppProtocol::Detect),
            (Some("kubernetes.io/h2c"), Some("tcp-x"), AppProtocol::Http2),
            (Some("kubernetes.io/ws"), None, AppProtocol::Http),
            (Some("linkerd.io/opaque"), Some("http"), AppProtocol::Tcp),
            (Some("TLS"), Some("http"), AppProtocol::Tcp),
            // Nothing that we know: the name says nothing beside it.
            (Some("example.com/mine"), Some("http"), AppProtocol::Detect),
        ];
        for (app_protocol, name, expected) in cases {
            assert_eq!(declared(app_protocol, name), expected, "{app_protocol:?} {name:?}");
        }
    }
}
