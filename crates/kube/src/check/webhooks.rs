//! The webhooks' certificate, judged as the API server judges it, and whether it reaches them.

use std::time::Duration;

use k8s_openapi::ByteString;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use serde_json::Value;

use super::control_plane::{AGAIN, unread};
use super::identity::{certificates as read, entry};
use super::observed::{Observed, Reach, Unseen};
use super::report::{Finding, Problem, Report};
use crate::names::{CONTROLLER, INJECTOR, VALIDATOR, WEBHOOK_SECRET};
use crate::words::few;

/// For each configuration, whether the API server will trust who answers; then whether one answers.
pub(super) fn certificates(seen: &Observed, report: &mut Report) {
    report.category("weft-webhooks-and-apisvc-tls");
    for name in [INJECTOR, VALIDATOR] {
        report.check(format!("{name} webhook has valid cert"), trusted(seen, name));
    }
    report.check("webhooks are as they were installed", altered(seen));
    report.check("webhook cert is renewed in time", renewal(seen));
    report.check("webhooks can be reached by the Kubernetes API", reached(seen));
}

/// Whether one was taken out, or is passed over where it mustn't be: a trial tells nothing of what happens then.
fn altered(seen: &Observed) -> Finding {
    let (mut gone, mut other) = (Vec::new(), Vec::new());
    for (expected, found) in seen.objects.iter().filter_map(|(expected, found)| Some((expected, found.as_ref().ok()?)))
    {
        let of = |object: &Value| object["webhooks"].as_array().cloned().unwrap_or_default();
        for webhook in of(expected) {
            let name = webhook["name"].as_str().unwrap_or_default().to_owned();
            match of(found).into_iter().find(|it| it["name"] == webhook["name"]) {
                None => gone.push(name),
                Some(it) if it[POLICY] != webhook[POLICY] => other.push(format!("{name} ({POLICY} {})", it[POLICY])),
                Some(_) => {}
            }
        }
    }
    match () {
        () if !gone.is_empty() => Finding::Fails(Problem::new(format!("missing: {}", few(&gone)), AGAIN)),
        () if !other.is_empty() => Finding::Warns(Problem::new(format!("changed: {}", few(&other)), AGAIN)),
        () => Finding::Fine,
    }
}

fn trusted(seen: &Observed, configuration: &str) -> Finding {
    let found = seen.objects.iter().find(|(expected, _)| expected["metadata"]["name"] == configuration);
    let found = match found {
        Some((_, Ok(found))) => found,
        None | Some((_, Err(Unseen::Absent))) => {
            return Finding::Fails(Problem::new(format!("{configuration} is missing"), AGAIN));
        }
        Some((_, Err(unseen))) => return Finding::Warns(unread(unseen)),
    };
    let secret = match &seen.webhook_certificate {
        Ok(secret) => secret,
        Err(Unseen::Absent) => {
            return Finding::Waits(Problem::new(
                format!("the Secret {WEBHOOK_SECRET} is missing"),
                made_by_controller(seen),
            ));
        }
        Err(unseen) => return Finding::Warns(unread(unseen)),
    };
    let chain = entry(secret, "tls.crt").unwrap_or_default();
    for webhook in found["webhooks"].as_array().into_iter().flatten() {
        let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
        if bundle.is_empty() {
            let error = format!("{} has no caBundle yet", webhook["name"].as_str().unwrap_or_default());
            return Finding::Waits(Problem::new(error, made_by_controller(seen)));
        }
        if let Err(why) = verify(seen, bundle, chain) {
            let error = format!("{WEBHOOK_SECRET}, tls.crt: {why}");
            let hint = format!(
                "let the controller make it anew: kubectl -n {} delete secret {WEBHOOK_SECRET}",
                seen.namespace
            );
            return Finding::Fails(Problem::new(error, hint));
        }
    }
    Finding::Fine
}

/// As the API server does: the chain up to the bundle, the Service's name, the dates.
fn verify(seen: &Observed, bundle: &str, chain: &[u8]) -> Result<(), String> {
    let ByteString(bundle) =
        serde_json::from_value(Value::from(bundle)).map_err(|_| "the caBundle isn't base64".to_owned())?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
    if roots.is_empty() {
        return Err("the caBundle holds no certificate".to_owned());
    }
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(chain).flatten().collect();
    let Some((leaf, intermediates)) = chain.split_first() else { return Err("it holds no certificate".to_owned()) };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), weft_identity::provider())
        .build()
        .map_err(|error| error.to_string())?;
    let host = format!("{CONTROLLER}.{}.svc", seen.namespace);
    let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seen.clock()).unwrap_or(0)));
    match verifier.verify_server_cert(leaf, intermediates, &name, &[], now) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(error)) => Err(match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "it was signed by another authority than the caBundle's".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("it isn't for {host}")
            }
            other => format!("it can't be trusted ({other:?})"),
        }),
        Err(error) => Err(error.to_string()),
    }
}

/// The controller renews it when a third of its life is left.
fn renewal(seen: &Observed) -> Finding {
    let secret = match &seen.webhook_certificate {
        Ok(secret) => secret,
        Err(Unseen::Absent) => return Finding::Fine,
        Err(unseen) => return Finding::Warns(unread(unseen)),
    };
    let Ok(chain) = read(entry(secret, "tls.crt").unwrap_or_default()) else { return Finding::Fine };
    let now = super::identity::moment(seen.clock());
    let late = chain.first().filter(|leaf| {
        let life = leaf.not_after.duration_since(leaf.not_before).unwrap_or_default();
        leaf.not_after.duration_since(now).unwrap_or_default() < life / 4
    });
    Finding::warns_if(late.map(|_| {
        Problem::new(
            "less than a quarter of its life is left, and the controller hasn't renewed it",
            made_by_controller(seen),
        )
    }))
}

fn reached(seen: &Observed) -> Finding {
    match &seen.reach {
        Reach::Injected => Finding::Fine,
        Reach::NotInjected => Finding::Fails(Problem::new(
            "a pod that asks for a proxy came back without one (in a dry run)",
            made_by_controller(seen),
        )),
        Reach::Failed(why) => {
            let hint = format!(
                "see that the controller runs, and that no network policy or firewall keeps the API server from port \
                 15017 of its pod; {}",
                made_by_controller(seen)
            );
            Finding::Waits(Problem::new(why.clone(), hint))
        }
        Reach::Unknown(why) => {
            let error = format!("it couldn't be tried: {why}");
            Finding::Warns(Problem::new(
                error,
                "ask for the right to create pods in the namespace default (in a dry run)",
            ))
        }
    }
}

fn made_by_controller(seen: &Observed) -> String {
    format!("see the controller's log: kubectl -n {} logs deployment/{CONTROLLER}", seen.namespace)
}

/// What a webhook's failure means for what it was asked about.
const POLICY: &str = "failurePolicy";
