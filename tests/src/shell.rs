//! Pods of tests that do nothing by themselves: programs are run in them.

/// A pod with one container, `shell`, that waits.
#[derive(Debug, Clone, Copy)]
pub struct Shell<'a> {
    name: &'a str,
    marks: &'a str,
    account: &'a str,
    node: Option<&'a str>,
}

impl<'a> Shell<'a> {
    /// A pod that asks for a proxy.
    pub fn meshed(name: &'a str) -> Self {
        Self { marks: "labels: {sidecar.istio.io/inject: \"true\"}", ..Self::outside(name) }
    }

    /// A pod that has none, in whichever namespace.
    pub fn outside(name: &'a str) -> Self {
        Self { name, marks: "annotations: {linkerd.io/inject: disabled}", account: "default", node: None }
    }

    /// It runs as this service account.
    pub fn account(self, account: &'a str) -> Self {
        Self { account, ..self }
    }

    /// It runs at this node.
    pub fn on(self, node: &'a str) -> Self {
        Self { node: Some(node), ..self }
    }

    /// A document of YAML, in which `NAMESPACE` stands for the namespace.
    pub fn manifest(&self) -> String {
        let Self { name, marks, account, node } = self;
        let node = node.map(|node| format!("  nodeName: {node}\n")).unwrap_or_default();
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: NAMESPACE, {marks}}}\nspec:\n{node}  \
             serviceAccountName: {account}\n  terminationGracePeriodSeconds: 0\n  \
             containers: [{{name: shell, image: \"{TOOLS}\", command: [sleep, infinity]}}]\n"
        )
    }
}

/// The image of the tests' programs.
pub const TOOLS: &str = "localhost/weft-test/tools:1";
