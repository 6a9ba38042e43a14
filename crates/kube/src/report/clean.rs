//! Takes out of texts and objects what could be a secret. Pure. It rather takes too much.

use serde_json::Value;

/// An object without what people write secrets into: values of the environment, commands and their
/// arguments, and annotations that no mesh reads.
pub(super) fn stripped(mut object: Value) -> Value {
    strip(&mut object);
    object
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
            if let Some(Value::Array(variables)) = fields.get_mut("env") {
                for variable in variables.iter_mut().filter(|variable| variable.get("value").is_some()) {
                    variable["value"] = Value::from(HIDDEN);
                }
            }
            if let Some(Value::Object(annotations)) = fields.get_mut("annotations") {
                annotations.retain(|key, _| KNOWN_DOMAINS.iter().any(|domain| key.contains(domain)));
            }
            if let Some(headers) = fields.get_mut("httpHeaders") {
                *headers = Value::from(HIDDEN);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A text without private keys, tokens, passwords in addresses, and queries of paths.
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
            let mut after = None;
            for word in line.split_inclusive(is_end) {
                cleaned.push_str(&clean_word(word, &mut after));
            }
        }
    }
    cleaned
}

/// `after` is the word that stood before, where it announces a secret.
fn clean_word(word: &str, after: &mut Option<()>) -> String {
    let bare = word.trim_end_matches(is_end);
    let end = &word[bare.len()..];
    let lower = bare.to_ascii_lowercase();
    let is_announced = !bare.is_empty() && after.take().is_some();
    if lower == "bearer" || lower == "basic" {
        *after = Some(());
    }
    let hidden = |kept: &str| format!("{kept}{HIDDEN}{end}");
    if is_announced || is_token(bare) {
        return hidden("");
    }
    if let Some(at) = lower.find('=').filter(|at| SECRET_NAMES.iter().any(|name| lower[..*at].ends_with(name))) {
        return hidden(&bare[..=at]);
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
const SECRET_NAMES: [&str; 6] = ["password", "passwd", "secret", "token", "apikey", "api_key"];
const KNOWN_DOMAINS: [&str; 4] = ["linkerd.io/", "istio.io/", "weft.io/", "prometheus.io/"];

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
        ];
        for text in texts {
            let cleaned = clean(&text);
            assert!(!cleaned.contains("SECRET") && !cleaned.contains("U0VDUkVU"), "{cleaned}");
            assert!(cleaned.contains("after"), "{cleaned}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
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
}
