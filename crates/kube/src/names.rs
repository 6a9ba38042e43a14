//! The names under which Weft's parts stand in a cluster, and their ports.

/// The control plane's Deployment, Service, ServiceAccount, roles and bindings.
pub const CONTROLLER: &str = "weft-controller";
/// Their only container.
pub const CONTROLLER_CONTAINER: &str = "controller";
/// What the controller's pods are labelled with.
pub const CONTROLLER_SELECTOR: &str = "weft.io/component=controller";
/// The MutatingWebhookConfiguration.
pub const INJECTOR: &str = "weft-injector";
/// The ValidatingWebhookConfiguration.
pub const VALIDATOR: &str = "weft-validator";
/// The Secret of the root that Weft made itself.
pub const ROOT_SECRET: &str = "weft-root";
/// The Secret of the issuer.
pub const ISSUER_SECRET: &str = "weft-issuer";
/// The Secret of the webhooks' server.
pub const WEBHOOK_SECRET: &str = "weft-webhook";
/// The ConfigMap of the trust anchors.
pub const ANCHORS_CONFIG: &str = "weft-anchors";
/// The ConfigMap of the install values.
pub const VALUES_CONFIG: &str = "weft-config";
/// The init container that redirects a pod's traffic, and ends.
pub const INIT_CONTAINER: &str = "weft-init";
/// The native sidecar: a pod is in the mesh exactly when it has an init container of this name.
pub const PROXY_CONTAINER: &str = "weft-proxy";
/// The label of injected pods, with the value `true`.
pub const INJECTED: &str = "weft.io/injected";
/// The label of injected pods that names their control plane's namespace.
pub const CONTROL_PLANE: &str = "weft.io/control-plane-ns";
/// The proxy's user and group, unless annotations say otherwise; the same as Linkerd's.
pub const PROXY_USER: u32 = 2102;
/// Istio's root namespace, where policies of the whole mesh stand.
pub const ROOT_NAMESPACE: &str = "istio-system";
/// Who made an object: this label with [`MANAGER`], so that nothing else is ever deleted.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on what `weft install` prints.
pub const MANAGER: &str = "weft";

/// gRPC over TLS, for proxies.
pub const PROXIES_PORT: u16 = 15012;
/// Plain gRPC of the command line, on the container's loopback alone.
pub const LOCAL_PORT: u16 = 15013;
/// Readiness and metrics.
pub const ADMIN_PORT: u16 = 15014;
/// The webhooks' HTTPS in the container; 443 of the Service.
pub const WEBHOOKS_PORT: u16 = 15017;
/// The mesh protocol, in each pod of the mesh.
pub const MESH_PORT: u16 = 15008;

/// Namespaces that injection leaves alone, beside Weft's own.
pub const NEVER_INJECTED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];
