//! A certificate in words, laid out as `openssl x509 -text` has it. Reads and never verifies.

use std::fmt::Write;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::oid_registry::Oid;

use crate::certificate::{Malformed, parse};

/// What a certificate in DER says, over many lines.
///
/// # Errors
/// [`Malformed`], when the bytes are no certificate.
pub fn certificate_text(der: &[u8]) -> Result<String, Malformed> {
    let certificate = parse(der)?;
    let mut text = String::from("Certificate:\n    Data:\n");
    for (label, value) in fields(&certificate) {
        let _infallible = writeln!(text, "        {label}: {value}");
    }
    if !certificate.extensions().is_empty() {
        text.push_str("        X509v3 extensions:\n");
    }
    for extension in certificate.extensions() {
        let critical = if extension.critical { " critical" } else { "" };
        let name = short(&extension.oid);
        let _infallible = writeln!(text, "            {name}:{critical}");
        let _infallible = writeln!(text, "                {}", said(extension.parsed_extension()));
    }
    Ok(text)
}

fn fields(certificate: &X509Certificate<'_>) -> [(&'static str, String); 8] {
    let key = certificate.public_key();
    let parameters = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let curve = parameters.map(|oid| format!(" ({})", short(&oid))).unwrap_or_default();
    let date = |time: x509_parser::time::ASN1Time| time.to_string();
    let validity = certificate.validity();
    [
        ("Version", (certificate.version().0 + 1).to_string()),
        ("Serial Number", certificate.raw_serial_as_string()),
        ("Signature Algorithm", short(&certificate.signature_algorithm.algorithm)),
        ("Issuer", certificate.issuer().to_string()),
        ("Not Before", date(validity.not_before)),
        ("Not After", date(validity.not_after)),
        ("Subject", certificate.subject().to_string()),
        ("Public Key", format!("{}{curve}", short(&key.algorithm.algorithm))),
    ]
}

fn said(extension: &ParsedExtension<'_>) -> String {
    match extension {
        ParsedExtension::SubjectAlternativeName(names) => {
            names.general_names.iter().map(name).collect::<Vec<_>>().join(", ")
        }
        ParsedExtension::BasicConstraints(constraints) => {
            format!("CA:{}", if constraints.ca { "TRUE" } else { "FALSE" })
        }
        ParsedExtension::KeyUsage(usage) => usage.to_string(),
        ParsedExtension::ExtendedKeyUsage(usage) => {
            let told = [(usage.server_auth, "TLS server"), (usage.client_auth, "TLS client"), (usage.any, "any")];
            told.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
        }
        ParsedExtension::SubjectKeyIdentifier(id) => hex(id.0),
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|id| hex(id.0)).unwrap_or_default()
        }
        _ => "not shown".to_owned(),
    }
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        other => format!("{other:?}"),
    }
}

fn short(oid: &Oid<'_>) -> String {
    oid2sn(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
