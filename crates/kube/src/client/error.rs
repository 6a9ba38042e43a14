//! Why a cluster can't be asked, in words, with what to try next.

use std::error::Error;

use http::StatusCode;
use kube::client::UpgradeConnectionError;
use kube::config::KubeconfigError;

/// Why a cluster can't be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no kubeconfig, or it can't be read.
    #[error("read the kubeconfig: {0}")]
    Kubeconfig(String),
    /// Neither flag nor kubeconfig says which context is meant; the contexts that there are.
    #[error("the kubeconfig has no current context")]
    NoContext(Vec<String>),
    /// The kubeconfig has no such context.
    #[error("no context {name:?} in the kubeconfig, which has {}", list(known))]
    UnknownContext {
        /// What was asked for.
        name: String,
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// The client can't be made of what the kubeconfig says.
    #[error("use the kubeconfig: {0}")]
    Setup(String),
    /// The API server doesn't answer.
    #[error("{what}: the Kubernetes API doesn't answer: {why}")]
    Unreachable {
        /// What was being done.
        what: String,
        /// Why it failed.
        why: String,
    },
    /// The API server doesn't know who asks.
    #[error("{what}: the Kubernetes API doesn't know who asks: {why}")]
    Unauthenticated {
        /// What was being done.
        what: String,
        /// What it said.
        why: String,
    },
    /// Who asks may not do this.
    #[error("{what}: no right to do so: {why}")]
    Forbidden {
        /// What was being done.
        what: String,
        /// What it said.
        why: String,
    },
    /// There is no such object.
    #[error("{what}: {why}")]
    NotFound {
        /// What was being done.
        what: String,
        /// What the API server said.
        why: String,
    },
    /// The API server refused for another reason.
    #[error("{what}: {why}")]
    Refused {
        /// What was being done.
        what: String,
        /// What it said.
        why: String,
    },
    /// No controller runs in Weft's namespace.
    #[error("no Weft controller in the namespace {0}")]
    NoController(String),
    /// The controller's pods aren't ready.
    #[error("the Weft controller in the namespace {namespace} isn't ready: {why}")]
    ControllerNotReady {
        /// Weft's namespace.
        namespace: String,
        /// What the pod says.
        why: String,
    },
}

impl ClientError {
    /// What to try next.
    pub fn hint(&self) -> String {
        match self {
            Self::Kubeconfig(_) => "name one with --kubeconfig FILE or KUBECONFIG".to_owned(),
            Self::NoContext(known) if known.is_empty() => "name another with --kubeconfig FILE".to_owned(),
            Self::NoContext(known) => format!("choose one of {} with --context", list(known)),
            Self::UnknownContext { .. } => "choose one of them with --context".to_owned(),
            Self::Setup(_) => "mend the kubeconfig: kubectl config view".to_owned(),
            Self::Unreachable { .. } => "see whether kubectl reaches it: kubectl version".to_owned(),
            Self::Unauthenticated { .. } => "sign in to the cluster again: kubectl auth whoami".to_owned(),
            Self::Forbidden { .. } => "ask for the right, or act as somebody who has it with --as USER".to_owned(),
            Self::NotFound { .. } => "see what there is with kubectl get, or name another namespace with -n".to_owned(),
            Self::Refused { .. } => "see how the mesh is: weft check".to_owned(),
            Self::NoController(_) => {
                "install it with: weft install | kubectl apply -f -, or say where it is with -L NAMESPACE".to_owned()
            }
            Self::ControllerNotReady { namespace, .. } => {
                format!("see why: weft check, kubectl -n {namespace} describe pods")
            }
        }
    }

    pub(super) fn kubeconfig(error: KubeconfigError) -> Self {
        let text = match &error {
            KubeconfigError::FindPath => "neither KUBECONFIG nor HOME is set".to_owned(),
            KubeconfigError::ReadConfig(cause, path) => format!("{}: {cause}", path.display()),
            // A parser's further lines show the place.
            _ => chain(&error).lines().next().unwrap_or_default().to_owned(),
        };
        Self::Kubeconfig(text)
    }
}

/// What a failed call to the API server means; `what` was being done.
pub fn failed(what: &str, error: &kube::Error) -> ClientError {
    let what = what.to_owned();
    match error {
        kube::Error::Api(status) if status.is_forbidden() => {
            ClientError::Forbidden { what, why: status.message.clone() }
        }
        kube::Error::Api(status) if status.code == 401 => {
            ClientError::Unauthenticated { what, why: status.message.clone() }
        }
        kube::Error::Api(status) if status.is_not_found() => {
            ClientError::NotFound { what, why: status.message.clone() }
        }
        kube::Error::Api(status) => ClientError::Refused { what, why: status.message.clone() },
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(StatusCode::FORBIDDEN)) => {
            ClientError::Forbidden { what, why: "the API server answers 403 Forbidden".to_owned() }
        }
        kube::Error::Auth(error) => ClientError::Unauthenticated { what, why: chain(error) },
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
            ClientError::Unreachable { what, why: innermost(error) }
        }
        _ => ClientError::Refused { what, why: chain(error) },
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// An error and its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The last cause: layers above a refused connection only say that a service failed.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_of_the_api_becomes_one_line_and_a_next_step() {
        let api = |code, reason: &str| {
            let status = Status::failure("pods is forbidden", reason).with_code(code);
            failed("list pods", &kube::Error::Api(Box::new(status)))
        };
        assert_eq!(api(403, "Forbidden").to_string(), "list pods: no right to do so: pods is forbidden");
        assert!(api(403, "Forbidden").hint().contains("--as USER"));
        assert!(matches!(api(401, "Unauthorized"), ClientError::Unauthenticated { .. }));
        assert_eq!(api(500, "InternalError").to_string(), "list pods: pods is forbidden");
        let upgrade = UpgradeConnectionError::ProtocolSwitch(StatusCode::FORBIDDEN);
        let forward = failed("forward to the pod c", &kube::Error::UpgradeConnection(upgrade));
        assert_eq!(
            forward.to_string(),
            "forward to the pod c: no right to do so: the API server answers 403 Forbidden"
        );
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let refused = failed("list pods", &kube::Error::Service(Box::new(refused)));
        assert_eq!(refused.to_string(), "list pods: the Kubernetes API doesn't answer: connection refused");
    }
}
