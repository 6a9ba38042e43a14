//! Looks at a cluster: the only part of the checks that asks one.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::observed::{Asked, Observed, Reach, Right, Scope, Seen, Unseen};
use crate::client::failed;
use crate::crds::DEFINITIONS;
use crate::fetch::{DEFINITION, Kind};
use crate::install::{Plan, RootNamespace, Values, manifests};
use crate::names::{
    ANCHORS_CONFIG, CONTROLLER, CONTROLLER_SELECTOR, ISSUER_SECRET, PROXY_CONTAINER, VALUES_CONFIG, WEBHOOK_SECRET,
};
use crate::pods::is_meshed;

/// Sees what the asked checks judge. What can't be seen is noted as that.
pub async fn look(client: &Client, namespace: &str, asked: &Asked) -> Observed {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut seen = Observed::nothing(namespace, i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    (seen.api, seen.server_now) = match tokio::time::timeout(ANSWER_WAIT, version(client)).await {
        Ok(Ok((version, date))) => (Ok(version), date),
        Ok(Err(error)) => (Err(failed("ask for its version", &error).into()), None),
        Err(_) => (Err(Unseen::Failed(format!("it gave no answer within {} s", ANSWER_WAIT.as_secs()))), None),
    };
    if seen.api.is_err() {
        return seen;
    }
    seen.definitions = definitions(client).await;
    seen.own_namespace = one(Api::<Namespace>::all(client.clone()), namespace).await;
    let (nodes, leases) =
        tokio::join!(all(Api::<Node>::all(client.clone())), all(Api::namespaced(client.clone(), LEASES)));
    (seen.nodes, seen.leases) = (nodes, leases);
    match asked.scope {
        Scope::Pre => seen.rights = rights(client, namespace).await,
        Scope::Definitions => {}
        Scope::Installed | Scope::Proxies => installed(client, asked, &mut seen).await,
    }
    seen
}

async fn installed(client: &Client, asked: &Asked, seen: &mut Observed) {
    let namespace = seen.namespace.clone();
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    (seen.values, seen.anchors, seen.issuer, seen.webhook_certificate) = tokio::join!(
        one(configs.clone(), VALUES_CONFIG),
        one(configs, ANCHORS_CONFIG),
        one(secrets.clone(), ISSUER_SECRET),
        one(secrets, WEBHOOK_SECRET),
    );
    if seen.values.is_err() {
        return;
    }
    let controllers = ListParams::default().labels(CONTROLLER_SELECTOR);
    (seen.deployment, seen.controllers, seen.objects, seen.reach) = tokio::join!(
        one(Api::namespaced(client.clone(), &namespace), CONTROLLER),
        some(pods, &controllers),
        objects(client, &namespace),
        reach(client),
    );
    let within = asked.namespace.as_deref();
    (seen.namespaces, seen.pods, seen.services, seen.network_policies) = tokio::join!(
        all(Api::all(client.clone())),
        all(scoped(client, within)),
        all(scoped(client, within)),
        all(scoped(client, within)),
    );
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The API server's version and clock.
async fn version(client: &Client) -> Result<((u32, u32), Option<i64>), kube::Error> {
    let request = http::Request::get("/version").body(kube::client::Body::empty()).map_err(kube::Error::HttpError)?;
    let date = client
        .send(request)
        .await?
        .headers()
        .get(http::header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(date_seconds);
    let info = client.apiserver_version().await?;
    // Some clouds say `33+`.
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    Ok(((number(&info.major), number(&info.minor)), date))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7) as seconds since the Unix epoch.
fn date_seconds(text: &str) -> Option<i64> {
    k8s_openapi::jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(|time| time.as_second())
}

async fn definitions(client: &Client) -> Vec<Seen<Value>> {
    let fetch = |name: &'static str| async move { seen(DEFINITION.get(client, None, name).await) };
    join_all(DEFINITIONS.iter().map(|definition| fetch(definition.name))).await
}

/// What an installation makes, and what there is under each name.
async fn objects(client: &Client, namespace: &str) -> Vec<(Value, Seen<Value>)> {
    let plan = Plan {
        namespace: namespace.to_owned(),
        values: Values::default(),
        root_namespace: RootNamespace::Theirs,
        meshed: Vec::new(),
    };
    let fetch = |expected: Value| async move {
        let (name, within) = (&expected["metadata"]["name"], expected["metadata"]["namespace"].as_str());
        let found = Kind::of(&expected).get(client, within, name.as_str().unwrap_or_default()).await;
        (expected, seen(found))
    };
    join_all(manifests(&plan).into_iter().map(fetch)).await
}

fn seen<T>(found: Result<Option<T>, crate::client::ClientError>) -> Seen<T> {
    found.map_err(Unseen::from)?.ok_or(Unseen::Absent)
}

async fn one<K: Clone + Debug + DeserializeOwned>(api: Api<K>, name: &str) -> Seen<K> {
    seen(api.get_opt(name).await.map_err(|error| failed(&format!("read {name}"), &error)))
}

async fn all<K: Clone + Debug + DeserializeOwned>(api: Api<K>) -> Seen<Vec<K>> {
    some(api, &ListParams::default()).await
}

async fn some<K: Clone + Debug + DeserializeOwned>(api: Api<K>, params: &ListParams) -> Seen<Vec<K>> {
    let found = api.list(params).await;
    Ok(found.map_err(|error| failed("list what is in the cluster", &error))?.items)
}

/// Asks for each right that an installation needs.
async fn rights(client: &Client, namespace: &str) -> Vec<Right> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let ask = |(verb, group, resource, in_namespace): (&'static str, &'static str, &'static str, bool)| {
        let reviews = reviews.clone();
        async move {
            let attributes = ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                namespace: in_namespace.then(|| namespace.to_owned()),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let answer = reviews.create(&PostParams::default(), &review).await;
            let allowed = answer.map(|review| review.status.is_some_and(|status| status.allowed));
            let allowed = allowed.map_err(|error| failed("ask for a right", &error).into());
            Right { verb, resource, group, in_namespace, allowed }
        }
    };
    join_all(RIGHTS.iter().copied().map(ask)).await
}

/// Makes a pod that asks for a proxy, in a dry run: the API server asks the injector as for any other,
/// and keeps nothing.
async fn reach(client: &Client) -> Reach {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod = match serde_json::from_value(trial()) {
        Ok(pod) => pod,
        Err(error) => return Reach::Unknown(error.to_string()),
    };
    match pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await {
        Ok(pod) if is_meshed(&pod) => Reach::Injected,
        Ok(_) => Reach::NotInjected,
        Err(kube::Error::Api(status)) if status.message.contains("failed calling webhook") => {
            Reach::Failed(status.message.clone())
        }
        // Pod Security refuses what the injector added: so it was reached.
        Err(kube::Error::Api(status)) if status.message.contains(PROXY_CONTAINER) => Reach::Injected,
        Err(error) => Reach::Unknown(failed("make a pod", &error).to_string()),
    }
}

fn trial() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "weft-check-", "annotations": {"linkerd.io/inject": "enabled"}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65_532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "trial",
                "image": "none",
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Where nodes renew their leases.
const LEASES: &str = "kube-node-lease";
/// Verb, group, resource, and whether in Weft's namespace: what an installation needs.
const RIGHTS: &[(&str, &str, &str, bool)] = &[
    ("create", "", "namespaces", false),
    ("create", "apiextensions.k8s.io", "customresourcedefinitions", false),
    ("create", "rbac.authorization.k8s.io", "clusterroles", false),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings", false),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", false),
    ("create", "admissionregistration.k8s.io", "validatingwebhookconfigurations", false),
    ("create", "", "serviceaccounts", true),
    ("create", "", "services", true),
    ("create", "apps", "deployments", true),
    ("create", "", "configmaps", true),
    ("create", "", "secrets", true),
    ("get", "", "secrets", true),
    ("create", "rbac.authorization.k8s.io", "roles", true),
    ("create", "rbac.authorization.k8s.io", "rolebindings", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_is_read() {
        assert_eq!(date_seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date_seconds("yesterday"), None);
    }
}
