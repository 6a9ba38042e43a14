//! Makes the issuer where there is none, follows it, and renews Weft's own: the edge. What others wrote is never
//! replaced, and no root is made where another is trusted; of two controllers that write one at once, both
//! take what was written first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, select};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::time::sleep;
use tracing::info;
use weft_identity::{Authority, AuthorityLifetimes, AuthorityPem};
use weft_mesh::TrustDomain;
use zeroize::Zeroizing;

use super::renewal::{is_due, is_signed_by};
use super::{IssuerError, IssuerSecret, Settled, Written, holds, settle};
use crate::client::failed;
use crate::names::{ANCHORS_CONFIG, ISSUER_SECRET, MANAGED_BY, MANAGER, ROOT_SECRET};
use crate::watch::patient;

/// Where the issuer is kept.
#[derive(Clone)]
pub(crate) struct Keeper {
    secrets: Api<Secret>,
    configs: Api<ConfigMap>,
    domain: TrustDomain,
}

/// What is written, and which of it was taken away since.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) written: Written,
    /// The names of objects that were there and aren't.
    pub(crate) absent: BTreeSet<&'static str>,
}

/// Reads what is written, and makes what is absent. It tries until the API server lets it; `broken` is told
/// why it doesn't.
pub(crate) async fn open(keeper: &Keeper, broken: impl Fn(String)) -> Followed {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match keeper.ensure().await {
            Ok(written) => return Followed { written, absent: BTreeSet::new() },
            Err(error) => broken(error.to_string()),
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Why the issuer couldn't be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("{}", failed("read or write it", .0))]
    Api(#[from] kube::Error),
    #[error("{0}")]
    Authority(#[from] weft_identity::AuthorityError),
    #[error("the Secret {ROOT_SECRET}: expected ca.crt and ca.key, found only a part of them")]
    Root,
    /// Nobody would trust what another root signs.
    #[error(
        "the Secret {ISSUER_SECRET} is gone, and {0}, so that no other can be made: bring it back; or, to begin anew, \
         delete the ConfigMap {ANCHORS_CONFIG}, start the controller again and then every pod of the mesh"
    )]
    Lost(&'static str),
    #[error("expected to read what another controller wrote, found that it goes on changing")]
    Unsettled,
}

impl Keeper {
    /// A keeper in Weft's namespace.
    pub(crate) fn new(client: Client, namespace: &str, domain: TrustDomain) -> Self {
        let (secrets, configs) = (Api::namespaced(client.clone(), namespace), Api::namespaced(client, namespace));
        Self { secrets, configs, domain }
    }

    /// What is written comes to this, by now.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub(crate) fn settle(&self, written: &Written) -> Result<Settled, IssuerError> {
        settle(written, &self.domain, SystemTime::now())
    }

    /// Every change of what is written, for ever.
    pub(crate) fn follow(&self, first: Followed) -> BoxStream<'static, Followed> {
        let (secrets, configs) = (self.secrets.clone(), self.configs.clone());
        let issuer = move || watcher::watch_object(secrets.clone(), ISSUER_SECRET);
        let anchors = move || watcher::watch_object(configs.clone(), ANCHORS_CONFIG);
        let issuer = patient(ISSUER_SECRET, issuer, |_| false).map(Part::Issuer);
        let anchors = patient(ANCHORS_CONFIG, anchors, |_| false).map(Part::Anchors);
        let mut followed = first;
        let news = select(issuer, anchors).filter_map(move |part| {
            let before = followed.clone();
            followed.take(part);
            std::future::ready((followed != before).then(|| followed.clone()))
        });
        news.boxed()
    }

    /// Makes again what was taken away: an issuer under the same root, and never another root. `bundle`
    /// are the anchors in force, PEM.
    ///
    /// # Errors
    /// [`KeepError`]; of [`KeepError::Lost`] only people can help.
    pub(crate) async fn mend(&self, absent: &BTreeSet<&'static str>, bundle: &str) -> Result<(), KeepError> {
        if absent.contains(ANCHORS_CONFIG) {
            self.make_anchors(bundle.to_owned()).await?;
        }
        if absent.contains(ISSUER_SECRET) {
            self.make_issuer(Some(bundle)).await?;
        }
        Ok(())
    }

    async fn ensure(&self) -> Result<Written, KeepError> {
        for _ in 0..MAX_RACES {
            let anchors = self.configs.get_opt(ANCHORS_CONFIG).await?.map(|config| anchors_of(&config));
            let issuer = match self.secrets.get_opt(ISSUER_SECRET).await? {
                Some(secret) => secret,
                None => match self
                    .make_issuer(anchors.iter().flatten().map(String::as_str).find(|text| !text.trim().is_empty()))
                    .await?
                {
                    Some(secret) => secret,
                    // Another one was quicker.
                    None => continue,
                },
            };
            let issuer = IssuerSecret::read(&bytes(&issuer));
            let root = issuer.as_ref().map(|issuer| issuer.root.clone()).ok().filter(|root| !root.is_empty());
            let anchors = match (anchors, root) {
                (Some(anchors), _) => anchors,
                (None, None) => None,
                (None, Some(root)) => match self.make_anchors(root).await? {
                    Some(config) => anchors_of(&config),
                    None => continue,
                },
            };
            return Ok(Written { issuer, anchors });
        }
        Err(KeepError::Unsettled)
    }

    /// A new issuer under the root that is kept, or under a new one where nobody trusts any yet; `None` when
    /// somebody else wrote one meanwhile. `trusted` are the anchors, PEM.
    async fn make_issuer(&self, trusted: Option<&str>) -> Result<Option<Secret>, KeepError> {
        let pem = match (self.root().await?, trusted) {
            (Some(root), Some(bundle)) if !holds(bundle, &root.certificate) => {
                return Err(KeepError::Lost("the Secret weft-root is none of the roots that the mesh trusts"));
            }
            (Some(root), _) => self.issue(&root)?,
            (None, Some(_)) => return Err(KeepError::Lost("there is no Secret weft-root")),
            (None, None) => match self.make_root(SystemTime::now()).await? {
                Some(pem) => pem,
                None => return Ok(None),
            },
        };
        self.write_issuer(&pem).await
    }

    /// Replaces an issuer that is due by a new one under the same root, if that root's key is here and the
    /// issuer is its own; any other is renewed by whoever made it. Nothing is asked before `known` is due.
    ///
    /// # Errors
    /// [`KeepError`]: the former issuer stays.
    pub(crate) async fn renew(&self, known: &Written) -> Result<(), KeepError> {
        let is_due = |issuer: &IssuerSecret| is_due(issuer, SystemTime::now());
        if !known.issuer.as_ref().is_ok_and(is_due) {
            return Ok(());
        }
        let Some(mut secret) = self.secrets.get_opt(ISSUER_SECRET).await? else { return Ok(()) };
        let Ok(issuer) = IssuerSecret::read(&bytes(&secret)) else { return Ok(()) };
        if !is_due(&issuer) {
            return Ok(());
        }
        let Some(root) = self.root().await?.filter(|root| is_signed_by(&issuer, &root.certificate)) else {
            return Ok(());
        };
        secret.data = Some(issuer_data(&self.issue(&root)?));
        // With the version that was read: whoever wrote meanwhile wins.
        match self.secrets.replace(ISSUER_SECRET, &PostParams::default(), &secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            other => other?,
        };
        info!(secret = ISSUER_SECRET, "renewed the issuer, under the same root");
        Ok(())
    }

    /// The root of Weft's own, if its key is here.
    async fn root(&self) -> Result<Option<Root>, KeepError> {
        let Some(secret) = self.secrets.get_opt(ROOT_SECRET).await? else { return Ok(None) };
        let data = bytes(&secret);
        let text = |key: &str| String::from_utf8(data.get(key)?.clone()).ok();
        let (certificate, key) = text("ca.crt").zip(text("ca.key")).ok_or(KeepError::Root)?;
        Ok(Some(Root { certificate, key: Zeroizing::new(key) }))
    }

    fn issue(&self, root: &Root) -> Result<AuthorityPem, KeepError> {
        let lifetime = AuthorityLifetimes::default().issuer;
        let made = Authority::issue(&root.certificate, &root.key, &self.domain, SystemTime::now(), lifetime)?;
        made.to_pem().ok_or(KeepError::Root)
    }

    async fn make_root(&self, now: SystemTime) -> Result<Option<AuthorityPem>, KeepError> {
        let made = Authority::generate(&self.domain, now, AuthorityLifetimes::default())?;
        let pem = made.to_pem().ok_or(KeepError::Root)?;
        let data = entries([("ca.crt", &pem.root_certificate), ("ca.key", &pem.root_key)]);
        if create(&self.secrets, &secret(ROOT_SECRET, "Opaque", data)).await?.is_none() {
            return Ok(None);
        }
        info!(secret = ROOT_SECRET, "made a root of the mesh's own");
        Ok(Some(pem))
    }

    async fn write_issuer(&self, pem: &AuthorityPem) -> Result<Option<Secret>, KeepError> {
        let made = create(&self.secrets, &secret(ISSUER_SECRET, "kubernetes.io/tls", issuer_data(pem))).await?;
        if made.is_some() {
            info!(secret = ISSUER_SECRET, "made an issuer");
        }
        Ok(made)
    }

    async fn make_anchors(&self, root: String) -> Result<Option<ConfigMap>, KeepError> {
        let data = [("ca.crt".to_owned(), root)].into();
        let config = ConfigMap { metadata: meta(ANCHORS_CONFIG), data: Some(data), ..ConfigMap::default() };
        Ok(create(&self.configs, &config).await?)
    }
}

/// A root with its key: secret.
struct Root {
    certificate: String,
    key: Zeroizing<String>,
}

/// One of the two that are followed; `None` is one that was deleted.
enum Part {
    Issuer(Option<Secret>),
    Anchors(Option<ConfigMap>),
}

impl Followed {
    fn take(&mut self, part: Part) {
        let (name, is_there) = match part {
            Part::Issuer(found) => {
                let read = found.as_ref().map(|secret| IssuerSecret::read(&bytes(secret)));
                self.written.issuer = read.unwrap_or(Err(IssuerError::Absent));
                (ISSUER_SECRET, found.is_some())
            }
            // What was trusted is trusted until somebody says otherwise.
            Part::Anchors(None) => (ANCHORS_CONFIG, false),
            Part::Anchors(Some(config)) => {
                self.written.anchors = anchors_of(&config);
                (ANCHORS_CONFIG, true)
            }
        };
        match is_there {
            true => self.absent.remove(name),
            false => self.absent.insert(name),
        };
    }
}

/// Creates an object; `None` when one of its name is there already.
async fn create<K>(api: &Api<K>, object: &K) -> Result<Option<K>, kube::Error>
where
    K: serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    match api.create(&PostParams::default(), object).await {
        Ok(made) => Ok(Some(made)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

fn issuer_data(pem: &AuthorityPem) -> BTreeMap<String, ByteString> {
    entries([("tls.crt", &pem.issuer_certificate), ("tls.key", &pem.issuer_key), ("ca.crt", &pem.root_certificate)])
}

fn entries<const N: usize>(texts: [(&str, &String); N]) -> BTreeMap<String, ByteString> {
    texts.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec()))).collect()
}

fn secret(name: &str, kind: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret { metadata: meta(name), type_: Some(kind.to_owned()), data: Some(data), ..Secret::default() }
}

fn meta(name: &str) -> ObjectMeta {
    let labels = [(MANAGED_BY.to_owned(), MANAGER.to_owned())].into();
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() }
}

fn bytes(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect()
}

fn anchors_of(config: &ConfigMap) -> Option<String> {
    config.data.as_ref()?.get("ca.crt").cloned()
}

/// Each time somebody else wrote, which happens once or twice.
const MAX_RACES: usize = 5;
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
