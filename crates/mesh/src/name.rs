//! Names that can't be wrong: once parsed, a trust domain or a SPIFFE ID needs no second check.
//!
//! Source: the SPIFFE ID standard (sections 2.1 and 2.2) for characters and lengths, and Istio's
//! convention `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` for the path.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The scheme of every SPIFFE ID.
const SCHEME: &str = "spiffe://";
/// The longest SPIFFE ID that must be supported, in bytes (SPIFFE ID standard, section 2.3).
const MAX_ID_BYTES: usize = 2048;
/// The longest trust domain, in bytes (SPIFFE ID standard, section 2.1).
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// Why a text is no name of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text doesn't begin with `spiffe://`.
    #[error("expected an ID that begins with spiffe://, found {0:?}")]
    Scheme(String),
    /// The trust domain is empty, too long, or holds a character outside `[a-z0-9._-]`.
    #[error("expected a trust domain of 1 to 255 characters out of a-z, 0-9, '.', '-', '_', found {0:?}")]
    TrustDomain(String),
    /// The path isn't `/ns/<namespace>/sa/<service account>`.
    #[error("expected TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT, found {0:?}")]
    Path(String),
    /// The whole ID is longer than the standard allows.
    #[error("expected an ID of at most 2048 bytes, found {0}")]
    Length(usize),
    /// A workload's id isn't `<namespace>/<name>`.
    #[error("expected NAMESPACE/NAME, found {0:?}")]
    Workload(String),
}

/// A SPIFFE trust domain, such as `cluster.local`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The trust domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    /// `cluster.local`, as Istio and Linkerd have it.
    fn default() -> Self {
        Self(Arc::from("cluster.local"))
    }
}

impl FromStr for TrustDomain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = (1..=MAX_TRUST_DOMAIN_BYTES).contains(&text.len());
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if fits && text.bytes().all(allowed) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(NameError::TrustDomain(text.to_owned()))
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An identity of the mesh: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
///
/// Cloning is cheap (one reference count).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    uri: Arc<str>,
    /// Where `/ns/` begins.
    trust_domain_end: u16,
    /// Where `/sa/` begins.
    namespace_end: u16,
}

/// The text that policies match: a SPIFFE ID without its scheme.
pub type Principal<'a> = &'a str;

impl SpiffeId {
    /// Builds an ID of its three parts.
    ///
    /// # Errors
    /// [`NameError`] when a part is empty or holds a character that a SPIFFE path can't.
    pub fn new(domain: &TrustDomain, namespace: &str, account: &str) -> Result<Self, NameError> {
        format!("{SCHEME}{domain}/ns/{namespace}/sa/{account}").parse()
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The URI without `spiffe://`, as Istio's `principals` are written.
    pub fn principal(&self) -> Principal<'_> {
        &self.uri[SCHEME.len()..]
    }

    /// The trust domain as text.
    pub fn trust_domain(&self) -> &str {
        &self.uri[SCHEME.len()..usize::from(self.trust_domain_end)]
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.uri[usize::from(self.trust_domain_end) + "/ns/".len()..usize::from(self.namespace_end)]
    }

    /// The service account.
    pub fn service_account(&self) -> &str {
        &self.uri[usize::from(self.namespace_end) + "/sa/".len()..]
    }

    /// Parses an ID with or without its scheme, as people type it.
    ///
    /// # Errors
    /// [`NameError`], as for [`FromStr`].
    pub fn parse_lenient(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(SCHEME) {
            Some(_) => text.parse(),
            None => format!("{SCHEME}{text}").parse(),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_ID_BYTES {
            return Err(NameError::Length(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| NameError::Scheme(text.to_owned()))?;
        let mut parts = rest.split('/');
        let wrong = || NameError::Path(text.to_owned());
        let domain: TrustDomain = parts.next().unwrap_or_default().parse()?;
        let (Some("ns"), Some(namespace), Some("sa"), Some(account), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        if !is_path_segment(namespace) || !is_path_segment(account) {
            return Err(wrong());
        }
        // Both fit: the whole text has at most 2048 bytes.
        let trust_domain_end = (SCHEME.len() + domain.as_str().len()) as u16;
        let namespace_end = trust_domain_end + ("/ns/".len() + namespace.len()) as u16;
        Ok(Self { uri: Arc::from(text), trust_domain_end, namespace_end })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

/// SPIFFE ID standard, section 2.2: letters, digits, `.`, `-`, `_`; never `.` or `..`.
fn is_path_segment(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(allowed)
}

/// Which running workload is meant: `<namespace>/<name of the replica>`, unique in a mesh.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadId {
    text: Arc<str>,
    namespace_end: u16,
}

impl WorkloadId {
    /// Builds an id of namespace and name.
    ///
    /// # Errors
    /// [`NameError::Workload`] when a part is no name.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        format!("{namespace}/{name}").parse()
    }

    /// `<namespace>/<name>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.text[..usize::from(self.namespace_end)]
    }

    /// The replica's own name.
    pub fn name(&self) -> &str {
        &self.text[usize::from(self.namespace_end) + 1..]
    }
}

impl FromStr for WorkloadId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((namespace, name)) if text.len() <= 512 && is_path_segment(namespace) && is_path_segment(name) => {
                Ok(Self { text: Arc::from(text), namespace_end: namespace.len() as u16 })
            }
            _ => Err(NameError::Workload(text.to_owned())),
        }
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_parts() {
        let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/checkout".parse().unwrap();
        assert_eq!(id.trust_domain(), "cluster.local");
        assert_eq!(id.namespace(), "shop");
        assert_eq!(id.service_account(), "checkout");
        assert_eq!(id.principal(), "cluster.local/ns/shop/sa/checkout");
        assert_eq!(SpiffeId::parse_lenient(id.principal()).unwrap(), id);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "cluster.local/ns/a/sa/b",
            "spiffe:///ns/a/sa/b",
            "spiffe://CLUSTER/ns/a/sa/b",
            "spiffe://td/ns//sa/b",
            "spiffe://td/ns/a/sa/",
            "spiffe://td/ns/a/sa/b/",
            "spiffe://td/ns/a/sa/b/c",
            "spiffe://td/ns/../sa/b",
            "spiffe://td/ns/a b/sa/b",
            "spiffe://td:80/ns/a/sa/b",
            "spiffe://td/sa/a/ns/b",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_and_trust_domains_are_as_long_as_the_standard_lets_them_be() {
        assert!("d".repeat(255).parse::<TrustDomain>().is_ok());
        assert!("d".repeat(256).parse::<TrustDomain>().is_err());
        let id = |length: usize| format!("spiffe://td/ns/a/sa/{}", "b".repeat(length - 20));
        assert!(id(2048).parse::<SpiffeId>().is_ok());
        assert!(id(2049).parse::<SpiffeId>().is_err());
    }

    #[test]
    fn a_workload_id_has_two_parts() {
        let id: WorkloadId = "default/web-1".parse().unwrap();
        assert_eq!((id.namespace(), id.name()), ("default", "web-1"));
        for text in ["", "web", "/web", "a/", "a/b/c"] {
            assert!(text.parse::<WorkloadId>().is_err(), "{text}");
        }
    }
}
