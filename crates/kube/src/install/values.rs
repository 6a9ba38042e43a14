//! What a user can set: typed, checked, with defaults; unknown keys are refused with the nearest known.

mod merge;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use weft_compile::DefaultInbound;
use weft_identity::LEAST_LIFETIME;
use weft_mesh::TrustDomain;

use self::merge::{leaves, merge, nested, split, yaml};
use super::VERSION;

/// The values of an installation. docs/kubernetes.md says what each means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Values {
    /// The trust domain of the mesh's identities.
    pub trust_domain: String,
    /// The DNS domain of the cluster's Services.
    pub cluster_domain: String,
    /// How long a proxy's certificate lives, such as `24h`.
    pub cert_lifetime: String,
    /// Who may call a port that no policy speaks of, in Linkerd's words.
    #[serde(serialize_with = "written", deserialize_with = "read_inbound")]
    pub default_inbound_policy: DefaultInbound,
    /// What the controller logs, such as `info` or `warn,weft=debug`.
    pub log_level: String,
    /// The images.
    pub images: Images,
    /// The controller's container.
    pub controller: Controller,
    /// The injected container.
    pub proxy: Proxy,
}

/// Which images run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Images {
    /// The controller's.
    pub controller: String,
    /// The proxy's and the init container's.
    pub proxy: String,
    /// When the kubelet pulls them.
    pub pull_policy: PullPolicy,
}

/// Kubernetes' `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "Kubernetes' own words")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// The controller's container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Controller {
    /// What it asks of the node.
    pub resources: Resources,
}

/// The injected container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// What it logs.
    pub log_level: String,
    /// What it asks of the node.
    pub resources: Resources,
}

/// A container's resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What the scheduler sets aside.
    pub requests: Quantities,
    /// What it may use at most.
    pub limits: Quantities,
}

/// Amounts in Kubernetes' notation; an empty one says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quantities {
    /// Processor time, such as `10m`.
    pub cpu: String,
    /// Memory, such as `20Mi`.
    pub memory: String,
}

impl Default for Values {
    fn default() -> Self {
        let quantities = |cpu: &str, memory: &str| Quantities { cpu: cpu.to_owned(), memory: memory.to_owned() };
        Self {
            trust_domain: "cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            cert_lifetime: "24h".to_owned(),
            default_inbound_policy: DefaultInbound::AllUnauthenticated,
            log_level: "info".to_owned(),
            images: Images {
                controller: format!("localhost/weft/controller:{VERSION}"),
                proxy: format!("localhost/weft/proxy:{VERSION}"),
                pull_policy: PullPolicy::IfNotPresent,
            },
            controller: Controller {
                resources: Resources { requests: quantities("50m", "50Mi"), limits: quantities("", "512Mi") },
            },
            proxy: Proxy {
                log_level: "info".to_owned(),
                resources: Resources { requests: quantities("10m", "20Mi"), limits: Quantities::default() },
            },
        }
    }
}

/// One thing that a user set, in the order in which it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// A file of values: its name and its text in YAML.
    File {
        /// For messages.
        name: String,
        /// The text.
        text: String,
    },
    /// `KEY=VALUE`, whose value is read as YAML reads it.
    Set(String),
    /// `KEY=VALUE`, whose value is a string.
    SetString(String),
}

/// Why values can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// `--set` without a key or without `=`.
    #[error("expected KEY=VALUE, found {0:?}")]
    NoPair(String),
    /// The text of a file is no YAML.
    #[error("{file}: {why}")]
    Yaml {
        /// The file.
        file: String,
        /// What the parser says.
        why: String,
    },
    /// No such key.
    #[error("{place}: no value {key:?}; the nearest is {nearest:?}")]
    Unknown {
        /// The flag or file.
        place: String,
        /// What was written.
        key: String,
        /// What was probably meant.
        nearest: String,
    },
    /// A value of the wrong kind or beyond what can be used.
    #[error("{key}: expected {expected}, found {found}")]
    Wrong {
        /// The key.
        key: String,
        /// What can be used.
        expected: &'static str,
        /// What was written.
        found: String,
    },
}

impl Values {
    /// The defaults with what the user set, later settings before earlier ones.
    ///
    /// # Errors
    /// [`ValuesError`] names the key, and what it expects.
    pub fn of(settings: &[Setting]) -> Result<Self, ValuesError> {
        let mut all = Self::default().to_json();
        for setting in settings {
            match setting {
                Setting::File { name, text } => merge(&mut all, yaml(name, text)?, name, "")?,
                Setting::Set(pair) => {
                    let (key, text) = split(pair)?;
                    // What isn't YAML by itself (`a: b: c`, `*x`) is meant as it is written.
                    let value = yaml(key, text).unwrap_or_else(|_| Value::from(text));
                    merge(&mut all, nested(key, value), "--set", "")?;
                }
                Setting::SetString(pair) => {
                    let (key, text) = split(pair)?;
                    merge(&mut all, nested(key, Value::from(text)), "--set-string", "")?;
                }
            }
        }
        amounts(&mut all);
        let values: Self = read(&all)?;
        values.check()?;
        Ok(values)
    }

    /// The values with this version's images in place of those of the version `from`. Images with other tags are
    /// the user's own, and stay.
    #[must_use]
    pub fn upgraded(mut self, from: Option<&str>) -> Self {
        for image in [&mut self.images.controller, &mut self.images.proxy] {
            let old = from.and_then(|from| image.strip_suffix(from)).and_then(|rest| rest.strip_suffix(':'));
            if let Some(name) = old {
                *image = format!("{name}:{VERSION}");
            }
        }
        self
    }

    /// What differs from the values that are installed, `key: old → new`.
    pub fn changes(&self, installed: &Self) -> Vec<String> {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        leaves(&installed.to_json(), "", &mut |key, value| old.push((key.to_owned(), value.clone())));
        leaves(&self.to_json(), "", &mut |key, value| new.push((key.to_owned(), value.clone())));
        let differs = old.into_iter().zip(new).filter(|((_, old), (_, new))| old != new);
        differs.map(|((key, old), (_, new))| format!("{key}: {old} → {new}")).collect()
    }

    /// As the ConfigMap keeps them, and as `--values` takes them.
    pub fn to_yaml(&self) -> String {
        super::render::yaml(&self.to_json())
    }

    fn to_json(&self) -> Value {
        // Strings and enums of strings serialize.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), ValuesError> {
        let wrong = |key: &str, expected, found: &str| {
            Err(ValuesError::Wrong { key: key.to_owned(), expected, found: format!("{found:?}") })
        };
        if self.trust_domain.parse::<TrustDomain>().is_err() {
            return wrong("trustDomain", "a trust domain such as cluster.local", &self.trust_domain);
        }
        if !is_domain(&self.cluster_domain) {
            return wrong("clusterDomain", "a DNS domain such as cluster.local", &self.cluster_domain);
        }
        if seconds(&self.cert_lifetime).is_none_or(|life| life < LEAST_LIFETIME.as_secs()) {
            return wrong("certLifetime", "a duration of 3s or more, such as 24h or 90m", &self.cert_lifetime);
        }
        for (key, filter) in [("logLevel", &self.log_level), ("proxy.logLevel", &self.proxy.log_level)] {
            if !is_filter(filter) {
                return wrong(key, "a level such as warn, or a list such as info,weft_kube=debug", filter);
            }
        }
        for (key, image) in [("images.controller", &self.images.controller), ("images.proxy", &self.images.proxy)] {
            if image.is_empty() || image.contains(char::is_whitespace) {
                return wrong(key, "an image such as registry.example/weft/proxy:1.0", image);
            }
        }
        for (key, amounts) in [
            ("controller.resources.requests", &self.controller.resources.requests),
            ("controller.resources.limits", &self.controller.resources.limits),
            ("proxy.resources.requests", &self.proxy.resources.requests),
            ("proxy.resources.limits", &self.proxy.resources.limits),
        ] {
            for (name, amount) in [("cpu", &amounts.cpu), ("memory", &amounts.memory)] {
                if !amount.is_empty() && !is_quantity(amount) {
                    return wrong(&format!("{key}.{name}"), "an amount such as 100m or 20Mi", amount);
                }
            }
        }
        Ok(())
    }
}

impl Resources {
    /// As a container has them; amounts that say nothing are left out.
    pub fn to_json(&self) -> Value {
        let amounts = |quantities: &Quantities| {
            let named = [("cpu", &quantities.cpu), ("memory", &quantities.memory)];
            let said = named.into_iter().filter(|(_, amount)| !amount.is_empty());
            Value::Object(said.map(|(name, amount)| (name.to_owned(), Value::from(amount.as_str()))).collect())
        };
        let both = [("requests", amounts(&self.requests)), ("limits", amounts(&self.limits))];
        let said = both.into_iter().filter(|(_, amounts)| amounts.as_object().is_some_and(|map| !map.is_empty()));
        Value::Object(said.map(|(name, amounts)| (name.to_owned(), amounts)).collect())
    }
}

impl PullPolicy {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Amounts are numbers to YAML where they are whole (`cpu: 2`), and mean what is written.
fn amounts(all: &mut Value) {
    for (part, kind) in
        [("controller", "requests"), ("controller", "limits"), ("proxy", "requests"), ("proxy", "limits")]
    {
        for name in ["cpu", "memory"] {
            let found = all.pointer_mut(&format!("/{part}/resources/{kind}/{name}"));
            if let Some(amount) = found.filter(|amount| amount.is_number()) {
                *amount = Value::from(amount.to_string());
            }
        }
    }
}

/// Every leaf is a string or one of a few words; says which one isn't.
fn read(all: &Value) -> Result<Values, ValuesError> {
    let mut wrong = None;
    leaves(all, "", &mut |key, value| {
        if !value.is_string() && wrong.is_none() {
            wrong = Some(ValuesError::Wrong { key: key.to_owned(), expected: "a string", found: value.to_string() });
        }
    });
    match wrong {
        Some(wrong) => Err(wrong),
        None => serde_json::from_value(all.clone()).map_err(|_| wrong_word(all)),
    }
}

fn written<S: Serializer>(policy: &DefaultInbound, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(policy.as_str())
}

fn read_inbound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DefaultInbound, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Which of the two values of few words isn't one of them.
fn wrong_word(all: &Value) -> ValuesError {
    let (key, found, expected) = match &all["images"]["pullPolicy"] {
        policy if serde_json::from_value::<PullPolicy>(policy.clone()).is_err() => {
            ("images.pullPolicy", policy, "Always, IfNotPresent or Never")
        }
        _ => (
            "defaultInboundPolicy",
            &all["defaultInboundPolicy"],
            "all-unauthenticated, all-authenticated, cluster-unauthenticated, cluster-authenticated, deny or audit",
        ),
    };
    ValuesError::Wrong { key: key.to_owned(), expected, found: found.to_string() }
}

/// Labels of letters, digits and hyphens, joined by dots (RFC 1123).
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// How many seconds `24h`, `90m` or `1h30m` are: numbers with units.
fn seconds(text: &str) -> Option<u64> {
    let part = |part: &str| {
        let unit = match part.chars().last()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        // The last character is one byte.
        part[..part.len() - 1].parse::<u32>().ok().map(|number| u64::from(number) * unit)
    };
    text.split_inclusive(|c: char| !c.is_ascii_digit()).map(part).sum()
}

/// What `tracing_subscriber` takes for a filter, and not for the name of a target without a level: levels, each
/// of all or of one target.
fn is_filter(text: &str) -> bool {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_target =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:.".contains(&b));
    text.split(',').all(|part| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    })
}

/// Kubernetes' quantities: a decimal number with a suffix.
fn is_quantity(text: &str) -> bool {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let suffixes = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];
    number.parse::<f64>().is_ok() && suffixes.contains(&suffix)
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
