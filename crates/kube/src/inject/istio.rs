//! Istio's annotations on pods: `traffic.sidecar.istio.io/…`, `sidecar.istio.io/…`,
//! `proxy.istio.io/config`, one by one.

use weft_resources::{Value, parse_value};

use super::effect::Effect;
use super::linkerd;
use super::marks::ISTIO_INJECT;
use super::quantity::quantity;
use super::settings::{Keep, Settings};
use super::subnet::Subnet;
use crate::ports::PortList;

/// Takes one annotation.
///
/// # Errors
/// What was expected and found, where the value can't be read.
pub(super) fn apply(settings: &mut Settings, key: &str, value: &str) -> Result<Effect, String> {
    if let Some(name) = key.strip_prefix("traffic.sidecar.istio.io/") {
        return traffic(settings, name, value);
    }
    match key {
        "proxy.istio.io/config" => return proxy_config(value),
        "prometheus.istio.io/merge-metrics" => {
            if !yes_or_no(value)? {
                settings.scrapes = Keep::AsIs;
            }
            return Ok(Effect::Taken);
        }
        // Istio's own record of its injection, and the switch that has been read by now.
        "sidecar.istio.io/status" | ISTIO_INJECT => return Ok(Effect::Taken),
        _ => {}
    }
    match key.strip_prefix("sidecar.istio.io/") {
        Some(name) => sidecar(settings, name, value),
        None if OTHER_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) => Ok(Effect::void(NO_MEANING)),
        None => Ok(Effect::Foreign),
    }
}

fn traffic(settings: &mut Settings, name: &str, value: &str) -> Result<Effect, String> {
    let capture = &mut settings.capture;
    match name {
        "includeInboundPorts" if value.trim() == "*" => capture.only_inbound_ports = None,
        "includeInboundPorts" => capture.only_inbound_ports = Some(value.parse()?),
        "excludeInboundPorts" => capture.skip_inbound_ports.extend(value.parse()?),
        "includeOutboundIPRanges" if value.trim() == "*" => capture.only_outbound_subnets = None,
        "includeOutboundIPRanges" => capture.only_outbound_subnets = Some(Subnet::list(value)?),
        "excludeOutboundIPRanges" => capture.skip_outbound_subnets.extend(Subnet::list(value)?),
        "excludeOutboundPorts" => capture.skip_outbound_ports.extend(value.parse()?),
        // It widens `includeOutboundIPRanges`, which takes in every address unless it is there.
        "includeOutboundPorts" => {
            let ports: PortList = value.parse()?;
            let widens = !ports.is_empty() && capture.only_outbound_subnets.is_some();
            return Ok(if widens { Effect::void(NO_WIDENING) } else { Effect::Taken });
        }
        "excludeInterfaces" | "kubevirtInterfaces" => return Ok(Effect::void("every interface is redirected alike")),
        _ => return Ok(Effect::Unknown),
    }
    Ok(Effect::Taken)
}

fn sidecar(settings: &mut Settings, name: &str, value: &str) -> Result<Effect, String> {
    let mut set = |kind: Amount, resource: &str| {
        let amounts = match kind {
            Amount::Request => &mut settings.requests,
            Amount::Limit => &mut settings.limits,
        };
        quantity(value).map(|amount| {
            amounts.insert(resource.to_owned(), amount);
            Effect::Taken
        })
    };
    match name {
        "proxyCPU" => set(Amount::Request, "cpu"),
        "proxyMemory" => set(Amount::Request, "memory"),
        "proxyCPULimit" => set(Amount::Limit, "cpu"),
        "proxyMemoryLimit" => set(Amount::Limit, "memory"),
        "proxyImage" => Ok(linkerd::image(settings, value)),
        "logLevel" => {
            let level = linkerd::level(value).ok_or_else(|| format!("expected a log level, found {value:?}"))?;
            settings.log_level = Some(level);
            Ok(Effect::Taken)
        }
        "rewriteAppHTTPProbers" => {
            if !yes_or_no(value)? {
                settings.probes = Keep::AsIs;
            }
            Ok(Effect::Taken)
        }
        "nativeSidecar" if value == "true" => Ok(Effect::Taken),
        "nativeSidecar" => Ok(Effect::void("the proxy is always a native sidecar")),
        "interceptionMode" if value == "REDIRECT" => Ok(Effect::Taken),
        "interceptionMode" => Ok(Effect::void("traffic of a pod is always redirected by REDIRECT")),
        _ => Ok(Effect::void(NO_MEANING)),
    }
}

/// Whether an amount is a request or a limit.
enum Amount {
    Request,
    Limit,
}

/// The settings inside `proxy.istio.io/config`, which is YAML.
fn proxy_config(value: &str) -> Result<Effect, String> {
    let wrong = |found: String| format!("expected a mapping in YAML, found {found}");
    let node = parse_value("annotation", value.as_bytes()).map_err(|problem| wrong(problem.message))?;
    let entries = match node.value {
        Value::Map(entries) => entries,
        Value::Null => return Ok(Effect::Taken),
        _ => return Err(wrong(node.describe())),
    };
    let is_had = |key: &str, value: &Value| match key {
        "holdApplicationUntilProxyStarts" => *value == Value::Bool(true),
        "concurrency" => *value == Value::Number("1".to_owned()),
        _ => false,
    };
    let void: Vec<&str> = entries
        .iter()
        .filter(|entry| !is_had(&entry.key, &entry.value.value))
        .map(|entry| entry.key.as_str())
        .collect();
    if void.is_empty() {
        return Ok(Effect::Taken);
    }
    let reasons = void.iter().map(|key| format!("{key}: {}", reason(key)));
    Ok(Effect::Void(reasons.collect::<Vec<_>>().join("; ")))
}

fn reason(key: &str) -> &'static str {
    match key {
        "holdApplicationUntilProxyStarts" => "the program always waits until the proxy is ready",
        "concurrency" => "the proxy's data runs on one thread",
        "terminationDrainDuration" | "drainDuration" | "minDrainDuration" | "parentShutdownDuration" => {
            "a native sidecar ends after the program, within the pod's terminationGracePeriodSeconds"
        }
        "image" => "Weft has one image of its proxy",
        _ => "Weft has no such setting",
    }
}

fn yes_or_no(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("expected true or false, found {value:?}")),
    }
}

const NO_MEANING: &str = "Weft has no such setting";
const NO_WIDENING: &str = "ports beyond includeOutboundIPRanges can't be added";
const OTHER_PREFIXES: [&str; 6] = [
    "proxy.istio.io/",
    "inject.istio.io/",
    "readiness.status.sidecar.istio.io/",
    "status.sidecar.istio.io/",
    "prometheus.istio.io/",
    "galley.istio.io/",
];
