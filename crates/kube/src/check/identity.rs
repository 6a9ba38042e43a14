//! The anchors and the issuer: whether certificates can be issued from them, and for how long still.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use weft_identity::Certificate;
use weft_mesh::TrustDomain;

use super::control_plane::unread;
use super::observed::{Observed, Unseen};
use super::report::{Finding, Problem, Report};
use crate::issuer::{IssuerSecret, Written, settle};
use crate::names::{ANCHORS_CONFIG, CONTROLLER, ISSUER_SECRET};
use crate::pods::is_ready;

/// Both, and how they fit.
pub(super) fn authority(seen: &Observed, report: &mut Report) {
    report.category("weft-identity");
    let anchors = anchors(seen);
    let issuer = issuer(seen);
    let config = match (&anchors, &issuer) {
        (Err(finding), _) | (_, Err(finding)) => finding.clone(),
        (Ok(_), Ok(_)) => Finding::Fine,
    };
    report.check("certificate config is valid", config);
    if let Ok((_, anchors)) = &anchors {
        keys("trust anchors are", anchors, MEND_ANCHORS, report);
        dates(("trust anchors are", "their"), anchors, MEND_ANCHORS, seen, report);
    }
    let Ok((secret, issuer)) = issuer else { return };
    keys("issuer cert is", std::slice::from_ref(&issuer), &mend_issuer(seen), report);
    let holds = dates(("issuer cert is", "its"), std::slice::from_ref(&issuer), &mend_issuer(seen), seen, report);
    if let (true, Ok((bundle, _))) = (holds, anchors) {
        let written = Written { issuer: Ok(secret), anchors: Some(bundle) };
        let settled = settle(&written, &trust_domain(seen), moment(seen.clock()));
        let problem = settled.err().map(|error| Problem::new(error.to_string(), mend_issuer(seen)));
        report.check("issuer cert fits its key and is issued by the trust anchor", Finding::fails_if(problem));
    }
}

/// The installed one; what is installed was checked when it was printed.
fn trust_domain(seen: &Observed) -> TrustDomain {
    seen.installed_values().trust_domain.parse().unwrap_or_default()
}

/// Whether proxies can verify what these certificates' keys have signed.
fn keys(what: &str, certificates: &[Certificate], mend: &str, report: &mut Report) {
    let wrong = certificates.iter().find(|certificate| !certificate.key.is_supported());
    let problem = wrong.map(|certificate| {
        let error = format!(
            "{:?} has a key of {}; proxies know ECDSA (P-256, P-384, P-521), Ed25519, and RSA from 2048 bits on",
            certificate.subject, certificate.key
        );
        Problem::new(error, mend)
    });
    report.check(format!("{what} using supported crypto algorithm"), Finding::fails_if(problem));
}

/// Two lines: whether certificates hold now, which is returned, and whether they do for a while.
fn dates(
    (what, whose): (&str, &str),
    certificates: &[Certificate],
    mend: &str,
    seen: &Observed,
    report: &mut Report,
) -> bool {
    let now = moment(seen.clock());
    let wrong = certificates.iter().find_map(|certificate| outside(certificate, now));
    let holds = wrong.is_none();
    report.check(
        format!("{what} within {whose} validity period"),
        Finding::fails_if(wrong.map(|error| Problem::new(error, mend))),
    );
    if holds {
        let soon = certificates.iter().find_map(|certificate| {
            let left = certificate.not_after.duration_since(now).unwrap_or_default();
            (left < SOON).then(|| format!("{:?} ends in {} days", certificate.subject, left.as_secs() / 86_400))
        });
        let problem = soon.map(|error| Problem::new(error, mend));
        report.check(format!("{what} valid for at least 60 days"), Finding::warns_if(problem));
    }
    holds
}

fn outside(certificate: &Certificate, now: SystemTime) -> Option<String> {
    let Certificate { subject, not_before, not_after, .. } = certificate;
    let seconds = |from: SystemTime, to: SystemTime| to.duration_since(from).unwrap_or_default().as_secs();
    match () {
        () if now > *not_after => Some(format!("{subject:?} expired {} h ago", seconds(*not_after, now) / 3_600)),
        () if now < *not_before => Some(format!("{subject:?} holds only in {} s", seconds(now, *not_before))),
        () => None,
    }
}

/// The bundle, and what it holds.
fn anchors(seen: &Observed) -> Result<(String, Vec<Certificate>), Finding> {
    let config = match &seen.anchors {
        Ok(config) => config,
        Err(Unseen::Absent) => return Err(not_made(seen, &format!("the ConfigMap {ANCHORS_CONFIG} is missing"))),
        Err(unseen) => return Err(Finding::Warns(unread(unseen))),
    };
    let text = config.data.as_ref().and_then(|data| data.get("ca.crt")).map(String::as_str).unwrap_or_default();
    let found = certificates(text.as_bytes()).map_err(|why| {
        let error = format!("{ANCHORS_CONFIG}, ca.crt: {why}");
        Finding::Fails(Problem::new(error, MEND_ANCHORS))
    })?;
    match found.iter().find(|certificate| !certificate.authority) {
        None => Ok((text.to_owned(), found)),
        Some(leaf) => {
            let error = format!("{ANCHORS_CONFIG}, ca.crt: {:?} may not sign others", leaf.subject);
            Err(Finding::Fails(Problem::new(error, MEND_ANCHORS)))
        }
    }
}

/// The Secret, and the issuer's own certificate in it.
fn issuer(seen: &Observed) -> Result<(IssuerSecret, Certificate), Finding> {
    let secret = match &seen.issuer {
        Ok(secret) => secret,
        Err(Unseen::Absent) => return Err(not_made(seen, &format!("the Secret {ISSUER_SECRET} is missing"))),
        Err(unseen) => return Err(Finding::Warns(unread(unseen))),
    };
    let broken = |why: String| Finding::Fails(Problem::new(why, mend_issuer(seen)));
    let data = secret.data.iter().flatten().map(|(key, ByteString(bytes))| (key.clone(), bytes.clone()));
    let secret = IssuerSecret::read(&data.collect()).map_err(|error| broken(error.to_string()))?;
    let chain = certificates(secret.chain.as_bytes());
    let chain = chain.map_err(|why| broken(format!("the Secret {ISSUER_SECRET}, tls.crt: {why}")))?;
    let Some(issuer) = chain.into_iter().next() else {
        return Err(broken(format!("the Secret {ISSUER_SECRET}, tls.crt: expected a certificate, found none")));
    };
    Ok((secret, issuer))
}

/// The controller makes what is absent within seconds, unless it would need another root for it.
fn not_made(seen: &Observed, error: &str) -> Finding {
    let log = format!("its log: kubectl -n {} logs deployment/{CONTROLLER}", seen.namespace);
    match seen.controllers.iter().flatten().any(is_ready) {
        true => Finding::Fails(Problem::new(
            error,
            format!("bring back what was there; why the controller doesn't says {log}"),
        )),
        false => Finding::Waits(Problem::new(error, format!("the controller makes it; see {log}"))),
    }
}

fn mend_issuer(seen: &Observed) -> String {
    format!(
        "bring a whole one (tls.crt with what is between it and its root, tls.key), or let the controller make one of its root: kubectl -n {} delete secret \
         {ISSUER_SECRET}",
        seen.namespace,
    )
}

/// Every certificate of a text in PEM; at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(text) {
        let der = der.map_err(|error| format!("expected certificates in PEM, found {error}"))?;
        found.push(Certificate::parse(&der).map_err(|error| error.to_string())?);
    }
    match found.is_empty() {
        true => Err("expected certificates in PEM, found none".to_owned()),
        false => Ok(found),
    }
}

/// A Secret's entry.
pub(super) fn entry<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    (!bytes.is_empty()).then_some(bytes)
}

/// A time from seconds since the Unix epoch.
pub(super) fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// When people should begin to think of a renewal; Linkerd's limit.
const SOON: Duration = Duration::from_secs(60 * 86_400);
const MEND_ANCHORS: &str = "put the roots that your issuers come from into the ConfigMap weft-anchors, ca.crt, in PEM";
