//! The way to a cluster: which kubeconfig and context, and the API server that they name.
//!
//! Nothing here knows what is asked of the cluster. Each failure says what to try next.

mod error;
mod forward;
mod leaf;
mod page;

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

pub use error::{ClientError, failed};
pub use forward::{Forward, controller};
pub use leaf::{leaf, meshed_pods};
pub use page::{PageError, page};

/// What a user said about the cluster to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig, in place of `$KUBECONFIG` and `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it, in place of its current one.
    pub context: Option<String>,
    /// The user to act as.
    pub user: Option<String>,
    /// The groups to act as a member of.
    pub groups: Vec<String>,
}

/// An API server, not asked anything yet.
#[derive(Clone)]
pub struct Cluster {
    /// Its client.
    pub client: Client,
    /// What people call it: the context, or the pod's own cluster.
    pub name: String,
    /// The namespace that the context names, else `default`.
    pub namespace: String,
}

impl Access {
    /// Whether the user chose a cluster by what they said.
    pub fn is_explicit(&self) -> bool {
        *self != Self::default()
    }

    /// The name of the cluster that would be meant: the kubeconfig's current context, or the cluster of
    /// the pod that this runs in.
    pub fn names_a_cluster(&self) -> Option<String> {
        let kubeconfig = self.read().ok().and_then(|kubeconfig| self.context(&kubeconfig));
        kubeconfig.or_else(|| Config::incluster().is_ok().then(|| IN_CLUSTER.to_owned()))
    }

    /// Makes the client of the cluster that is meant. The API server isn't asked yet.
    ///
    /// # Errors
    /// When no kubeconfig can be read, or it doesn't hold what was asked for.
    pub async fn cluster(&self) -> Result<Cluster, ClientError> {
        let (mut config, name) = match self.read() {
            Ok(kubeconfig) => self.of_kubeconfig(kubeconfig).await?,
            Err(error) => match Config::incluster() {
                Ok(config) if !self.is_explicit() => (config, IN_CLUSTER.to_owned()),
                _ => return Err(ClientError::kubeconfig(error)),
            },
        };
        if let Some(user) = &self.user {
            config.auth_info.impersonate = Some(user.clone());
        }
        if !self.groups.is_empty() {
            config.auth_info.impersonate_groups = Some(self.groups.clone());
        }
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| ClientError::Setup(error.to_string()))?;
        Ok(Cluster { client, name, namespace })
    }

    fn read(&self) -> Result<Kubeconfig, KubeconfigError> {
        match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        }
    }

    /// The name of the context that is meant.
    fn context(&self, kubeconfig: &Kubeconfig) -> Option<String> {
        self.context.clone().or_else(|| kubeconfig.current_context.clone()).filter(|name| !name.is_empty())
    }

    async fn of_kubeconfig(&self, kubeconfig: Kubeconfig) -> Result<(Config, String), ClientError> {
        let contexts = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
        let Some(name) = self.context(&kubeconfig) else { return Err(ClientError::NoContext(contexts)) };
        if !kubeconfig.contexts.iter().any(|context| context.name == name) {
            return Err(ClientError::UnknownContext { name, known: contexts });
        }
        let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(ClientError::kubeconfig)?;
        Ok((config, name))
    }
}

/// The client of a program that goes on: an API server that goes away in silence is asked again.
///
/// # Errors
/// When the configuration can't be used.
pub(crate) fn lasting(mut config: Config) -> kube::Result<Client> {
    config.read_timeout = Some(API_SILENCE);
    Client::try_from(config)
}

/// How long an API server may say nothing on a connection on which something is awaited. A watch of which nothing
/// is to be told is ended by the server after 290 s, and is no failure.
pub(crate) const API_SILENCE: Duration = Duration::from_secs(300);
/// The name of the cluster whose pod this runs in.
const IN_CLUSTER: &str = "in-cluster";

#[cfg(test)]
pub(crate) mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A controller's client of an API server that takes connections and says nothing.
    pub(crate) fn silent() -> (Client, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (lasting(Config::new(url.parse().unwrap())).unwrap(), listener)
    }

    const TWO: &str = "\
apiVersion: v1
kind: Config
current-context: a
clusters:
- {name: c, cluster: {server: 'http://127.0.0.1:1'}}
contexts:
- {name: a, context: {cluster: c, namespace: shop}}
- {name: b, context: {cluster: c}}
";

    fn access(folder: &tempfile::TempDir, text: &str, context: Option<&str>) -> Access {
        let path = folder.path().join("config");
        std::fs::write(&path, text).unwrap();
        Access { kubeconfig: Some(path), context: context.map(str::to_owned), ..Access::default() }
    }

    fn failure(access: &Access) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(access.cluster()).err().unwrap();
        format!("{error}; {}", error.hint())
    }

    #[tokio::test]
    async fn the_context_is_the_one_asked_for_else_the_current_one() {
        let folder = tempfile::tempdir().unwrap();
        let current = access(&folder, TWO, None).cluster().await.unwrap();
        assert_eq!((current.name.as_str(), current.namespace.as_str()), ("a", "shop"));
        let asked = access(&folder, TWO, Some("b")).cluster().await.unwrap();
        assert_eq!((asked.name.as_str(), asked.namespace.as_str()), ("b", "default"));
    }

    #[test]
    fn what_a_kubeconfig_lacks_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            failure(&access(&folder, TWO, Some("z"))),
            "no context \"z\" in the kubeconfig, which has a, b; choose one of them with --context"
        );
        let none = TWO.replace("current-context: a", "current-context: ''");
        assert_eq!(
            failure(&access(&folder, &none, None)),
            "the kubeconfig has no current context; choose one of a, b with --context"
        );
        let broken = failure(&access(&folder, "{", None));
        assert!(broken.starts_with("read the kubeconfig: "), "{broken}");
        let absent = Access { kubeconfig: Some(folder.path().join("none")), ..Access::default() };
        assert!(failure(&absent).contains("none"), "{}", failure(&absent));
    }
}
