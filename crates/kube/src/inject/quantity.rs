//! Quantities of CPU, memory and disk, and the proxy's share of them.

use std::collections::BTreeMap;

/// What the proxy asks for and may use at most, by resource (`cpu`, `memory`, `ephemeral-storage`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// What the scheduler sets aside.
    pub requests: BTreeMap<String, String>,
    /// What the kernel allows.
    pub limits: BTreeMap<String, String>,
}

impl Default for Resources {
    /// Little, as a proxy at rest needs it; no limits, since one that is too low breaks a busy proxy.
    fn default() -> Self {
        let requests = [("cpu", "10m"), ("memory", "20Mi")];
        Self {
            requests: requests.into_iter().map(|(name, amount)| (name.to_owned(), amount.to_owned())).collect(),
            limits: BTreeMap::new(),
        }
    }
}

impl Resources {
    /// Reads a container's `resources` in JSON; the usual ones where it says nothing.
    ///
    /// # Errors
    /// What was expected and found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |error| format!("expected a container's resources in JSON, found {text:?} ({error})");
        let written: Written = serde_json::from_str(text).map_err(wrong)?;
        let usual = Self::default();
        Ok(Self {
            requests: written.requests.unwrap_or(usual.requests),
            limits: written.limits.unwrap_or(usual.limits),
        })
    }

    /// Sees to it that no request is above its limit: the API server would refuse the pod.
    pub(crate) fn reconcile(&mut self) {
        for (name, limit) in &self.limits {
            let above = self.requests.get(name).is_some_and(|request| amount(request) > amount(limit));
            if above {
                self.requests.insert(name.clone(), limit.clone());
            }
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    requests: Option<BTreeMap<String, String>>,
    limits: Option<BTreeMap<String, String>>,
}

/// Checks that a text is a quantity that isn't negative.
pub(crate) fn quantity(text: &str) -> Result<String, String> {
    match amount(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("expected a quantity such as 100m or 64Mi, found {text:?}")),
    }
}

/// How much a quantity is (Kubernetes' `resource.Quantity`: a decimal number and a suffix).
fn amount(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let scale = match &text[digits..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        suffix => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            10f64.powi(exponent)
        }
    };
    Some(number * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, expected) in [("100m", 0.1), ("1.5", 1.5), ("64Mi", 67_108_864.0), ("1e3", 1000.0), ("2G", 2e9)] {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
        for wrong in ["", "m", "-1", "1 Mi", "1mi", "1.2.3", "e3", "ten"] {
            assert!(quantity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_never_exceeds_its_limit() {
        let mut resources = Resources::default();
        resources.limits.insert("cpu".into(), "5m".into());
        resources.limits.insert("memory".into(), "1Gi".into());
        resources.reconcile();
        assert_eq!(resources.requests["cpu"], "5m");
        assert_eq!(resources.requests["memory"], "20Mi");
    }
}
