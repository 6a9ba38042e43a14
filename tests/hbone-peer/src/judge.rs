//! Whether a CONNECT's head and its answer are what HTTP/2 and HBONE allow (RFC 9113, sections 8.2 and 8.5; RFC 9110,
//! section 9.3.6; RFC 7239; W3C Trace Context and Baggage). Pure.

use http::header::{CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, TE};
use http::{Method, request, response};

/// What is wrong with a head, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Against HTTP/2 or HBONE: such a request is answered with 400.
    pub malformed: Vec<String>,
    /// A field of metadata against its own grammar: reported, not refused.
    pub doubtful: Vec<String>,
}

impl Judgement {
    /// All of it.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.malformed.iter().chain(&self.doubtful).cloned().collect()
    }
}

/// Judges a request's head.
#[must_use]
pub fn request(head: &request::Parts) -> Judgement {
    let mut found = Judgement { malformed: connection_fields(&head.headers), doubtful: metadata(&head.headers) };
    let mut wrong = |text: String| found.malformed.push(text);
    if head.method != Method::CONNECT {
        wrong(format!("expected CONNECT, found {}", head.method));
    }
    if head.uri.scheme().is_some() {
        wrong("expected no :scheme".into());
    }
    if head.uri.path_and_query().is_some() {
        wrong("expected no :path".into());
    }
    if head.extensions.get::<h2::ext::Protocol>().is_some() {
        wrong("expected no :protocol".into());
    }
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    if !authority.is_some_and(is_host_and_port) {
        wrong(format!("expected :authority host:port, found {authority:?}"));
    }
    if head.headers.get_all(HOST).iter().any(|host| Some(host.as_bytes()) != authority.map(str::as_bytes)) {
        wrong("expected host as :authority, or none".into());
    }
    if head.headers.contains_key(CONTENT_LENGTH) {
        wrong("expected no content-length".into());
    }
    found
}

/// Judges an answer's head.
#[must_use]
pub fn response(head: &response::Parts) -> Judgement {
    let mut found = Judgement { malformed: connection_fields(&head.headers), doubtful: metadata(&head.headers) };
    if head.status.is_success() && head.headers.contains_key(CONTENT_LENGTH) {
        found.malformed.push("expected no content-length in an answer that opens a tunnel".into());
    }
    if head.status.is_success() && head.status != 200 {
        found.malformed.push(format!("expected 200, found {}", head.status.as_u16()));
    }
    found
}

fn is_host_and_port(authority: &str) -> bool {
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_ok = !host.is_empty() && !host.contains('@') && (bracketed || !host.contains(':'));
    let digits = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    host_ok && digits && port.parse::<u16>().is_ok()
}

fn connection_fields(headers: &HeaderMap) -> Vec<String> {
    let mut found: Vec<String> = CONNECTION_FIELDS
        .iter()
        .filter(|name| headers.contains_key(**name))
        .map(|name| format!("expected no {name} in HTTP/2"))
        .collect();
    if headers.get_all(TE).iter().any(|value| value.as_bytes() != b"trailers") {
        found.push("expected te: trailers, or none".into());
    }
    found
}

type Grammar = fn(&str) -> bool;

fn metadata(headers: &HeaderMap) -> Vec<String> {
    let checks: [(&str, Grammar); 3] =
        [("traceparent", is_traceparent), ("baggage", is_baggage), (FORWARDED.as_str(), is_forwarded)];
    let mut found = Vec::new();
    for (name, valid) in checks {
        for value in headers.get_all(name) {
            if !value.to_str().is_ok_and(valid) {
                found.push(format!("{name} is against its grammar: {}", String::from_utf8_lossy(value.as_bytes())));
            }
        }
    }
    if headers.get_all("traceparent").iter().count() > 1 {
        found.push("expected one traceparent".into());
    }
    found
}

fn is_traceparent(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let lengths = parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]);
    let hex = parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    lengths && hex && parts[0] != "ff" && !zero(parts[1]) && !zero(parts[2])
}

fn is_baggage(value: &str) -> bool {
    value.split(',').all(|member| {
        let pair = member.split(';').next().unwrap_or_default().trim();
        pair.split_once('=').is_some_and(|(key, value)| {
            is_token(key.trim()) && value.trim().bytes().all(|b| b.is_ascii_graphic() && !b"\",;\\".contains(&b))
        })
    })
}

/// Commas and semicolons inside quotes don't occur in what it is used for here, so they aren't looked for.
fn is_forwarded(value: &str) -> bool {
    value.split(',').all(|element| {
        element.trim().split(';').all(|pair| {
            pair.split_once('=').is_some_and(|(name, value)| {
                let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
                is_token(name) && (is_token(value) || quoted)
            })
        })
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

const CONNECTION_FIELDS: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    fn judge(method: &str, uri: &str, fields: &[(&str, &str)]) -> Judgement {
        let mut builder = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        request(&builder.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_plain_connect_is_right() {
        let fields = [
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("baggage", "k8s.namespace.name=default,service.name=a%20b;p=1"),
            ("forwarded", "for=10.0.0.1;host=\"10.0.0.2:80\""),
        ];
        assert_eq!(judge("CONNECT", "10.0.0.2:80", &fields), Judgement::default());
        assert_eq!(judge("CONNECT", "[fd00::1]:80", &[]), Judgement::default());
    }

    #[test]
    fn what_is_no_connect_is_malformed() {
        for (method, uri) in [("GET", "http://10.0.0.2:80/"), ("CONNECT", "http://10.0.0.2:80/"), ("CONNECT", "a")] {
            assert!(!judge(method, uri, &[]).malformed.is_empty(), "{method} {uri}");
        }
        for authority in
            ["10.0.0.2:0", "10.0.0.2:65536", "10.0.0.2:080", "10.0.0.2:", "me@a:80", "fd00::1:80", ":80", "a:+8"]
        {
            assert!(!is_host_and_port(authority), "{authority}");
        }
    }

    #[test]
    fn fields_of_http_1_are_malformed() {
        for (name, value) in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("content-length", "0"),
            ("host", "elsewhere:80"),
        ] {
            assert_eq!(judge("CONNECT", "10.0.0.2:80", &[(name, value)]).malformed.len(), 1, "{name}");
        }
    }

    #[test]
    fn metadata_against_its_grammar_is_only_doubtful() {
        for (name, value) in [
            ("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            ("traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
            ("baggage", "no-value"),
            ("forwarded", "for=10.0.0.1:80"),
        ] {
            let found = judge("CONNECT", "10.0.0.2:80", &[(name, value)]);
            assert!(found.malformed.is_empty() && found.doubtful.len() == 1, "{name}: {value}");
        }
    }

    #[test]
    fn an_answer_that_opens_a_tunnel_has_no_length() {
        let answer = |status: u16| {
            let built = Response::builder().status(status).header("content-length", "0").body(()).unwrap();
            response(&built.into_parts().0).malformed.len()
        };
        assert_eq!((answer(200), answer(204), answer(503)), (1, 2, 0));
    }
}
