//! `weft certs`: what the workloads prove themselves with, and who signs it.

use std::process::ExitCode;

use serde::Serialize;
use weft_wire::proto::weft::v1::{AuthorityCertificate, Leaf, ProxiesRequest, ProxyState};

use crate::args::{Format, ReadArgs};
use crate::failure::Failure;
use crate::home::Mesh;
use crate::{client, figures, print};

/// Lists the certificates.
pub(crate) fn run(mesh: &Mesh, args: &ReadArgs) -> Result<ExitCode, Failure> {
    let answer = crate::runtime::of_this_thread()?.block_on(async {
        let mut mesh = client::observe(mesh).await?;
        let answer = mesh.proxies(ProxiesRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|status| client::refused("read the certificates", &status))
    })?;
    let now = super::now();
    let report = Report {
        workloads: answer.proxies.into_iter().map(|proxy| Row::of(proxy, now)).collect(),
        authority: Authority {
            root: Signer::of(answer.root.unwrap_or_default(), now),
            issuer: Signer::of(answer.issuer.unwrap_or_default(), now),
        },
    };
    match args.output {
        Format::Json => print::json(&report),
        Format::Text => report.print(),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Report {
    workloads: Vec<Row>,
    authority: Authority,
}

#[derive(Debug, Serialize)]
struct Row {
    workload: String,
    /// What the registry says.
    identity: String,
    /// What the proxy has; `None` when it tells of none.
    certificate: Option<Certificate>,
}

#[derive(Debug, Serialize)]
struct Certificate {
    identity: String,
    serial: String,
    not_before: String,
    not_after: String,
    age_seconds: u64,
    expires_in_seconds: i64,
    renewal: String,
    renewal_in_seconds: i64,
}

#[derive(Debug, Serialize)]
struct Authority {
    root: Signer,
    issuer: Signer,
}

#[derive(Debug, Serialize)]
struct Signer {
    subject: String,
    serial: String,
    not_before: String,
    not_after: String,
    expires_in_seconds: i64,
}

impl Row {
    fn of(proxy: ProxyState, now: i64) -> Self {
        let ProxyState { workload, identity, certificate, .. } = proxy;
        Self { workload, identity, certificate: certificate.map(|leaf| Certificate::of(leaf, now)) }
    }

    fn cells(&self) -> Vec<String> {
        let nothing = || figures::NOTHING.to_owned();
        let Some(certificate) = &self.certificate else {
            let mut cells = vec![self.workload.clone(), self.identity.clone(), "none".to_owned()];
            cells.resize_with(7, nothing);
            return cells;
        };
        vec![
            self.workload.clone(),
            certificate.identity.clone(),
            certificate.serial.clone(),
            certificate.not_before.clone(),
            certificate.not_after.clone(),
            figures::age(certificate.age_seconds),
            remaining(certificate.renewal_in_seconds),
        ]
    }
}

impl Certificate {
    fn of(leaf: Leaf, now: i64) -> Self {
        Self {
            identity: leaf.identity,
            serial: leaf.serial,
            not_before: figures::instant(leaf.not_before),
            not_after: figures::instant(leaf.not_after),
            age_seconds: u64::try_from(now - leaf.received_at).unwrap_or(0),
            expires_in_seconds: leaf.not_after - now,
            renewal: figures::instant(leaf.renew_at),
            renewal_in_seconds: leaf.renew_at - now,
        }
    }
}

impl Signer {
    fn of(certificate: AuthorityCertificate, now: i64) -> Self {
        let AuthorityCertificate { subject, serial, not_before, not_after } = certificate;
        Self {
            subject,
            serial,
            not_before: figures::instant(not_before),
            not_after: figures::instant(not_after),
            expires_in_seconds: not_after - now,
        }
    }

    fn cells(&self, role: &str) -> Vec<String> {
        let left = remaining(self.expires_in_seconds);
        [role, &self.subject, &self.serial, &self.not_before, &self.not_after, &left].map(str::to_owned).to_vec()
    }
}

impl Report {
    fn print(&self) {
        if self.workloads.is_empty() {
            print::line("no workloads");
        } else {
            let head = ["WORKLOAD", "IDENTITY", "SERIAL", "NOT BEFORE", "NOT AFTER", "AGE", "RENEWS IN"];
            let rows: Vec<_> = self.workloads.iter().map(Row::cells).collect();
            print::line(&print::table(&head, &rows));
        }
        let head = ["AUTHORITY", "SUBJECT", "SERIAL", "NOT BEFORE", "NOT AFTER", "EXPIRES IN"];
        let rows = [self.authority.root.cells("root"), self.authority.issuer.cells("issuer")];
        print::line(&format!("\n{}", print::table(&head, &rows)));
    }
}

/// What is left, or that it is over.
fn remaining(seconds: i64) -> String {
    u64::try_from(seconds).map_or_else(|_| "overdue".to_owned(), figures::age)
}
