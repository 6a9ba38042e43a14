//! Which pods a policy selects, and how their proxies follow. Of all workloads only those are looked at
//! that the policy can concern: hundreds of policies in a large cluster are looked through every two
//! seconds while something changes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use weft_compile::{Proxy, Workload};
use weft_control::Mesh;
use weft_mesh::WorkloadId;
use weft_resources::Resource;

use super::{Following, selects};

/// The workloads by namespace.
pub(super) struct Scopes<'m> {
    root_namespace: &'m str,
    workloads: BTreeMap<&'m str, Vec<&'m Workload>>,
}

impl<'m> Scopes<'m> {
    /// Those of a mesh.
    pub(super) fn of(mesh: &'m Mesh) -> Self {
        let mut workloads: BTreeMap<&str, Vec<&Workload>> = BTreeMap::new();
        for workload in mesh.workloads() {
            workloads.entry(workload.id.namespace()).or_default().push(workload);
        }
        Self { root_namespace: &mesh.settings().root_namespace, workloads }
    }

    /// The pods that a policy selects; it is several resources when nobody can tell which it is.
    /// `current` are those whose proxies hold the newest record.
    pub(super) fn selected(
        &self,
        resources: &[Resource],
        current: &BTreeSet<WorkloadId>,
    ) -> Vec<(&'m WorkloadId, Following)> {
        let is_selected = |workload: &&Workload| {
            let (namespace, labels) = (workload.id.namespace(), &workload.labels);
            resources.iter().any(|resource| selects(resource, self.root_namespace, namespace, labels))
        };
        let following = |workload: &Workload| match workload.proxy {
            Proxy::Absent => Following::Unmeshed,
            _ if current.contains(&workload.id) => Following::Current,
            _ => Following::Behind,
        };
        let selected = self.in_scope(resources).into_iter().filter(is_selected);
        selected.map(|workload| (&workload.id, following(workload))).collect()
    }

    /// Those of the resources' namespaces; all, where one is the whole mesh's or can't be placed.
    fn in_scope(&self, resources: &[Resource]) -> Vec<&'m Workload> {
        let home = |resource| Resource::meta(resource).namespace.as_deref().filter(|home| *home != self.root_namespace);
        match resources.iter().map(home).collect::<Option<BTreeSet<&str>>>() {
            Some(homes) => homes.iter().filter_map(|home| self.workloads.get(home)).flatten().copied().collect(),
            None => self.workloads.values().flatten().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_compile::Settings;

    use super::*;

    fn workload(namespace: &str, name: &str, app: &str, proxy: Proxy) -> Workload {
        Workload {
            id: WorkloadId::new(namespace, name).unwrap(),
            identity: format!("spiffe://cluster.local/ns/{namespace}/sa/default").parse().unwrap(),
            service: app.to_owned(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            addresses: Vec::new(),
            proxy,
            ports: Vec::new(),
            default_inbound: None,
            owner: None,
            node: None,
        }
    }

    fn policy(metadata: &str, spec: &str) -> Vec<Resource> {
        let text = format!(
            r#"{{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{metadata},"spec":{spec}}}"#
        );
        weft_resources::parse_object("AuthorizationPolicy x", &text).resources
    }

    #[test]
    fn a_policy_concerns_its_namespace_and_the_root_namespaces_everybody() {
        let mut mesh = Mesh::new(Settings::default());
        mesh.put_workload(workload("shop", "web-1", "web", Proxy::Port(15008)));
        mesh.put_workload(workload("shop", "web-2", "web", Proxy::Starting));
        mesh.put_workload(workload("shop", "api-1", "api", Proxy::Absent));
        mesh.put_workload(workload("till", "web-1", "web", Proxy::Port(15008)));
        let scopes = Scopes::of(&mesh);
        let current = ["shop/web-1".parse().unwrap()].into();
        let selected = |metadata, spec| {
            let selected = scopes.selected(&policy(metadata, spec), &current);
            selected.into_iter().map(|(id, following)| (id.as_str().to_owned(), following)).collect::<Vec<_>>()
        };
        let (one, two) = (("shop/web-1".to_owned(), Following::Current), ("shop/web-2".to_owned(), Following::Behind));
        let (api, till) =
            (("shop/api-1".to_owned(), Following::Unmeshed), ("till/web-1".to_owned(), Following::Behind));
        let web = r#"{"selector":{"matchLabels":{"app":"web"}}}"#;
        assert_eq!(selected(r#"{"name":"p","namespace":"shop"}"#, web), [one.clone(), two.clone()]);
        assert_eq!(selected(r#"{"name":"p","namespace":"shop"}"#, "{}"), [api, one.clone(), two.clone()]);
        assert_eq!(selected(r#"{"name":"p","namespace":"istio-system"}"#, web), [one, two, till]);
        assert_eq!(selected(r#"{"name":"p","namespace":"nowhere"}"#, "{}"), []);
    }
}
