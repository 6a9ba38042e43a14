//! A proxy that runs from a file: listeners, certificate and records in one JSON document, without
//! control plane and namespaces, so that a pair can be tried and raced on plain loopback ports
//! (docs/records-file.md). Only here does a leaf's key come from outside of the proxy.

mod field;
mod policy;
mod record;
mod written;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::mpsc;
use weft_identity::{Credential, LeafKey};
use weft_mesh::record::{Destination, Trust};
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};

use crate::checks::Checks;
use crate::config::{self, Config, ConfigError, OriginalDestination, OutboundListener, Program};
use crate::records::{Order, Update};
use field::{Read, list, parse, port, wrong};

/// Everything that a file said, ready to be run. Its listeners are bound.
pub struct Loaded {
    /// The data thread's configuration.
    pub config: Config,
    /// What the data thread is told at once: trust, credential, inbound record.
    pub updates: Vec<Update>,
    /// What it is told when it asks.
    pub destinations: Vec<Destination>,
}

/// Why a records file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It isn't there or can't be read.
    #[error("expected a records file, found: {0}")]
    Unreadable(io::Error),
    /// It is no JSON, or a field is unknown, missing or of another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A field's value can't be used.
    #[error("{field}: expected {expected}, found {found}")]
    Field {
        /// The field's path, as `outbound[0].listen`.
        field: String,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A listener can't be had; the file itself is in order.
    #[error(transparent)]
    Listen(#[from] ConfigError),
}

/// Reads a file, and the files that it names relative to its own folder; binds its listeners.
///
/// # Errors
/// [`FileError`] with the field's path.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let text = fs::read_to_string(path).map_err(FileError::Unreadable)?;
    let file: written::File = serde_json::from_str(&text)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let workload: WorkloadId = parse("workload", "NAMESPACE/NAME", &file.workload)?;
    let identity: SpiffeId = parse("identity", record::SPIFFE_ID, &file.identity)?;
    let addresses = list("addresses", &file.addresses, |field, text| parse(field, "an IP address", text))?;
    check_serving(&file)?;
    let own = (&workload, &identity);
    let inbound = record::inbound(file.inbound.as_ref(), own, &addresses, &path.display().to_string())?;
    let destinations = record::destinations(&file.destinations)?;
    let updates = vec![
        Update::Trust(trust(folder, &file.trust)?),
        Update::Credential(Arc::new(credential(folder, &file.certificate, &identity)?)),
        Update::Inbound(Box::new(inbound)),
    ];
    let config = listeners(&file, (workload, addresses), &destinations)?;
    let destinations = record::workloads(&destinations).into_iter().chain(destinations).collect();
    Ok(Loaded { config: Config { access: access(folder, &file)?, ..config }, updates, destinations })
}

/// Answers the data thread's orders until it ends, in the control thread's place.
pub fn answer(destinations: &[Destination], mut asked: mpsc::UnboundedReceiver<Order>, told: &mpsc::Sender<Update>) {
    while let Some(order) = asked.blocking_recv() {
        let Order::Subscribe(name) = order else { continue };
        let found = destinations.iter().find(|d| d.host == name || d.addresses.iter().any(|ip| ip.to_string() == name));
        let update = found.map_or(Update::Gone(name), |d| Update::Destination(Box::new(d.clone())));
        if told.blocking_send(update).is_err() {
            return;
        }
    }
}

/// Who listens for callers must say who may call, and under which address.
fn check_serving(file: &written::File) -> Read<()> {
    let Some(listener) = file.mesh.as_ref().map(|_| "mesh").or(file.published.first().map(|_| "published")) else {
        return Ok(());
    };
    if file.inbound.is_none() {
        return Err(wrong("inbound", format!("the record that judges callers at {listener}"), "nothing"));
    }
    if file.addresses.is_empty() {
        return Err(wrong("addresses", format!("the workload's address, which callers at {listener} name"), "none"));
    }
    Ok(())
}

fn listeners(
    file: &written::File,
    (workload, addresses): (WorkloadId, Vec<IpAddr>),
    destinations: &[Destination],
) -> Result<Config, FileError> {
    // First all that may be wrong in the file, then what may be wrong with the machine.
    let outbound = list("outbound", &file.outbound, |field, one| {
        let listen: SocketAddr = parse(format!("{field}.listen"), "IP:PORT", &one.listen)?;
        Ok((listen, destination(&format!("{field}.destination"), &one.destination, destinations)?))
    })?;
    let published = list("published", &file.published, |field, one| {
        let listen: SocketAddr = parse(format!("{field}.listen"), "IP:PORT", &one.listen)?;
        Ok((listen, port(format!("{field}.port"), one.port)?))
    })?;
    let optional = |field: &str, text: &Option<String>| -> Read<Option<SocketAddr>> {
        text.as_ref().map(|text| parse(field, "IP:PORT", text)).transpose()
    };
    let (mesh, admin) = (optional("mesh", &file.mesh)?, optional("admin", &file.admin)?);
    let mut programs = BTreeMap::new();
    for (port, text) in &file.programs {
        programs.insert(*port, parse(format!("programs.{port}"), "IP:PORT", text)?);
    }
    Ok(Config {
        workload,
        addresses,
        outbound: (outbound.into_iter())
            .map(|(listen, to)| {
                Ok(OutboundListener { listener: config::listen(listen)?, original: OriginalDestination::Fixed(to) })
            })
            .collect::<Result<_, ConfigError>>()?,
        mesh: mesh.map(config::listen).transpose()?.into_iter().collect(),
        admin: admin.map(config::listen).transpose()?,
        published: (published.into_iter())
            .map(|(listen, port)| Ok((config::listen(listen)?, port)))
            .collect::<Result<_, ConfigError>>()?,
        dns: Vec::new(),
        udp: Vec::new(),
        names: None,
        captured: Vec::new(),
        callers: config::room_for_callers(),
        program: Program::Host(programs),
        checks: Checks::default(),
        ready: None,
        access: None,
    })
}

/// Where a listener's connections go: an address, or a destination by its host.
fn destination(field: &str, text: &str, destinations: &[Destination]) -> Read<SocketAddr> {
    let expected = "IP:PORT, or HOST:PORT of one of the destinations";
    let none = || wrong(field, expected, format!("{text:?}"));
    if let Ok(address) = text.parse::<SocketAddr>() {
        let is_known = destinations.iter().flat_map(|d| &d.endpoints).any(|e| e.address == address.ip());
        if is_known && !crate::range::is_mesh(address.ip()) {
            // It would pass plainly, as everything outside of the mesh's ranges does.
            let expected = "the service's address instead of its endpoint's, which isn't of the mesh's own ranges";
            return Err(wrong(field, expected, format!("{text:?}")));
        }
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(none)?;
    let found = destinations.iter().find(|d| d.host == host).ok_or_else(none)?;
    let ip = found.addresses.first().ok_or_else(|| wrong(field, "a host that has an address", format!("{host:?}")))?;
    Ok(SocketAddr::new(*ip, parse(field, expected, port)?))
}

fn trust(folder: &Path, written: &written::Trust) -> Read<Trust> {
    let domain: TrustDomain = match &written.domain {
        Some(text) => parse("trust.domain", "a trust domain, as cluster.local", text)?,
        None => TrustDomain::default(),
    };
    let (path, pem) = contents("trust.anchors", folder, &written.anchors)?;
    let anchors = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|der| der.map(|der| der.to_vec()));
    let anchors: Result<Vec<_>, _> = anchors.collect();
    match anchors {
        Ok(anchors) if !anchors.is_empty() => Ok(Trust { domain, anchors, ..Trust::default() }),
        Ok(_) => Err(wrong("trust.anchors", "certificates in PEM", format!("none in {}", path.display()))),
        Err(error) => Err(wrong("trust.anchors", "certificates in PEM", format!("{}: {error}", path.display()))),
    }
}

fn credential(folder: &Path, written: &written::Certificate, identity: &SpiffeId) -> Read<Credential> {
    let (key_path, key) = contents("certificate.key", folder, &written.key)?;
    let key = LeafKey::from_pem(&key)
        .map_err(|e| wrong("certificate.key", "an ECDSA P-256 key in PEM", format!("{}: {e}", key_path.display())))?;
    let (path, chain) = contents("certificate.chain", folder, &written.chain)?;
    let credential = Credential::new(key, &[chain], SystemTime::now())
        .map_err(|e| wrong("certificate.chain", "a chain for the key", format!("{}: {e}", path.display())))?;
    match credential.id() == identity {
        true => Ok(credential),
        false => Err(wrong("identity", format!("{}, as the certificate says", credential.id()), identity)),
    }
}

fn access(folder: &Path, file: &written::File) -> Read<Option<Box<dyn Write + Send>>> {
    let Some(path) = &file.access_log else { return Ok(None) };
    if path.as_os_str() == "stderr" {
        return Ok(Some(Box::new(io::stderr())));
    }
    let opened = fs::OpenOptions::new().create(true).append(true).open(folder.join(path));
    let opened = opened.map_err(|e| wrong("accessLog", "stderr, or a file to append to", e))?;
    Ok(Some(Box::new(opened)))
}

fn contents(field: &str, folder: &Path, path: &Path) -> Read<(PathBuf, String)> {
    let path = folder.join(path);
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(e) => Err(wrong(field, "a readable PEM file", format!("{}: {e}", path.display()))),
    }
}
