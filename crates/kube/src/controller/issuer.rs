//! Puts every issuer in use that can sign. One that can't changes nothing, one that is taken away is made
//! again, and Weft's own is renewed in time: the former goes on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{interval, sleep};
use tracing::{info, warn};
use weft_control::Shared;
use weft_identity::Authority;

use super::health::Health;
use crate::issuer::{Followed, Keeper, Settled, bundle, open};

/// What the issuer is told to.
pub(super) struct Issuers {
    pub(super) keeper: Keeper,
    pub(super) signing: watch::Sender<Option<Arc<Authority>>>,
    pub(super) shared: Shared,
    pub(super) health: Health,
}

impl Issuers {
    /// Follows the issuer until everything ends.
    pub(super) async fn run(self) {
        let ending = self.shared.clone();
        tokio::select! {
            () = self.follow() => {}
            () = ending.ending() => {}
        }
    }

    async fn follow(&self) {
        let mut followed = open(&self.keeper, |why| self.broken(why)).await;
        self.settle(&followed);
        let mut changes = self.keeper.follow(followed.clone());
        let mut pause = MEND_PAUSE;
        let mut looks = interval(RENEWAL_LOOKS);
        loop {
            tokio::select! {
                changed = changes.next() => match changed {
                    Some(changed) => {
                        followed = changed;
                        pause = MEND_PAUSE;
                        looks.reset_after(MEND_PAUSE);
                        self.settle(&followed);
                    }
                    None => return,
                },
                () = sleep(pause), if !followed.absent.is_empty() => {
                    self.mend(&followed).await;
                    pause = LONGEST_PAUSE;
                }
                _ = looks.tick() => self.renew(&followed).await,
            }
        }
    }

    fn settle(&self, followed: &Followed) {
        match self.keeper.settle(&followed.written) {
            Ok(Settled { authority, trust }) => {
                let until = OffsetDateTime::from(authority.issuer().not_after);
                info!(%until, anchors = trust.anchors.len(), "an issuer signs");
                self.shared.with(|mesh| mesh.set_trust(trust));
                self.signing.send_replace(Some(Arc::new(authority)));
                self.health.mended(ISSUER);
            }
            Err(error) => self.broken(error.to_string()),
        }
    }

    /// The anchors are those in force, whatever is written by now.
    async fn mend(&self, followed: &Followed) {
        let Some(authority) = self.signing.borrow().clone() else { return };
        if let Err(error) = self.keeper.mend(&followed.absent, &bundle(authority.anchors())).await {
            self.broken(error.to_string());
        }
    }

    /// What is due can sign for months more: a failure is no reason to call it broken.
    async fn renew(&self, followed: &Followed) {
        if let Err(error) = self.keeper.renew(&followed.written).await {
            warn!(%error, "the issuer is due and couldn't be renewed: it is tried again within the hour");
        }
    }

    fn broken(&self, reason: String) {
        if self.health.broken(ISSUER, reason.clone()) {
            warn!(reason, "the issuer can't sign: a former one goes on, if there is one");
        }
    }
}

/// What is wrong with the issuer is told under this name.
const ISSUER: &str = "issuer";
/// What was deleted may be on its way to be written anew (`kubectl replace --force`, cert-manager).
const MEND_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often it is looked whether the issuer is due: a third of its life is left then, months of Weft's own.
const RENEWAL_LOOKS: Duration = Duration::from_secs(60 * 60);
