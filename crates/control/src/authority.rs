//! The certificate authority in the state folder: made once, taken up again ever after. Keys are
//! written, never logged.

use std::time::SystemTime;

use weft_identity::{Authority, AuthorityLifetimes, AuthorityPem};
use weft_mesh::TrustDomain;

use crate::store::{Store, StoreError};

/// Takes up the authority that the state folder keeps, or makes one and keeps it.
///
/// # Errors
/// [`StoreError`] when the folder holds only a part of an authority, or one that can't sign.
pub(crate) fn open(store: &Store, domain: &TrustDomain, now: SystemTime) -> Result<Authority, StoreError> {
    let parts = PARTS.map(|name| text(store, name));
    let [root_certificate, root_key, issuer_certificate, issuer_key] = match parts {
        [Ok(None), Ok(None), Ok(None), Ok(None)] => return make(store, domain, now),
        [a, b, c, d] => [a?, b?, c?, d?],
    };
    let whole = |at: usize, part: Option<String>| part.ok_or_else(|| broken(store, PARTS[at], "there is no such file"));
    let pem = AuthorityPem {
        root_certificate: whole(0, root_certificate)?,
        root_key: whole(1, root_key)?,
        issuer_certificate: whole(2, issuer_certificate)?,
        issuer_key: whole(3, issuer_key)?,
    };
    let authority = Authority::from_pem(pem, now).map_err(|error| broken(store, FOLDER, error))?;
    let named = format!("spiffe://{domain}");
    match authority.root().uris.first() {
        Some(uri) if *uri != named => {
            let cause = format!("it is of {uri}, and the mesh's trust domain is {domain}");
            Err(broken(store, FOLDER, cause))
        }
        _ => Ok(authority),
    }
}

fn make(store: &Store, domain: &TrustDomain, now: SystemTime) -> Result<Authority, StoreError> {
    let authority = Authority::generate(domain, now, AuthorityLifetimes::default())
        .map_err(|error| broken(store, FOLDER, error))?;
    let pem = authority.to_pem().ok_or_else(|| broken(store, FOLDER, "the root's key is missing"))?;
    let parts = [&pem.root_certificate, &pem.root_key, &pem.issuer_certificate, &pem.issuer_key];
    // A crash on the way leaves no half of an authority where it would be looked for.
    for (name, part) in PARTS.iter().zip(parts) {
        store.write(&name.replacen(FOLDER, UNFINISHED, 1), part.as_bytes())?;
    }
    store.rename(UNFINISHED, FOLDER)?;
    Ok(authority)
}

fn text(store: &Store, name: &str) -> Result<Option<String>, StoreError> {
    let Some(bytes) = store.read(name)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|error| broken(store, name, error.utf8_error()))
}

fn broken(store: &Store, name: &str, cause: impl ToString) -> StoreError {
    let expected = "a certificate authority with its keys";
    StoreError::Content { path: store.path(name), expected, cause: cause.to_string() }
}

const FOLDER: &str = "authority";
const UNFINISHED: &str = "authority.new";
const PARTS: [&str; 4] = ["authority/root.crt", "authority/root.key", "authority/issuer.crt", "authority/issuer.key"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn it_is_made_once() {
        let base = tempfile::tempdir().unwrap();
        let store = Store::open(base.path()).unwrap();
        let domain = TrustDomain::default();
        let first = open(&store, &domain, SystemTime::now()).unwrap();
        let again = open(&store, &domain, SystemTime::now()).unwrap();
        assert_eq!(first.anchors(), again.anchors());
        assert!(!store.path(UNFINISHED).exists());
        let other = "example.org".parse().unwrap();
        let error = open(&store, &other, SystemTime::now()).unwrap_err().to_string();
        assert!(error.contains("spiffe://cluster.local") && error.contains("example.org"), "{error}");
    }

    #[test]
    fn a_part_of_one_is_an_error_and_nothing_is_made_anew() {
        let base = tempfile::tempdir().unwrap();
        let store = Store::open(base.path()).unwrap();
        let domain = TrustDomain::default();
        open(&store, &domain, SystemTime::now()).unwrap();
        fs::remove_file(store.path("authority/issuer.key")).unwrap();
        let error = open(&store, &domain, SystemTime::now()).unwrap_err().to_string();
        assert!(error.contains("issuer.key"), "{error}");
        fs::write(store.path("authority/issuer.key"), "none").unwrap();
        open(&store, &domain, SystemTime::now()).unwrap_err();
        assert_eq!(fs::read(store.path("authority/issuer.key")).unwrap(), b"none");
    }
}
