//! Takes out of texts and objects what could be a secret. Pure. It rather takes too much.

use std::mem;

use serde_json::{Map, Value};

/// An object without what people write secrets into: values of the environment, commands and their
/// arguments, options of volumes, what programs said as they ended or failed a probe, and annotations that no
/// mesh reads.
pub(super) fn stripped(mut object: Value) -> Value {
    quiet_event(&mut object);
    strip(&mut object);
    object
}

/// What a kubelet tells of a probe holds its command, or what that printed.
fn quiet_event(object: &mut Value) {
    let Some(text) = object["message"].as_str().filter(|_| object["involvedObject"].is_object()) else { return };
    let Some((what, why)) = text.split_once(": ").filter(|(what, _)| what.contains(" probe ")) else { return };
    if !PROBES_OWN.iter().any(|known| why.starts_with(known)) {
        object["message"] = Value::from(format!("{what}: {HIDDEN}"));
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Object(fields) => {
            fields.remove("managedFields");
            for key in ["command", "args"] {
                if let Some(found) = fields.get_mut(key).filter(|found| found.is_array()) {
                    *found = Value::from(HIDDEN);
                }
            }
            for key in ["volumeAttributes", "options"] {
                if let Some(found) = fields.get_mut(key).filter(|found| found.is_object()) {
                    *found = Value::from(HIDDEN);
                }
            }
            if let Some(Value::Array(variables)) = fields.get_mut("env") {
                for variable in variables.iter_mut().filter(|variable| variable.get("value").is_some()) {
                    variable["value"] = Value::from(HIDDEN);
                }
            }
            if let Some(Value::Object(annotations)) = fields.get_mut("annotations") {
                annotations.retain(|key, _| is_known(key));
                let is_structured = |value: &&mut Value| value.as_str().is_some_and(|it| it.contains(['{', '[', '\n']));
                annotations.values_mut().filter(is_structured).for_each(|value| *value = Value::from(HIDDEN));
            }
            if let Some(headers) = fields.get_mut("httpHeaders") {
                *headers = Value::from(HIDDEN);
            }
            if let Some(Value::Object(request)) = fields.get_mut("httpGet") {
                strip_request(request);
            }
            if let Some(message) = fields.get_mut("terminated").and_then(|ended| ended.get_mut("message")) {
                *message = Value::from(HIDDEN);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A probe's request without its query, and without who asks.
fn strip_request(request: &mut Map<String, Value>) {
    for (key, secret) in [("path", '?'), ("host", '@')] {
        let parts = request.get(key).and_then(Value::as_str).and_then(|text| text.split_once(secret));
        let kept = parts.map(|(before, after)| match secret {
            '?' => format!("{before}?"),
            _ => format!("{HIDDEN}@{after}"),
        });
        if let Some(kept) = kept {
            request.insert(key.to_owned(), kept.into());
        }
    }
}

/// Whether an annotation is a mesh's or Prometheus's.
fn is_known(key: &str) -> bool {
    let domain = key.split('/').next().unwrap_or_default();
    let is_of = |known: &&str| domain.strip_suffix(*known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    KNOWN_DOMAINS.iter().any(is_of)
}

/// A text without private keys, tokens, passwords, and queries of paths.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") {
            // In JSON a whole key stands in one line.
            in_key = !line.contains("-----END ");
            cleaned.push_str(HIDDEN);
            cleaned.push('\n');
        } else if in_key {
            in_key = !line.contains("-----END ");
        } else {
            let mut before = Before::Nothing;
            for word in line.split_inclusive(is_end) {
                cleaned.push_str(&clean_word(word, &mut before));
            }
        }
    }
    cleaned
}

/// What stands before a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing of interest.
    Nothing,
    /// A secret's name, in quotes: a colon would announce it.
    Name,
    /// What announces a secret.
    Announcement,
    /// The same, and a quote that has yet to end.
    Quote,
}

fn clean_word(word: &str, before: &mut Before) -> String {
    let bare = word.trim_end_matches(is_end);
    let end = &word[bare.len()..];
    if bare.is_empty() {
        if *before == Before::Announcement && is_quote(end) {
            *before = Before::Quote;
        }
        return word.to_owned();
    }
    let was = mem::replace(before, Before::Nothing);
    let lower = bare.to_ascii_lowercase();
    let hidden = |kept: &str| format!("{kept}{HIDDEN}{end}");
    match was {
        Before::Quote => {
            *before = if is_quote(end) { Before::Nothing } else { Before::Quote };
            return hidden("");
        }
        Before::Announcement if !is_structure(&lower) => return hidden(""),
        Before::Name if matches!(bare, ":" | "=") => {
            *before = if is_quote(end) { Before::Quote } else { Before::Announcement };
            return word.to_owned();
        }
        _ => {}
    }
    if is_token(bare) {
        return hidden("");
    }
    if let Some(at) = SECRET_NAMES.iter().filter_map(|name| behind(&lower, name)).min() {
        if at < bare.len() {
            return hidden(&bare[..at]);
        }
        *before = if is_quote(end) { Before::Quote } else { Before::Announcement };
        return word.to_owned();
    }
    if matches!(&*lower, "bearer" | "basic") {
        *before = Before::Announcement;
    } else if is_quote(end) && SECRET_NAMES.iter().any(|name| lower.ends_with(name)) {
        *before = Before::Name;
    }
    if let (Some(begin), Some(at)) = (bare.find("://"), bare.rfind('@'))
        && begin < at
    {
        return format!("{}{HIDDEN}{}{end}", &bare[..begin + 3], &bare[at..]);
    }
    match bare.find('?') {
        Some(at) if bare.starts_with('/') || bare.contains("://") => hidden(&bare[..=at]),
        _ => word.to_owned(),
    }
}

/// Where the value begins that stands behind a name, in the same word.
fn behind(word: &str, name: &str) -> Option<usize> {
    let at = word.find(&format!("{name}=")).into_iter().chain(word.find(&format!("{name}:"))).min()?;
    Some(at + name.len() + 1)
}

/// What JSON has in place of a text, and no secret is.
fn is_structure(word: &str) -> bool {
    word.starts_with(['{', '[']) || matches!(word, "null" | "true" | "false" | ":" | "=")
}

/// In JSON within JSON a backslash stands before each quote.
fn is_quote(end: &str) -> bool {
    end.starts_with(['"', '\'', '\\'])
}

/// A JSON Web Token: three parts in base64url, of which the first begins with `{"`.
fn is_token(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let inner = |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    parts.len() == 3 && word.starts_with("eyJ") && parts.iter().all(inner)
}

fn is_end(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '<' | '>' | '(' | ')' | '\\')
}

const HIDDEN: &str = "[left out]";
const SECRET_NAMES: [&str; 12] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "accesskey",
    "access_key",
    "sessionid",
    "session",
    "signature",
    "credential",
];
const KNOWN_DOMAINS: [&str; 4] = ["linkerd.io", "istio.io", "weft.io", "prometheus.io"];
/// What a kubelet says of probes by HTTP, TCP and gRPC, in its own words.
const PROBES_OWN: [&str; 5] =
    ["HTTP probe failed", "Get \"http", "dial tcp", "service unhealthy", "timeout: failed to connect service"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn planted_secrets_dont_come_through() {
        let key = "-----BEGIN PRIVATE KEY-----\nSECRETKEY\nSECRETMORE\n-----END PRIVATE KEY-----\n";
        let token = "eyJhbGciOi.eyJzdWIiOiJTRUNSRVQ.SECRETSIGNATURE";
        let texts = [
            format!("before\n{key}after\n"),
            format!("\"tls.key\": {:?}, \"after\": 1\nafter", key),
            format!("authorization: Bearer {token} after"),
            format!("{{\"token\":\"{token}\"}} after"),
            "Authorization: Basic U0VDUkVUOnNlY3JldA== after".to_owned(),
            "postgres://user:SECRET@db:5432/shop after".to_owned(),
            "GET /charge?card=SECRET HTTP/1.1 after".to_owned(),
            "--db-password=SECRET after".to_owned(),
            "DB_PASSWORD=SECRET, after".to_owned(),
            "a=b&password=SECRET after".to_owned(),
            "GET /cart;jsessionid=SECRET after".to_owned(),
            "DB_PASSWORD=\"SECRET and SECRET\" after".to_owned(),
            "db password: SECRET after".to_owned(),
            "{\"db_password\":\"SECRET\",\"x\":\"after\"}".to_owned(),
            "\"told\": \"{\\\"token\\\": \\\"SECRET\\\"} after\"".to_owned(),
        ];
        for text in texts {
            let cleaned = clean(&text);
            assert!(!cleaned.contains("SECRET") && !cleaned.contains("U0VDUkVU"), "{cleaned}");
            assert!(cleaned.contains("after"), "{cleaned}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let json = "\"automountServiceAccountToken\": false, \"secret\": {\"name\": \"token\"}, \"path\": \"token\"\n";
        assert_eq!(clean(json), json);
        let text =
            "16:00:01 INFO spiffe://cluster.local/ns/shop/sa/web at [fd00::1]:15008, \"GET /a/b 200\" a=b 1.2.3\n";
        assert_eq!(clean(text), text);
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert_eq!(clean(pem), pem);
    }

    #[test]
    fn objects_lose_what_people_write_secrets_into() {
        let pod = json!({
            "metadata": {"name": "web", "managedFields": [1], "annotations": {
                "linkerd.io/inject": "enabled", "kubectl.kubernetes.io/last-applied-configuration": "SECRET", "mine": "SECRET",
            }},
            "spec": {"containers": [{
                "name": "web", "image": "web:1", "command": ["web", "--key", "SECRET"], "args": ["SECRET"],
                "env": [{"name": "KEY", "value": "SECRET"}, {"name": "REF", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "readinessProbe": {"httpGet": {"path": "/", "httpHeaders": [{"name": "x", "value": "SECRET"}]}},
            }]},
        });
        let text = stripped(pod).to_string();
        assert!(!text.contains("SECRET"), "{text}");
        for kept in ["web:1", "enabled", "secretKeyRef", "KEY", "REF"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }

    #[test]
    fn objects_lose_what_programs_say_and_others_keep() {
        let pod = json!({
            "metadata": {"name": "web", "annotations": {
                "proxy.istio.io/config": "{\"proxyMetadata\":{\"A\":\"SECRET\"}}", "mylinkerd.io/key": "SECRET",
                "weft.io/replaced": "{\"readinessProbe\":{\"exec\":{\"command\":[\"SECRET\"]}}}", "weft.io/proxy-version": "0.1.0",
            }},
            "spec": {
                "volumes": [{"csi": {"driver": "d", "volumeAttributes": {"key": "SECRET"}}}, {"flexVolume": {"options": {"key": "SECRET"}}}],
                "dnsConfig": {"options": [{"name": "ndots"}]},
                "containers": [{"livenessProbe": {"httpGet": {"path": "ready?key=SECRET", "host": "user:SECRET@web"}}}],
            },
            "status": {"containerStatuses": [{"lastState": {"terminated": {"exitCode": 1, "message": "no SECRET"}}}]},
        });
        let text = stripped(pod).to_string();
        assert!(!text.contains("SECRET"), "{text}");
        for kept in ["0.1.0", "ndots", "ready?", "@web", "exitCode"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }

    #[test]
    fn events_of_probes_lose_commands_and_what_they_printed() {
        let event = |message: &str| {
            let event = json!({"involvedObject": {"kind": "Pod"}, "reason": "Unhealthy", "message": message});
            stripped(event)["message"].as_str().unwrap().to_owned()
        };
        for secret in ["command timed out: \"redis-cli -a SECRET ping\" timed out after 1s", "login with SECRET failed"]
        {
            assert_eq!(event(&format!("Readiness probe failed: {secret}")), "Readiness probe failed: [left out]");
        }
        for told in ["Readiness probe failed: HTTP probe failed with statuscode: 503", "Pulled: image x"] {
            assert_eq!(event(told), told);
        }
    }
}
