//! What a leaf says of its bearer beside the identity: by which name signals tell of it. The authority
//! says what it knows itself, never what a request says.
//!
//! Accounts may be shared, so that an identity alone names no workload. Nothing is decided by this.

use rcgen::{DistinguishedName, DnType};
use rustls::pki_types::CertificateDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::certificate;

/// The workload that bears a leaf, as its authority knows it: the leaf's subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// What it is called in its namespace (`CN`): the name of the resource that made it, or its own.
    pub workload: String,
    /// That resource's kind, such as `Deployment` (`OU`); empty where the name is its own.
    pub kind: String,
    /// Its application (`O`).
    pub app: String,
}

impl Bearer {
    /// The subject that says so. It is empty where one of the names is longer than a subject can say.
    pub(crate) fn subject(&self) -> DistinguishedName {
        let mut subject = DistinguishedName::new();
        let Self { workload, kind, app } = self;
        let is_sayable = |text: &str| (1..=MAX_ATTRIBUTE_CHARS).contains(&text.chars().count());
        if is_sayable(workload) && is_sayable(app) && (kind.is_empty() || is_sayable(kind)) {
            subject.push(DnType::OrganizationName, app.as_str());
            if !kind.is_empty() {
                subject.push(DnType::OrganizationalUnitName, kind.as_str());
            }
            subject.push(DnType::CommonName, workload.as_str());
        }
        subject
    }

    fn of(subject: &X509Name<'_>) -> Option<Self> {
        let workload = only(subject.iter_common_name())??;
        let kind = only(subject.iter_organizational_unit())?.unwrap_or_default();
        let app = only(subject.iter_organization())??;
        Some(Self { workload, kind, app })
    }
}

/// Who bears the leaf of a verified chain (it stands first); `None` when it doesn't say.
pub fn peer_bearer(certs: &[CertificateDer<'_>]) -> Option<Bearer> {
    let leaf = certificate::parse(certs.first()?).ok()?;
    Bearer::of(leaf.subject())
}

/// The one value of an attribute, if it stands there; nothing when it stands twice, or is no text.
fn only<'a>(mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<Option<String>> {
    let value = values.next().map(|value| value.as_str().map(str::to_owned)).transpose().ok()?;
    values.next().is_none().then_some(value)
}

/// RFC 5280, appendix A.1, of each of the three.
const MAX_ATTRIBUTE_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::LeafKey;
    use crate::fixtures::{HOUR, authority, forged, id, leaf_params, now};

    fn bearer(workload: &str, kind: &str, app: &str) -> Bearer {
        Bearer { workload: workload.to_owned(), kind: kind.to_owned(), app: app.to_owned() }
    }

    fn signed(bearer: &Bearer) -> Vec<CertificateDer<'static>> {
        let csr = LeafKey::generate().unwrap().csr_pem(&id("shared")).unwrap();
        let leaf = authority().sign_for(&csr, (&id("shared"), bearer), HOUR, now()).unwrap();
        leaf.chain_pem.iter().map(|pem| pem::parse(pem).unwrap().into_contents().into()).collect()
    }

    #[test]
    fn a_leaf_says_who_bears_it() {
        for bearer in [bearer("web", "Deployment", "shop"), bearer("tools", "", "tools")] {
            let chain = signed(&bearer);
            assert_eq!(peer_bearer(&chain), Some(bearer));
            assert_eq!(crate::peer_identity(&chain).unwrap(), id("shared"));
        }
        assert_eq!(
            crate::Certificate::parse(&signed(&bearer("web", "Deployment", "shop"))[0]).unwrap().subject,
            "O=shop, OU=Deployment, CN=web"
        );
    }

    #[test]
    fn names_that_no_subject_can_hold_are_left_out_together() {
        let (long, fits) = ("x".repeat(MAX_ATTRIBUTE_CHARS + 1), "x".repeat(MAX_ATTRIBUTE_CHARS));
        assert!(peer_bearer(&signed(&bearer(&fits, &fits, &fits))).is_some());
        for bearer in [bearer(&long, "", "a"), bearer("a", &long, "a"), bearer("a", "", &long), bearer("", "", "a")] {
            assert_eq!(peer_bearer(&signed(&bearer)), None, "{bearer:?}");
        }
    }

    #[test]
    fn a_subject_that_says_it_twice_or_not_wholly_says_nothing() {
        let said = |attributes: &[(DnType, &str)]| {
            let mut params = leaf_params(&[id("web").as_str()]);
            for (kind, text) in attributes {
                params.distinguished_name.push(kind.clone(), *text);
            }
            peer_bearer(&forged(&authority(), &params).0)
        };
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[(DnType::CommonName, "web")]), None);
        assert_eq!(said(&[(DnType::OrganizationName, "web")]), None);
        assert_eq!(peer_bearer(&[]), None);
        assert_eq!(peer_bearer(&[vec![0x30, 0x03].into()]), None);
    }
}
