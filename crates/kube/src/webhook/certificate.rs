//! When the webhooks' certificate is made and renewed: a decision over the Secret's content and
//! the time. The Secret is the truth for every replica.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use weft_identity::{Certificate, NamedServer};

/// The data of the Secret `weft-webhook`.
pub(super) type Data = BTreeMap<String, ByteString>;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The certificate serves; look again then.
    Serves(SystemTime),
    /// A new one is due. Callers go on trusting these authorities, PEM, since the old certificate
    /// is in use until everybody has the new one.
    Due(Vec<String>),
}

/// Judges what is stored.
pub(super) fn judge(data: &Data, now: SystemTime) -> Judgement {
    let Some(leaf) = usable(data) else { return Judgement::Due(Vec::new()) };
    let life = leaf.not_after.duration_since(leaf.not_before).unwrap_or_default();
    let due = leaf.not_before + life * 2 / 3;
    if now < due {
        return Judgement::Serves(due);
    }
    Judgement::Due(kept(data, now))
}

/// The certificate, where it has its key and its authority.
fn usable(data: &Data) -> Option<Certificate> {
    let (certificate, key) = (data.get(CERTIFICATE)?, data.get(KEY)?);
    NamedServer::config(&certificate.0, &key.0).ok()?;
    authorities(data).first()?;
    Certificate::parse(&CertificateDer::from_pem_slice(&certificate.0).ok()?).ok()
}

fn kept(data: &Data, now: SystemTime) -> Vec<String> {
    let lives = |der: &CertificateDer<'_>| Certificate::parse(der).is_ok_and(|it| it.not_after > now);
    let texts = authorities(data);
    let held =
        texts.into_iter().filter(|text| CertificateDer::from_pem_slice(text.as_bytes()).is_ok_and(|der| lives(&der)));
    held.take(MAX_KEPT).collect()
}

/// The authority that signed the certificate, while it lives.
pub(super) fn signer(data: &Data, now: SystemTime) -> Option<String> {
    let newest = authorities(data).into_iter().next()?;
    kept(data, now).into_iter().find(|text| *text == newest)
}

/// Whether callers who know the authorities of `new` still trust the certificate of `old`.
pub(super) fn goes_on(old: &Data, new: &Data) -> bool {
    // The newest authority of a bundle is the one that signed.
    authorities(old).first().is_some_and(|signer| authorities(new).contains(signer))
}

/// Each authority of the bundle, PEM, the newest first.
fn authorities(data: &Data) -> Vec<String> {
    let text = data.get(AUTHORITY).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default();
    let end = "-----END CERTIFICATE-----\n";
    let parts = text.split_inclusive(end).filter(|part| part.contains("-----BEGIN CERTIFICATE-----"));
    parts.map(str::to_owned).collect()
}

/// A new certificate's data, for a server of this DNS name.
///
/// # Errors
/// When randomness or a name fails.
pub(super) fn made(name: &str, kept: &[String], now: SystemTime) -> Result<Data, weft_identity::AuthorityError> {
    let server = NamedServer::generate(&[name], LIFETIME, now)?;
    let bundle = server.authority_pem.clone() + &kept.concat();
    let entries =
        [(CERTIFICATE, server.certificate_pem.as_str()), (KEY, server.key_pem.as_str()), (AUTHORITY, &bundle)];
    Ok(entries.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec()))).collect())
}

pub(super) const CERTIFICATE: &str = "tls.crt";
pub(super) const KEY: &str = "tls.key";
pub(super) const AUTHORITY: &str = "ca.crt";
/// A year: renewal is automatic, and four months are left for whoever turned the control plane off.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// Authorities beside the newest: one is in use, another may be from a renewal that was cut off.
const MAX_KEPT: usize = 2;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[test]
    fn a_certificate_is_made_used_and_renewed() {
        assert_eq!(judge(&Data::new(), now()), Judgement::Due(Vec::new()));
        let data = made("a.svc", &[], now()).unwrap();
        let Judgement::Serves(due) = judge(&data, now()) else { panic!("it doesn't serve") };
        let share = due.duration_since(now()).unwrap().as_secs_f64() / LIFETIME.as_secs_f64();
        assert!((share - 2.0 / 3.0).abs() < 0.01, "{share}");
        let Judgement::Due(kept) = judge(&data, due) else { panic!("it isn't due") };
        assert_eq!(kept.len(), 1);
        let renewed = made("a.svc", &kept, due).unwrap();
        assert!(matches!(judge(&renewed, due), Judgement::Serves(_)));
        assert_eq!(authorities(&renewed).len(), 2);
        assert_eq!(authorities(&renewed)[1], kept[0]);
        assert!(goes_on(&data, &renewed) && !goes_on(&renewed, &data));
        // Of a bundle of two it is the newer.
        assert_eq!(signer(&renewed, due), Some(authorities(&renewed)[0].clone()));
        let later = due + LIFETIME;
        assert_eq!(judge(&renewed, later), Judgement::Due(Vec::new()), "what has expired is dropped");
    }

    #[test]
    fn what_is_broken_is_made_anew() {
        let good = made("a.svc", &[], now()).unwrap();
        let other = made("a.svc", &[], now()).unwrap();
        for key in [CERTIFICATE, KEY, AUTHORITY] {
            let mut broken = good.clone();
            broken.remove(key);
            assert_eq!(judge(&broken, now()), Judgement::Due(Vec::new()), "without {key}");
            broken.insert(key.to_owned(), ByteString(b"-----BEGIN NONSENSE".to_vec()));
            assert_eq!(judge(&broken, now()), Judgement::Due(Vec::new()), "with a broken {key}");
        }
        let mut mixed = good;
        mixed.insert(KEY.to_owned(), other[KEY].clone());
        assert_eq!(judge(&mixed, now()), Judgement::Due(Vec::new()));
    }

    #[test]
    fn former_authorities_are_trusted_for_a_while_and_not_without_end() {
        let mut data = made("a.svc", &[], now()).unwrap();
        for former in [1, 2, 2, 2] {
            data = made("a.svc", &kept(&data, now()), now()).unwrap();
            assert_eq!(authorities(&data).len(), 1 + former);
        }
    }
}
