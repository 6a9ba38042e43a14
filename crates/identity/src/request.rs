//! Certificate signing requests (PKCS #10, RFC 2986): all that an authority takes from one is its key.
//!
//! Knows no authority: what the certificate will say is decided elsewhere.

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use weft_mesh::SpiffeId;

/// A request whose sender was shown to hold the private key.
pub(crate) struct Request {
    /// The key to be certified: P-256, P-384 or Ed25519.
    pub(crate) key: SubjectPublicKeyInfo,
}

impl Request {
    /// Reads a request in PEM and verifies that it is signed by the key that it names.
    ///
    /// Every other name in it is ignored, save that a URI, when present, must be `id`.
    pub(crate) fn parse(pem: &str, id: &SpiffeId) -> Result<Self, RequestError> {
        if pem.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::Length(pem.len()));
        }
        let section = pem::parse(pem).map_err(|error| RequestError::Pem(error.to_string()))?;
        if !REQUEST_TAGS.contains(&section.tag()) {
            return Err(RequestError::Pem(format!("a section named {:?}", section.tag())));
        }
        let request = match X509CertificationRequest::from_der(section.contents()) {
            Ok(([], request)) => request,
            Ok((rest, _)) => return Err(RequestError::Malformed(format!("{} more bytes after it", rest.len()))),
            Err(error) => return Err(RequestError::Malformed(error.to_string())),
        };
        let key = accepted_key(&request)?;
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        check_uris(&request, id)?;
        Ok(Self { key })
    }
}

/// Why a certificate signing request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The text is too long to be a request for one certificate.
    #[error("expected a certificate request of at most {MAX_REQUEST_BYTES} bytes, found {0}")]
    Length(usize),
    /// The text is no PEM, or the PEM of something else.
    #[error("expected a certificate request in PEM, found {0}")]
    Pem(String),
    /// The bytes are no PKCS #10 request.
    #[error("expected a PKCS #10 certificate request, found bytes that aren't one ({0})")]
    Malformed(String),
    /// The request isn't signed by the key that it names, or was changed afterwards.
    #[error("expected a certificate request signed by its own key, found another signature")]
    Signature,
    /// The key is of a kind that the mesh doesn't certify; names the kind found, as object identifiers.
    #[error("expected a key of kind P-256, P-384 or Ed25519, found {0}")]
    KeyKind(String),
    /// The request asks for another identity than the one that its sender was found to have.
    #[error("expected a request for {expected}, found one for {found:?}")]
    Identity {
        /// Who the sender is.
        expected: SpiffeId,
        /// What the request asks for.
        found: String,
    },
}

fn accepted_key(request: &X509CertificationRequest<'_>) -> Result<SubjectPublicKeyInfo, RequestError> {
    let spki = &request.certification_request_info.subject_pki;
    let kind = || {
        let curve = spki.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let curve = curve.map(|curve| format!(" {}", curve.to_id_string())).unwrap_or_default();
        RequestError::KeyKind(format!("{}{curve}", spki.algorithm.algorithm.to_id_string()))
    };
    let key = SubjectPublicKeyInfo::from_der(spki.raw).map_err(|_| kind())?;
    let accepted = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    if accepted.contains(&key.algorithm()) { Ok(key) } else { Err(kind()) }
}

fn check_uris(request: &X509CertificationRequest<'_>, id: &SpiffeId) -> Result<(), RequestError> {
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::URI(uri) if *uri != id.as_str() => {
                    return Err(RequestError::Identity { expected: id.clone(), found: (*uri).to_owned() });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A request with a P-384 key and the longest SPIFFE ID has less than 5 KiB.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// RFC 7468, section 7: the usual label, and the one that old programs write.
const REQUEST_TAGS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];
