//! The containers and the volume that an injected pod gets.

use serde_json::{Map, Value, json};

use super::config::Config;
use super::quantity::Resources;
use super::settings::Settings;
use crate::names::{INIT_CONTAINER, MESH_PORT, PROXY_CONTAINER, PROXY_USER};

/// The init container that redirects the pod's traffic.
pub(super) fn init(settings: &Settings, config: &Config) -> Value {
    let uid = settings.uid.unwrap_or(PROXY_USER);
    let mut arguments: Vec<String> = Vec::new();
    for (flag, value) in [("--proxy-uid", uid), ("--outbound-port", OUTBOUND_PORT), ("--inbound-port", INBOUND_PORT)] {
        arguments.extend([flag.to_owned(), value.to_string()]);
    }
    arguments.extend(settings.capture.arguments());
    json!({
        "name": INIT_CONTAINER,
        "image": image(settings, config),
        "imagePullPolicy": pull_policy(settings, config),
        "command": ["/weft-init"],
        "args": arguments,
        // The proxy's: it costs the node nothing, and a quota or a range of the namespace wants them settable.
        "resources": resources(settings, config),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            // The pod may ask for the opposite, which would hold here too.
            "runAsNonRoot": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

/// The native sidecar. `probes` and `scrape` are what the proxy does in the program's stead.
pub(super) fn proxy(
    settings: &Settings,
    config: &Config,
    probes: &Map<String, Value>,
    scrape: Option<&Value>,
) -> Value {
    let mut container = json!({
        "name": PROXY_CONTAINER,
        "image": image(settings, config),
        "imagePullPolicy": pull_policy(settings, config),
        "command": ["/weft-proxy"],
        "args": ["--kubernetes"],
        "restartPolicy": "Always",
        "env": environment(settings, config, probes, scrape),
        "ports": [
            {"name": "weft-mesh", "containerPort": MESH_PORT, "protocol": "TCP"},
            {"name": "weft-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "startupProbe": {"httpGet": admin("/ready"), "periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {"httpGet": admin("/ready"), "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {"httpGet": admin("/live"), "periodSeconds": 10, "failureThreshold": 3},
        "securityContext": {
            "runAsUser": settings.uid.unwrap_or(PROXY_USER),
            "runAsGroup": settings.gid.unwrap_or(PROXY_USER),
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": true}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    container["resources"] = resources(settings, config);
    container
}

/// The token by which the proxy proves its service account to the control plane, and to it alone.
pub(super) fn volume() -> Value {
    let token = json!({"audience": "weft.io", "expirationSeconds": 86_400, "path": "token"});
    json!({"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}})
}

fn admin(path: &str) -> Value {
    json!({"path": path, "port": ADMIN_PORT, "scheme": "HTTP"})
}

fn image(settings: &Settings, config: &Config) -> String {
    let chosen = settings.image.as_deref().unwrap_or(&config.proxy_image);
    let slash = chosen.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match chosen[slash..].find([':', '@']) {
        Some(at) => chosen.split_at(slash + at),
        None => (chosen, ""),
    };
    match (&settings.tag, tag) {
        (Some(tag), _) => format!("{name}:{tag}"),
        (None, "") => format!("{name}:{}", config.proxy_version()),
        (None, _) => chosen.to_owned(),
    }
}

fn pull_policy<'s>(settings: &'s Settings, config: &'s Config) -> &'s str {
    settings.pull_policy.as_deref().unwrap_or(&config.image_pull_policy)
}

fn resources(settings: &Settings, config: &Config) -> Value {
    let mut resources = config.resources.clone();
    resources.requests.extend(settings.requests.clone());
    resources.limits.extend(settings.limits.clone());
    resources.reconcile();
    let Resources { requests, limits } = resources;
    if limits.is_empty() { json!({"requests": requests}) } else { json!({"requests": requests, "limits": limits}) }
}

fn environment(
    settings: &Settings,
    config: &Config,
    probes: &Map<String, Value>,
    scrape: Option<&Value>,
) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let mut environment = vec![
        field("WEFT_POD_NAME", "metadata.name"),
        field("WEFT_POD_NAMESPACE", "metadata.namespace"),
        field("WEFT_POD_UID", "metadata.uid"),
        field("WEFT_POD_IPS", "status.podIPs"),
        field("WEFT_SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("WEFT_NODE_NAME", "spec.nodeName"),
        value("WEFT_TRUST_DOMAIN", &config.trust_domain),
        value("WEFT_CLUSTER_DOMAIN", &config.cluster_domain),
        value("WEFT_CONTROL_ADDRESS", &config.control_address.to_string()),
        value("WEFT_CONTROL_NAME", &config.control_name()),
        value("WEFT_CONTROL_IDENTITY", &config.control_identity()),
        value("WEFT_TRUST_ANCHORS", &literal(&config.trust_anchors)),
        value("WEFT_TOKEN_FILE", &format!("{TOKEN_FOLDER}/token")),
        value("WEFT_LOG", settings.log_level.as_deref().unwrap_or(&config.log)),
    ];
    if !probes.is_empty() {
        environment.push(value(PROBES_VARIABLE, &literal(&Value::Object(probes.clone()).to_string())));
    }
    environment.extend(scrape.map(|scrape| value(SCRAPE_VARIABLE, &literal(&scrape.to_string()))));
    environment
}

/// A value in which the kubelet expands nothing: `$(NAME)` in it would be.
fn literal(value: &str) -> String {
    value.replace('$', "$$")
}

const OUTBOUND_PORT: u32 = 15001;
const INBOUND_PORT: u32 = 15006;
/// `/ready`, `/live`, `/metrics` and the program's probes.
pub(super) const ADMIN_PORT: u16 = 15020;
/// The volume of the proxy's token.
pub(crate) const TOKEN_VOLUME: &str = "weft-token";
const TOKEN_FOLDER: &str = "/var/run/secrets/weft.io";
/// The program's own probes, JSON.
pub(super) const PROBES_VARIABLE: &str = "WEFT_PROBES";
/// The program's own metrics, JSON.
pub(super) const SCRAPE_VARIABLE: &str = "WEFT_SCRAPE";
