//! Looks out for pods that should have a proxy and run without one: told by an event once, and
//! counted. What should have one, `inject` says.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1 as api;

use crate::events::Events;
use crate::inject::{Marks, Missing, NamespaceMarks, Unmeshed};
use crate::model::Name;

/// Is told of pods and namespaces as the watches are; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Lookout {
    missing: Arc<Mutex<Missing>>,
    events: Events,
}

impl Lookout {
    /// Nothing is known yet. `control_namespace` is the control plane's own.
    pub(crate) fn new(control_namespace: &str, events: Events) -> Self {
        Self { missing: Arc::new(Mutex::new(Missing::new(control_namespace))), events }
    }

    /// A pod as it is now; `None` when it is gone.
    pub(crate) fn pod(&self, name: &Name, pod: Option<&api::Pod>) {
        let joined = match pod {
            Some(pod) => self.lock().put_pod(pod),
            None => {
                self.lock().remove_pod(&name.namespace, &name.name);
                None
            }
        };
        self.tell(joined);
    }

    /// A namespace as it is now; `None` when it is gone.
    pub(crate) fn namespace(&self, name: &str, namespace: Option<&api::Namespace>) {
        let joined = match namespace {
            Some(namespace) => {
                let marks = NamespaceMarks { name: name.to_owned(), marks: Marks::of(&namespace.metadata) };
                self.lock().put_namespace(marks)
            }
            None => {
                self.lock().remove_namespace(name);
                Vec::new()
            }
        };
        self.tell(joined);
    }

    /// All pods were listed: others are gone.
    pub(crate) fn listed(&self, present: &HashSet<Name>) {
        self.lock().retain_pods(|namespace, name| present.contains(&Name::new(namespace, name)));
    }

    /// How many there are, as Prometheus reads it.
    pub(crate) fn metrics(&self) -> String {
        let count = self.lock().all().len();
        format!(
            "# HELP weft_pods_without_proxy Pods of meshed namespaces that run without a proxy.\n\
             # TYPE weft_pods_without_proxy gauge\n\
             weft_pods_without_proxy {count}\n"
        )
    }

    fn tell(&self, joined: impl IntoIterator<Item = Unmeshed>) {
        for pod in joined {
            tracing::info!(pod = %format!("{}/{}", pod.namespace, pod.name), "it runs without the proxy that it should have");
            // Events are for people who look: with too many waiting, the count tells enough.
            let _dropped = self.events.proxy_missing(&pod);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Missing> {
        // A panic in a pure change is a bug; the others go on with what is there.
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
