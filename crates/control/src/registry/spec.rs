//! What a launcher says of its workload, checked: names that fit DNS and SPIFFE, bounded labels,
//! ports that each stand once.

use std::collections::BTreeMap;

use weft_mesh::record::PortProtocol;
use weft_wire::proto::weft::v1 as proto;
use weft_wire::record::RecordError;

/// A workload as its launcher describes it, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The name of the service that it serves.
    pub(crate) name: String,
    /// `default` unless said otherwise.
    pub(crate) namespace: String,
    /// The name unless said otherwise.
    pub(crate) service_account: String,
    /// `app` is the name unless said otherwise.
    pub(crate) labels: BTreeMap<String, String>,
    /// Ascending.
    pub(crate) ports: Vec<PortProtocol>,
    /// The launcher's, for people.
    pub(crate) pid: u32,
    /// For people.
    pub(crate) command: Vec<String>,
    /// The folder's workload that it was started for, as [`crate::owner::Owner`] says it; or empty.
    pub(crate) owner: String,
    /// The user that root runs it as; empty: the launcher's own.
    pub(crate) user: String,
}

/// Why a workload can't be registered as it was described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// Names become parts of host names (RFC 1123, section 2.1).
    #[error("{field}: expected 1 to 63 characters out of a-z, 0-9 and '-', no '-' at either end, found {found:?}")]
    Name { field: &'static str, found: String },
    /// The service account becomes part of a SPIFFE ID.
    #[error("service account: {0}")]
    ServiceAccount(String),
    /// More or longer labels than are kept.
    #[error("labels: expected at most {MAX_LABELS}, of 1 to {MAX_LABEL_BYTES} bytes each, found {0}")]
    Labels(String),
    /// A port isn't understood.
    #[error("ports: {0}")]
    Port(#[from] RecordError),
    /// A port is declared twice.
    #[error("ports: expected each port once, found {0} twice")]
    Twice(u16),
}

impl Spec {
    /// Reads a launcher's description.
    ///
    /// # Errors
    /// [`SpecError`] names the field.
    pub(crate) fn read(message: proto::WorkloadSpec) -> Result<Self, SpecError> {
        let name = label("name", message.name)?;
        let namespace = match message.namespace.is_empty() {
            true => DEFAULT_NAMESPACE.to_owned(),
            false => label("namespace", message.namespace)?,
        };
        let account = Some(message.service_account).filter(|account| !account.is_empty());
        let mut labels: BTreeMap<String, String> = message.labels.into_iter().collect();
        check_labels(&labels)?;
        labels.entry("app".to_owned()).or_insert_with(|| name.clone());
        Ok(Self {
            namespace,
            service_account: account.unwrap_or_else(|| name.clone()),
            labels,
            ports: ports(message.ports)?,
            pid: message.pid,
            command: message.command,
            owner: message.owner,
            user: message.user,
            name,
        })
    }

    /// The description as a message.
    pub(crate) fn write(&self) -> proto::WorkloadSpec {
        proto::WorkloadSpec {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
            labels: self.labels.clone().into_iter().collect(),
            ports: self.ports.iter().map(proto::Port::from).collect(),
            pid: self.pid,
            command: self.command.clone(),
            owner: self.owner.clone(),
            user: self.user.clone(),
        }
    }
}

fn label(field: &'static str, text: String) -> Result<String, SpecError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-');
    match fits && text.bytes().all(allowed) {
        true => Ok(text),
        false => Err(SpecError::Name { field, found: text.chars().take(100).collect() }),
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), SpecError> {
    if labels.len() > MAX_LABELS {
        return Err(SpecError::Labels(labels.len().to_string()));
    }
    let long = |key: &String, value: &String| key.is_empty() || key.len().max(value.len()) > MAX_LABEL_BYTES;
    match labels.iter().find(|(key, value)| long(key, value)) {
        Some((key, value)) => Err(SpecError::Labels(format!("{} and {} bytes", key.len(), value.len()))),
        None => Ok(()),
    }
}

fn ports(messages: Vec<proto::Port>) -> Result<Vec<PortProtocol>, SpecError> {
    let mut ports: Vec<PortProtocol> = messages.into_iter().map(PortProtocol::try_from).collect::<Result<_, _>>()?;
    ports.sort_by_key(|port| port.port);
    match ports.windows(2).find(|pair| pair[0].port == pair[1].port) {
        Some(pair) => Err(SpecError::Twice(pair[0].port)),
        None => Ok(ports),
    }
}

/// Where a workload is that doesn't say its namespace.
const DEFAULT_NAMESPACE: &str = "default";
const MAX_LABELS: usize = 64;
/// A label's key has at most 253 + 1 + 63 bytes in Kubernetes.
const MAX_LABEL_BYTES: usize = 317;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::registry) fn read(name: &str) -> Result<Spec, SpecError> {
        Spec::read(proto::WorkloadSpec { name: name.to_owned(), ..proto::WorkloadSpec::default() })
    }

    fn port(port: u32) -> proto::Port {
        proto::Port { port, ..proto::Port::default() }
    }

    #[test]
    fn defaults_come_from_the_name() {
        let spec = read("web").unwrap();
        assert_eq!((spec.namespace.as_str(), spec.service_account.as_str()), ("default", "web"));
        assert_eq!(spec.labels["app"], "web");
        assert_eq!(Spec::read(spec.write()), Ok(spec));
    }

    #[test]
    fn what_was_said_stands() {
        let message = proto::WorkloadSpec {
            name: "web".to_owned(),
            namespace: "shop".to_owned(),
            service_account: "web-account".to_owned(),
            labels: [("app".to_owned(), "front".to_owned())].into(),
            ports: vec![port(8080), port(80)],
            ..proto::WorkloadSpec::default()
        };
        let spec = Spec::read(message).unwrap();
        assert_eq!((spec.namespace.as_str(), spec.service_account.as_str()), ("shop", "web-account"));
        assert_eq!(spec.labels["app"], "front");
        assert_eq!(spec.ports.iter().map(|p| p.port).collect::<Vec<_>>(), [80, 8080]);
        assert_eq!(Spec::read(spec.write()), Ok(spec));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for name in ["", "Web", "web.shop", "-web", "web-", "web/1", &"x".repeat(64)] {
            assert!(matches!(read(name), Err(SpecError::Name { field: "name", .. })), "{name}");
        }
        let with = |change: fn(&mut proto::WorkloadSpec)| {
            let mut message = read("web").unwrap().write();
            change(&mut message);
            Spec::read(message)
        };
        assert!(matches!(with(|m| m.namespace = "A".to_owned()), Err(SpecError::Name { field: "namespace", .. })));
        assert!(matches!(with(|m| drop(m.labels.insert(String::new(), String::new()))), Err(SpecError::Labels(_))));
        // One is there already.
        assert!(with(|m| m.labels.extend((1..64).map(|n| (n.to_string(), String::new())))).is_ok());
        let many = with(|m| m.labels.extend((1..65).map(|n| (n.to_string(), String::new()))));
        assert_eq!(many, Err(SpecError::Labels("65".to_owned())));
        assert!(with(|m| drop(m.labels.insert("k".repeat(317), "v".repeat(317)))).is_ok());
        let long = with(|m| drop(m.labels.insert("k".to_owned(), "v".repeat(318))));
        assert_eq!(long, Err(SpecError::Labels("1 and 318 bytes".to_owned())));
        assert!(matches!(with(|m| m.ports = vec![port(0)]), Err(SpecError::Port(_))));
        assert_eq!(with(|m| m.ports = vec![port(80), port(80)]), Err(SpecError::Twice(80)));
    }
}
