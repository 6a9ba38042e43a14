//! The issuer of the mesh's certificates, and whom to trust: what the Secrets and the ConfigMap in
//! Weft's namespace come to. Pure; `keep` reads, makes and follows them.

mod keep;
mod renewal;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use pem::{EncodeConfig, LineEnding, Pem};
use weft_identity::{Authority, AuthorityError, IssuerPem};
use weft_mesh::TrustDomain;
use weft_mesh::record::Trust;
use zeroize::Zeroizing;

use crate::names::{ANCHORS_CONFIG, ISSUER_SECRET};

pub(crate) use self::keep::{Followed, Keeper, open};

/// What is written in the cluster.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// Secret `weft-issuer`: `tls.crt`, `tls.key`, `ca.crt`; or why there is none.
    pub(crate) issuer: Result<IssuerSecret, IssuerError>,
    /// ConfigMap `weft-anchors`: `ca.crt`.
    pub(crate) anchors: Option<String>,
}

/// An issuer as cert-manager writes one, and as Weft does itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct IssuerSecret {
    /// The issuer's certificate, and those between it and a root.
    pub(crate) chain: String,
    /// Its private key: secret.
    pub(crate) key: Zeroizing<String>,
    /// Its root; empty where whoever wrote it knows none.
    pub(crate) root: String,
}

/// An issuer that can sign, and whom the mesh trusts.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) authority: Authority,
    pub(crate) trust: Trust,
}

/// Why nothing can be signed with what is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IssuerError {
    #[error("expected the Secret {ISSUER_SECRET}, found none")]
    Absent,
    #[error("the Secret {ISSUER_SECRET}: expected the key {0}, found none or no text in it")]
    Missing(&'static str),
    #[error("expected a root in ca.crt of the ConfigMap {ANCHORS_CONFIG} or of the Secret {ISSUER_SECRET}, found none")]
    NoAnchor,
    #[error("the Secret {ISSUER_SECRET}: {0}")]
    Unfit(#[from] AuthorityError),
    #[error("the Secret {ISSUER_SECRET}: expected an issuer of spiffe://{expected}, found one of spiffe://{found}")]
    Domain { expected: TrustDomain, found: TrustDomain },
}

impl IssuerSecret {
    /// Reads a Secret's data.
    ///
    /// # Errors
    /// [`IssuerError::Missing`] names the key.
    pub(crate) fn read(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, IssuerError> {
        let text = |key: &'static str| {
            let text = data.get(key).and_then(|bytes| String::from_utf8(bytes.clone()).ok());
            text.filter(|text| !text.trim().is_empty()).ok_or(IssuerError::Missing(key))
        };
        let key = Zeroizing::new(text("tls.key")?);
        Ok(Self { chain: text("tls.crt")?, key, root: text("ca.crt").unwrap_or_default() })
    }
}

/// The issuer that can sign now, and the anchors: all of the ConfigMap's, and the issuer's own root.
///
/// # Errors
/// [`IssuerError`]: nothing can be signed.
pub(crate) fn settle(written: &Written, domain: &TrustDomain, now: SystemTime) -> Result<Settled, IssuerError> {
    let issuer = written.issuer.as_ref().map_err(Clone::clone)?;
    let bundle = written.anchors.as_deref().unwrap_or_default();
    let anchors = format!("{}\n{}", bundle.trim(), issuer.root.trim());
    if anchors.trim().is_empty() {
        return Err(IssuerError::NoAnchor);
    }
    let pem = IssuerPem { certificate: issuer.chain.clone(), key: issuer.key.to_string(), anchors };
    let authority = Authority::from_issuer(&pem, now)?;
    let named = authority.issuer().uris.iter().find_map(|uri| uri.strip_prefix("spiffe://")?.parse().ok());
    if let Some(found) = named.filter(|found| found != domain) {
        return Err(IssuerError::Domain { expected: domain.clone(), found });
    }
    let anchors = authority.anchors().into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let trust = Trust { domain: domain.clone(), anchors, ..Trust::default() };
    Ok(Settled { authority, trust })
}

/// Anchors in DER, as one bundle of PEM: each once, in an order of their own.
pub(crate) fn bundle(anchors: Vec<Vec<u8>>) -> String {
    let anchors: BTreeSet<Vec<u8>> = anchors.into_iter().collect();
    let sections: Vec<Pem> = anchors.into_iter().map(|der| Pem::new("CERTIFICATE", der)).collect();
    pem::encode_many_config(&sections, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// Whether a certificate stands in a bundle; both are PEM.
fn holds(bundle: &str, certificate: &str) -> bool {
    let read = |text: &str| pem::parse_many(text).unwrap_or_default();
    let found = read(bundle);
    read(certificate).first().is_some_and(|wanted| found.iter().any(|it| it.contents() == wanted.contents()))
}

#[cfg(test)]
mod tests;
