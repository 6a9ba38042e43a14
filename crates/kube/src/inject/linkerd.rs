//! Linkerd's annotations `config.linkerd.io/…`, one by one.

use super::effect::Effect;
use super::quantity::quantity;
use super::settings::Settings;
use super::subnet::Subnet;

/// Keys of a namespace's annotations that its pods inherit begin so.
pub const INHERITED_PREFIXES: [&str; 3] = ["config.linkerd.io/", "config.beta.linkerd.io/", "config.alpha.linkerd.io/"];

/// Takes one annotation.
///
/// # Errors
/// What was expected and found, where the value can't be read.
pub(super) fn apply(settings: &mut Settings, key: &str, value: &str) -> Result<Effect, String> {
    let Some(name) = INHERITED_PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)) else {
        return Ok(Effect::Foreign);
    };
    match name {
        "skip-inbound-ports" => settings.capture.skip_inbound_ports.extend(value.parse()?),
        "skip-outbound-ports" => settings.capture.skip_outbound_ports.extend(value.parse()?),
        "skip-subnets" => settings.capture.skip_inbound_subnets.extend(Subnet::list(value)?),
        "proxy-uid" => settings.uid = Some(user(value)?),
        "proxy-gid" => settings.gid = Some(user(value)?),
        "proxy-log-level" => settings.log_level = Some(log_level(value)?),
        "image-pull-policy" => settings.pull_policy = Some(pull_policy(value)?),
        "proxy-image" => return Ok(image(settings, value)),
        "proxy-version" => return version(settings, value),
        _ => return resource(settings, name, value).unwrap_or_else(|| Ok(other(name, value))),
    }
    Ok(Effect::Taken)
}

/// `proxy-cpu-request` and its like.
fn resource(settings: &mut Settings, name: &str, value: &str) -> Option<Result<Effect, String>> {
    let (resource, kind) = name.strip_prefix("proxy-")?.rsplit_once('-')?;
    if !matches!(resource, "cpu" | "memory" | "ephemeral-storage") {
        return None;
    }
    let amounts = match kind {
        "request" => &mut settings.requests,
        "limit" => &mut settings.limits,
        _ => return None,
    };
    Some(quantity(value).map(|amount| {
        amounts.insert(resource.to_owned(), amount);
        Effect::Taken
    }))
}

/// What sets nothing at injection.
fn other(name: &str, value: &str) -> Effect {
    let Some((_, wanted, reason)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
        return Effect::Unknown;
    };
    match wanted {
        Wanted::Elsewhere => Effect::Taken,
        Wanted::Only(so) if *so == value => Effect::Taken,
        Wanted::Only(_) | Wanted::Nothing => Effect::void(reason),
    }
}

/// When an annotation without influence is fulfilled all the same.
enum Wanted {
    /// The control plane follows it on the live pod.
    Elsewhere,
    /// It is always so; any other value isn't had.
    Only(&'static str),
    /// Never.
    Nothing,
}

#[rustfmt::skip]
const KNOWN: [(&str, Wanted, &str); 36] = [
    ("opaque-ports", Wanted::Elsewhere, ""),
    ("default-inbound-policy", Wanted::Elsewhere, ""),
    ("proxy-await", Wanted::Only("enabled"), "the program always waits until the proxy is ready"),
    ("proxy-enable-native-sidecar", Wanted::Only("true"), "the proxy is always a native sidecar"),
    ("native-sidecar", Wanted::Only("true"), "the proxy is always a native sidecar"),
    ("proxy-log-format", Wanted::Only("plain"), "the proxy's log is plain, its access log JSON"),
    ("proxy-log-http-headers", Wanted::Only("off"), "headers are never logged"),
    ("proxy-admin-shutdown", Wanted::Only("disabled"), "a native sidecar ends by itself when the program has ended"),
    ("enable-debug-sidecar", Wanted::Only("false"), "use kubectl debug"),
    ("enable-external-profiles", Wanted::Only("false"), "ServiceProfiles aren't read"),
    ("enable-gateway", Wanted::Only("false"), "there is no multi-cluster gateway"),
    ("proxy-metrics-hostname-labels", Wanted::Only("false"), "metrics carry no host names"),
    ("proxy-disable-outbound-protocol-detect-timeout", Wanted::Only("false"), NO_TIMEOUT),
    ("proxy-disable-inbound-protocol-detect-timeout", Wanted::Only("false"), NO_TIMEOUT),
    ("proxy-wait-before-exit-seconds", Wanted::Only("0"), "a native sidecar ends after the program"),
    ("shutdown-grace-period", Wanted::Nothing, "the pod's terminationGracePeriodSeconds holds"),
    ("proxy-require-identity-inbound-ports", Wanted::Nothing,
     "use a PeerAuthentication with portLevelMtls, or default-inbound-policy"),
    ("access-log", Wanted::Nothing, "the proxy writes its access log in JSON"),
    ("proxy-cpu-ratio-limit", Wanted::Nothing, "the proxy's data runs on one thread"),
    ("pod-inbound-ports", Wanted::Nothing, "every port of the pod is redirected"),
    ("inbound-port", Wanted::Nothing, FIXED_PORTS),
    ("outbound-port", Wanted::Nothing, FIXED_PORTS),
    ("control-port", Wanted::Nothing, FIXED_PORTS),
    ("admin-port", Wanted::Nothing, FIXED_PORTS),
    ("proxy-outbound-connect-timeout", Wanted::Nothing, FIXED_TIMES),
    ("proxy-inbound-connect-timeout", Wanted::Nothing, FIXED_TIMES),
    ("proxy-outbound-discovery-cache-unused-timeout", Wanted::Nothing, FIXED_TIMES),
    ("proxy-inbound-discovery-cache-unused-timeout", Wanted::Nothing, FIXED_TIMES),
    ("close-wait-timeout", Wanted::Nothing, "the node's setting isn't changed"),
    ("debug-image", Wanted::Nothing, "use kubectl debug"),
    ("debug-image-version", Wanted::Nothing, "use kubectl debug"),
    ("debug-image-pull-policy", Wanted::Nothing, "use kubectl debug"),
    ("init-image", Wanted::Nothing, "weft-init is in the proxy's image"),
    ("init-image-version", Wanted::Nothing, "weft-init is in the proxy's image"),
    ("proxy-additional-env", Wanted::Nothing, "the proxy's environment is the control plane's to set"),
    ("trust-root-sha256", Wanted::Nothing, "anchors come from the control plane"),
];

const FIXED_PORTS: &str = "the proxy's ports are fixed: 15001, 15006, 15008, 15020";
const FIXED_TIMES: &str = "the proxy's bounds are fixed";
const NO_TIMEOUT: &str = "detection makes no server-first protocol wait";

/// Takes an image's name, with or without a tag.
pub(super) fn image(settings: &mut Settings, value: &str) -> Effect {
    if value.is_empty() || value.contains(char::is_whitespace) {
        return Effect::Void(format!("expected an image such as registry.example/weft/proxy:1.0, found {value:?}"));
    }
    let is_foreign = ["linkerd/proxy", "proxyv2"].iter().any(|part| value.contains(part));
    if is_foreign {
        return Effect::Void(format!("{value:?} is another mesh's proxy"));
    }
    settings.image = Some(value.to_owned());
    Effect::Taken
}

fn version(settings: &mut Settings, value: &str) -> Result<Effect, String> {
    if ["stable-", "edge-", "enterprise-", "preview-"].iter().any(|prefix| value.starts_with(prefix)) {
        return Ok(Effect::Void(format!("{value:?} is a version of Linkerd")));
    }
    let is_tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if value.is_empty() || value.len() > 128 || !value.chars().all(is_tag) {
        return Err(format!("expected an image's tag, found {value:?}"));
    }
    settings.tag = Some(value.to_owned());
    Ok(Effect::Taken)
}

fn pull_policy(value: &str) -> Result<String, String> {
    match value {
        "Always" | "IfNotPresent" | "Never" => Ok(value.to_owned()),
        _ => Err(format!("expected Always, IfNotPresent or Never, found {value:?}")),
    }
}

/// A user or group that isn't root: what root sends is a program's, and is redirected.
fn user(value: &str) -> Result<u32, String> {
    let wrong = || format!("expected a number from 1 to 2147483647, found {value:?}");
    value.parse().ok().filter(|id| (1..=i32::MAX as u32).contains(id)).ok_or_else(wrong)
}

/// The level out of a list such as `warn,linkerd=info`: what is said of the proxy itself, or of all.
fn log_level(value: &str) -> Result<String, String> {
    let own = value.split(',').rev().find_map(|part| part.trim().strip_prefix("linkerd="));
    let all = value.split(',').map(str::trim).find(|part| !part.contains('='));
    level(own.or(all).unwrap_or_default()).ok_or_else(|| format!("expected a log level such as info, found {value:?}"))
}

/// The proxy's word for a level in any mesh's words.
pub(super) fn level(word: &str) -> Option<String> {
    let level = match word.to_ascii_lowercase().as_str() {
        "off" | "none" | "critical" | "fatal" | "error" => "error",
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" | "trace" => "debug",
        _ => return None,
    };
    Some(level.to_owned())
}
