//! Whether the control plane can serve, and what is wrong with it: for readiness, `weft check` and the
//! log. What broke after it began to serve is told and doesn't take readiness away, since a controller
//! that isn't ready is one that no proxy reaches.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use weft_resources::{Problem, Severity};

/// The state of the control plane itself; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: watch::Sender<Stage>,
    /// By what it concerns.
    troubles: watch::Sender<BTreeMap<String, String>>,
}

/// How far its start has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// These haven't been listed yet.
    Listing(String),
    Listed,
    /// The mesh can be served; the webhooks not yet.
    Signing,
    Serving,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Listing("the cluster".to_owned())
    }
}

impl Health {
    /// What hasn't been listed yet; nothing means that all has been once.
    pub(crate) fn unlisted(&self, what: Option<String>) {
        self.0.stage.send_if_modified(|stage| {
            let next = match (&stage, what) {
                (Stage::Listing(_), Some(what)) => Stage::Listing(what),
                (Stage::Listing(_), None) => Stage::Listed,
                (Stage::Listed | Stage::Signing | Stage::Serving, _) => return false,
            };
            *stage = next;
            true
        });
    }

    /// Waits until everything has been listed once.
    pub(crate) async fn listed(&self) {
        // The sender lives in `self`: it can't be gone.
        let _ = self.0.stage.subscribe().wait_for(|stage| !matches!(stage, Stage::Listing(_))).await;
    }

    /// An issuer can sign.
    pub(crate) fn signs(&self) {
        self.0.stage.send_replace(Stage::Signing);
    }

    /// It serves from now on.
    pub(crate) fn serves(&self) {
        self.0.stage.send_replace(Stage::Serving);
    }

    /// Something doesn't work, whatever worked before; whether that is news.
    pub(crate) fn broken(&self, what: &str, reason: String) -> bool {
        self.0.troubles.send_if_modified(|troubles| {
            let is_news = troubles.get(what) != Some(&reason);
            troubles.insert(what.to_owned(), reason);
            is_news
        })
    }

    /// It works; whether that is news.
    pub(crate) fn mended(&self, what: &str) -> bool {
        self.0.troubles.send_if_modified(|troubles| troubles.remove(what).is_some())
    }

    /// Tells of news from now on.
    pub(crate) fn news(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.0.troubles.subscribe()
    }

    /// Whether proxies can be served.
    ///
    /// # Errors
    /// What it waits for, and what is in the way.
    pub(crate) fn ready(&self) -> Result<(), String> {
        let waits_for = match &*self.0.stage.borrow() {
            Stage::Serving => return Ok(()),
            Stage::Listing(what) => format!("{what} to be listed"),
            Stage::Listed => "an issuer that can sign".to_owned(),
            Stage::Signing => "the webhooks' certificate".to_owned(),
        };
        let troubles = self.0.troubles.borrow();
        let lines: Vec<String> = troubles.iter().map(|(what, reason)| format!("{what}: {reason}\n")).collect();
        Err(format!("not ready: waits for {waits_for}\n{}", lines.concat()))
    }

    /// What is wrong, beside the problems of policies.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let problem = |(what, reason): (&String, &String)| Problem {
            severity: Severity::Error,
            file: what.clone(),
            line: 0,
            column: 0,
            field: None,
            resource: None,
            message: reason.clone(),
        };
        self.0.troubles.borrow().iter().map(problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_once_it_serves_and_stays_so() {
        let health = Health::default();
        assert_eq!(health.ready().unwrap_err(), "not ready: waits for the cluster to be listed\n");
        health.unlisted(Some("Pods".into()));
        assert!(health.broken("Pods", "no right".into()) && !health.broken("Pods", "no right".into()));
        assert_eq!(health.ready().unwrap_err(), "not ready: waits for Pods to be listed\nPods: no right\n");
        assert!(health.mended("Pods") && !health.mended("Pods"));
        health.unlisted(None);
        assert!(health.ready().unwrap_err().contains("an issuer"));
        health.signs();
        assert!(health.ready().unwrap_err().contains("webhooks"));
        health.serves();
        health.unlisted(Some("Pods".into()));
        health.broken("Pods", "no right".into());
        assert_eq!(health.ready(), Ok(()));
        assert_eq!(health.problems()[0].to_string(), "Pods: no right");
    }
}
