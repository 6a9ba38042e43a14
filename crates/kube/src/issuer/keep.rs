//! Makes the issuer where there is none, and follows it: the edge. What is there is never replaced;
//! of two controllers that make one at once, both take what was written first.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::stream::{BoxStream, select};
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::time::sleep;
use tracing::{info, warn};
use weft_identity::{Authority, AuthorityLifetimes, AuthorityPem};
use weft_mesh::TrustDomain;

use super::{IssuerError, IssuerSecret, Settled, Written, settle};
use crate::client::failed;
use crate::names::{ANCHORS_CONFIG, ISSUER_SECRET, MANAGED_BY, MANAGER, ROOT_SECRET};

/// Where the issuer is kept.
#[derive(Clone)]
pub(crate) struct Keeper {
    secrets: Api<Secret>,
    configs: Api<ConfigMap>,
    domain: TrustDomain,
}

/// Reads what is written, and makes what is absent. It tries until the API server lets it.
pub(crate) async fn open(keeper: &Keeper) -> Written {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match keeper.ensure().await {
            Ok(written) => return written,
            Err(error) => warn!(%error, "the issuer can't be read or made yet"),
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Why the issuer couldn't be kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("{}", failed("read or write it", .0))]
    Api(#[from] kube::Error),
    #[error("{0}")]
    Authority(#[from] weft_identity::AuthorityError),
    #[error("the Secret {ROOT_SECRET}: expected ca.crt and ca.key, found only a part of them")]
    Root,
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

    /// Every change of what is written, for ever. A Secret that is deleted changes nothing: it may be
    /// on its way to be written anew.
    pub(crate) fn follow(&self, first: Written) -> BoxStream<'static, Written> {
        let issuer = applied(self.secrets.clone(), ISSUER_SECRET).map(Part::Issuer);
        let anchors = applied(self.configs.clone(), ANCHORS_CONFIG).map(Part::Anchors);
        let fold = |written: &mut Written, part: Part| {
            let before = written.clone();
            match part {
                Part::Issuer(secret) => match IssuerSecret::read(&bytes(&secret)) {
                    Ok(issuer) => written.issuer = Some(issuer),
                    Err(error) => warn!(%error, "the issuer has changed and can't be read: the former one goes on"),
                },
                Part::Anchors(config) => written.anchors = anchors_of(&config),
            }
            (*written != before).then(|| written.clone())
        };
        let mut written = first;
        select(issuer, anchors).filter_map(move |part| std::future::ready(fold(&mut written, part))).boxed()
    }

    async fn ensure(&self) -> Result<Written, KeepError> {
        for _ in 0..MAX_RACES {
            let issuer = match self.secrets.get_opt(ISSUER_SECRET).await? {
                Some(secret) => secret,
                None => match self.make_issuer().await? {
                    Some(secret) => secret,
                    // Another one was quicker.
                    None => continue,
                },
            };
            let issuer = IssuerSecret::read(&bytes(&issuer)).inspect_err(|error| warn!(%error, "the issuer is broken"));
            let issuer = issuer.ok();
            let root = issuer.as_ref().map(|issuer| issuer.root.clone()).filter(|root| !root.is_empty());
            let anchors = match (self.configs.get_opt(ANCHORS_CONFIG).await?, root) {
                (Some(config), _) => anchors_of(&config),
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

    /// A new issuer under the root that is kept, or under a new one; `None` when somebody else wrote
    /// one meanwhile.
    async fn make_issuer(&self) -> Result<Option<Secret>, KeepError> {
        let now = SystemTime::now();
        let lifetimes = AuthorityLifetimes::default();
        let pem = match self.secrets.get_opt(ROOT_SECRET).await? {
            Some(secret) => {
                let data = bytes(&secret);
                let text = |key: &str| String::from_utf8(data.get(key)?.clone()).ok();
                let (certificate, key) = text("ca.crt").zip(text("ca.key")).ok_or(KeepError::Root)?;
                Authority::issue(&certificate, &key, &self.domain, now, lifetimes.issuer)?
                    .to_pem()
                    .ok_or(KeepError::Root)?
            }
            None => {
                let pem = Authority::generate(&self.domain, now, lifetimes)?.to_pem().ok_or(KeepError::Root)?;
                let data = [("ca.crt", &pem.root_certificate), ("ca.key", &pem.root_key)];
                if create(&self.secrets, &secret(ROOT_SECRET, "Opaque", &data)).await?.is_none() {
                    return Ok(None);
                }
                info!(secret = ROOT_SECRET, "made a root of the mesh's own");
                pem
            }
        };
        self.write_issuer(&pem).await
    }

    async fn write_issuer(&self, pem: &AuthorityPem) -> Result<Option<Secret>, KeepError> {
        let data =
            [("tls.crt", &pem.issuer_certificate), ("tls.key", &pem.issuer_key), ("ca.crt", &pem.root_certificate)];
        let made = create(&self.secrets, &secret(ISSUER_SECRET, "kubernetes.io/tls", &data)).await?;
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

/// One of the two that are followed.
enum Part {
    Issuer(Secret),
    Anchors(ConfigMap),
}

/// Every state of the object of this name, as it comes.
fn applied<K>(api: Api<K>, name: &str) -> BoxStream<'static, K>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let named = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let state = async |event| match event {
        Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => Some(object),
        Ok(watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone) => None,
        Err(error) => {
            warn!(%error, "the issuer's objects can't be followed: what is known of them stands");
            sleep(LONGEST_PAUSE).await;
            None
        }
    };
    watcher(api, named).into_stream().filter_map(state).boxed()
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

fn secret(name: &str, kind: &str, data: &[(&str, &String)]) -> Secret {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()))).collect();
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
