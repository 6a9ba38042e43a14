//! The certificate authority in the state folder: made once, taken up again ever after, its issuer renewed
//! under the same root. Keys are written, never logged.
//!
//! Key and certificate of the issuer stand in one file, so that after a crash they belong together whatever
//! was being written. Former versions had a file for each; those are read as well.

mod keep;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use tracing::{info, warn};
use weft_identity::{Authority, AuthorityLifetimes, AuthorityPem, issuer_due};
use weft_mesh::TrustDomain;
use zeroize::Zeroizing;

pub(crate) use self::keep::keep;
use crate::store::{Store, StoreError};

/// Takes up the authority that the state folder keeps, or makes one and keeps it. An issuer that is due or
/// lost is made anew, of the same root.
///
/// # Errors
/// [`StoreError`] when the folder holds only a part of an authority, or one that can't sign.
pub(crate) fn open(store: &Store, domain: &TrustDomain, now: SystemTime) -> Result<Authority, StoreError> {
    let authority = match (pair(store, ROOT)?, issuer(store)?) {
        (None, None) => return make(store, domain, now),
        (None, Some(_)) => return Err(broken(store, ROOT[0], ABSENT)),
        (Some(root), None) => {
            warn!("the mesh's issuer is gone: another one is made, of the same root");
            issue(store, root, domain, now)?
        }
        (Some((root_certificate, root_key)), Some((issuer_certificate, issuer_key))) => {
            let pem = AuthorityPem { root_certificate, root_key, issuer_certificate, issuer_key };
            let kept = Authority::from_pem(pem).map_err(|error| broken(store, FOLDER, error))?;
            let kept = of_domain(store, kept, domain)?;
            match renewed(store, &kept, domain, now) {
                Ok(renewed) => renewed.unwrap_or(kept),
                Err(error) => {
                    warn!(%error, "{UNRENEWED}");
                    kept
                }
            }
        }
    };
    authority.check_dates(now).map_err(|error| broken(store, FOLDER, error))?;
    Ok(authority)
}

/// Another issuer under the same root, kept in the former one's place, if that is due.
fn renewed(
    store: &Store,
    authority: &Authority,
    domain: &TrustDomain,
    now: SystemTime,
) -> Result<Option<Authority>, StoreError> {
    if issuer_due(authority.issuer()) > now {
        return Ok(None);
    }
    let mut pem = authority.to_pem().ok_or_else(|| broken(store, ROOT[1], ABSENT))?;
    let root = (std::mem::take(&mut pem.root_certificate), std::mem::take(&mut pem.root_key));
    issue(store, root, domain, now).map(Some)
}

/// A new issuer of the root: kept, then in use.
fn issue(
    store: &Store,
    (root_certificate, root_key): (String, String),
    domain: &TrustDomain,
    now: SystemTime,
) -> Result<Authority, StoreError> {
    let (root_key, lifetime) = (Zeroizing::new(root_key), AuthorityLifetimes::default().issuer);
    let made = Authority::issue(&root_certificate, &root_key, domain, now, lifetime);
    let made = of_domain(store, made.map_err(|error| broken(store, FOLDER, error))?, domain)?;
    let pem = made.to_pem().ok_or_else(|| broken(store, ROOT[1], ABSENT))?;
    store.write(ISSUER, issuer_text(&pem).as_bytes())?;
    forget_former(store);
    let (until, serial) = (time::OffsetDateTime::from(made.issuer().not_after), &made.issuer().serial);
    info!(%until, serial, "a new issuer signs, under the same root");
    Ok(made)
}

fn make(store: &Store, domain: &TrustDomain, now: SystemTime) -> Result<Authority, StoreError> {
    let authority = Authority::generate(domain, now, AuthorityLifetimes::default())
        .map_err(|error| broken(store, FOLDER, error))?;
    let pem = authority.to_pem().ok_or_else(|| broken(store, ROOT[1], ABSENT))?;
    let issuer = issuer_text(&pem);
    // A crash on the way leaves no half of an authority where it would be looked for.
    for (name, part) in [(ROOT[0], &pem.root_certificate), (ROOT[1], &pem.root_key), (ISSUER, &issuer)] {
        store.write(&name.replacen(FOLDER, UNFINISHED, 1), part.as_bytes())?;
    }
    store.rename(UNFINISHED, FOLDER)?;
    Ok(authority)
}

/// The issuer's certificate and key.
fn issuer(store: &Store) -> Result<Option<(String, String)>, StoreError> {
    let Some(mut text) = text(store, ISSUER)? else { return pair(store, FORMER_ISSUER) };
    // A crash may have kept what this file replaces.
    forget_former(store);
    let Some(certificate) = text.find(CERTIFICATE) else {
        return Err(broken(store, ISSUER, "no certificate stands in it"));
    };
    // What stays is the key, which is wiped with the rest of the text.
    let certificate = text.split_off(certificate);
    Ok(Some((certificate, text)))
}

/// Removes what nobody reads any more, for there is [`ISSUER`].
fn forget_former(store: &Store) {
    for error in FORMER_ISSUER.iter().filter_map(|name| store.remove(name).err()) {
        warn!(%error, "an issuer's former file stays behind");
    }
}

/// The key first: [`issuer`] says why.
fn issuer_text(pem: &AuthorityPem) -> Zeroizing<String> {
    Zeroizing::new([&*pem.issuer_key, &*pem.issuer_certificate].concat())
}

/// Two files, of which neither says anything without the other.
fn pair(store: &Store, names: [&str; 2]) -> Result<Option<(String, String)>, StoreError> {
    match names.map(|name| text(store, name)) {
        [Ok(None), Ok(None)] => Ok(None),
        [one, other] => match (one?, other?) {
            (Some(one), Some(other)) => Ok(Some((one, other))),
            (None, _) => Err(broken(store, names[0], ABSENT)),
            (_, None) => Err(broken(store, names[1], ABSENT)),
        },
    }
}

fn text(store: &Store, name: &str) -> Result<Option<String>, StoreError> {
    let Some(bytes) = store.read(name)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|error| broken(store, name, error.utf8_error()))
}

fn of_domain(store: &Store, authority: Authority, domain: &TrustDomain) -> Result<Authority, StoreError> {
    match authority.root().uris.first() {
        Some(uri) if *uri != format!("spiffe://{domain}") => {
            let cause = format!("it is of {uri}, and the mesh's trust domain is {domain}");
            Err(broken(store, FOLDER, cause))
        }
        _ => Ok(authority),
    }
}

fn broken(store: &Store, name: &str, cause: impl ToString) -> StoreError {
    let expected = "a certificate authority with its keys";
    StoreError::Content { path: store.path(name), expected, cause: cause.to_string() }
}

const FOLDER: &str = "authority";
const UNFINISHED: &str = "authority.new";
const ROOT: [&str; 2] = ["authority/root.crt", "authority/root.key"];
/// Its key, then its certificate.
const ISSUER: &str = "authority/issuer.pem";
/// As former versions kept it, read where [`ISSUER`] isn't.
const FORMER_ISSUER: [&str; 2] = ["authority/issuer.crt", "authority/issuer.key"];
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const ABSENT: &str = "there is no such file";
const UNRENEWED: &str = "the issuer is due and couldn't be renewed: the former one goes on, and it is tried again";
