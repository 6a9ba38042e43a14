//! The API server's question and our answer: AdmissionReview of `admission.k8s.io/v1`, no other.

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the API server asks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Names the question.
    pub uid: String,
    /// Of what kind the object is.
    #[serde(default)]
    pub kind: Kind,
    /// The namespace; empty for objects without one.
    #[serde(default)]
    pub namespace: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(default)]
    pub operation: String,
    /// The object as it would be stored; null when it is deleted.
    #[serde(default)]
    pub object: Value,
    /// The object as it is stored; null when it is created.
    #[serde(default)]
    pub old_object: Value,
    /// Whether nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
}

/// A kind of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Kind {
    /// The API group; empty for the core one.
    #[serde(default)]
    pub group: String,
    /// The kind.
    #[serde(default)]
    pub kind: String,
}

/// Why a body is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON, or not of the right form.
    #[error("expected an AdmissionReview in JSON, found {0}")]
    Json(String),
    /// Another version, or another kind.
    #[error("expected AdmissionReview of {API_VERSION}, found {kind} of {api_version}")]
    Kind {
        /// What it calls itself.
        kind: String,
        /// The version.
        api_version: String,
    },
    /// There is no question in it.
    #[error("expected a request with its uid, found none")]
    NoRequest,
}

/// Reads a body.
///
/// # Errors
/// [`Malformed`]; never a panic, whatever the bytes are.
pub fn read_review(body: &[u8]) -> Result<Request, Malformed> {
    let wrong = |error: serde_json::Error| Malformed::Json(error.to_string());
    let envelope: Envelope = serde_json::from_slice(body).map_err(wrong)?;
    let Envelope { api_version, kind, request } = envelope;
    if api_version != API_VERSION || kind != KIND {
        return Err(Malformed::Kind { kind: shortened(kind), api_version: shortened(api_version) });
    }
    let request: Request = serde_json::from_value(request).map_err(|error| match error.is_data() {
        true => Malformed::NoRequest,
        false => wrong(error),
    })?;
    if request.uid.is_empty() { Err(Malformed::NoRequest) } else { Ok(request) }
}

fn shortened(text: String) -> String {
    if text.is_empty() { "nothing".to_owned() } else { text.chars().take(60).collect() }
}

/// The version is looked at before the rest is: what follows may have another form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    request: Value,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review {
    api_version: &'static str,
    kind: &'static str,
    pub(super) response: Response,
}

/// What becomes of the object.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    uid: String,
    pub(super) allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

/// Why an object is refused.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Review {
    /// The object is stored as it is.
    pub(super) fn allow(request: &Request, warnings: Vec<String>) -> Self {
        Self::of(Response { uid: request.uid.clone(), allowed: true, warnings, ..Response::default() })
    }

    /// The object is stored with these changes, a JSON patch.
    pub(super) fn change(request: &Request, patch: Vec<u8>, warnings: Vec<String>) -> Self {
        let (patch_type, patch) = (Some("JSONPatch"), Some(ByteString(patch)));
        Self::of(Response {
            uid: request.uid.clone(),
            allowed: true,
            patch_type,
            patch,
            warnings,
            ..Response::default()
        })
    }

    /// The object is refused.
    pub(super) fn deny(request: &Request, message: String, warnings: Vec<String>) -> Self {
        let status = Some(Status { code: 422, reason: "Invalid", message });
        Self::of(Response { uid: request.uid.clone(), status, warnings, ..Response::default() })
    }

    fn of(response: Response) -> Self {
        Self { api_version: API_VERSION, kind: KIND, response }
    }
}

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// An object has at most 3 MiB (the API server's own bound on what it decodes from a request).
pub const MAX_REVIEW_BYTES: usize = 3 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read() {
        let body = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",
            "kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"shop","operation":"CREATE",
            "object":{"metadata":{}},"dryRun":true,"userInfo":{"username":"x"}}}"#;
        let request = read_review(body).unwrap();
        assert_eq!((&*request.namespace, &*request.kind.kind, request.dry_run), ("shop", "Pod", Some(true)));
    }

    #[test]
    fn what_is_none_is_told_apart() {
        let said = |body: &str| read_review(body.as_bytes()).unwrap_err().to_string();
        assert!(said("").starts_with("expected an AdmissionReview in JSON, found EOF"));
        assert!(said("7").starts_with("expected an AdmissionReview in JSON"));
        assert_eq!(
            said(r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":7}"#),
            "expected AdmissionReview of admission.k8s.io/v1, found AdmissionReview of admission.k8s.io/v1beta1"
        );
        assert_eq!(said("{}"), "expected AdmissionReview of admission.k8s.io/v1, found nothing of nothing");
        for request in ["null", "{}", "7", r#"{"uid":""}"#, r#"{"uid":7}"#] {
            let body =
                format!(r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{request}}}"#);
            assert_eq!(read_review(body.as_bytes()), Err(Malformed::NoRequest), "{request}");
        }
    }
}
