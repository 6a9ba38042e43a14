//! The certificate authority of one machine or cluster: root → issuer → leaf.
//!
//! It signs whatever identity it is told to: who may ask for which is the caller's question. It
//! writes no file; [`AuthorityPem`] is what the caller keeps.

mod error;
mod link;
mod signer;

use std::fmt;
use std::iter;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use zeroize::Zeroize;

pub use self::error::AuthorityError;
use self::error::Role;
use self::link::Link;
use self::signer::Signer;
pub(crate) use self::signer::dated_params;
use crate::bearer::Bearer;
use crate::certificate::{self, Certificate};
use crate::credential::LeafKey;
use crate::request::Request;
use crate::tls;
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain};

/// An issuer with its key, and the roots that vouch for it.
///
/// The anchors are a list everywhere, so that a second root can stand beside the first.
pub struct Authority {
    issuer: Signer,
    /// Between the issuer and its root, each signed by the next.
    above: Vec<Link>,
    /// The one of the anchors that vouches for the issuer.
    root: Link,
    anchors: Vec<Link>,
    /// The root's key, where it is here and not in a safer place.
    root_key: Option<Signer>,
    domain: Option<TrustDomain>,
}

impl Authority {
    /// Makes new keys and certificates, all ECDSA P-256.
    ///
    /// # Errors
    /// [`AuthorityError`], when a lifetime reaches beyond what a certificate can say or randomness fails.
    pub fn generate(
        domain: &TrustDomain,
        now: SystemTime,
        lifetimes: AuthorityLifetimes,
    ) -> Result<Self, AuthorityError> {
        let root = Signer::root(domain, now, lifetimes.root)?;
        let issuer = Signer::issuer(&root, domain, now, lifetimes.issuer)?;
        Ok(Self::of(root, issuer))
    }

    /// Takes up an authority that was kept, whatever its age: [`Self::check_dates`] says whether it can sign.
    ///
    /// # Errors
    /// [`AuthorityError`] says which of the four texts can't be used, and why.
    pub fn from_pem(pem: AuthorityPem) -> Result<Self, AuthorityError> {
        let root = Signer::with_key(one(Role::Root, &pem.root_certificate)?, &pem.root_key)?;
        let issuer = Signer::with_key(one(Role::Issuer, &pem.issuer_certificate)?, &pem.issuer_key)?;
        issuer.link().check_signed_by(root.link())?;
        Ok(Self::of(root, issuer))
    }

    /// Whether root and issuer hold at `now`.
    ///
    /// # Errors
    /// [`AuthorityError`] says which of them doesn't.
    pub fn check_dates(&self, now: SystemTime) -> Result<(), AuthorityError> {
        self.root.check_dates(now)?;
        self.issuer.link().check_dates(now)
    }

    /// A new issuer, signed by a root that was kept, and tried out: others may have made the root.
    ///
    /// # Errors
    /// [`AuthorityError`], when the root can't be used, peers would refuse what the issuer signs, or `lifetime` reaches beyond what a certificate can say.
    pub fn issue(
        root_certificate: &str,
        root_key: &str,
        domain: &TrustDomain,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Self, AuthorityError> {
        let root = Signer::with_key(one(Role::Root, root_certificate)?, root_key)?;
        root.link().check_dates(now)?;
        let issuer = Signer::issuer(&root, domain, now, lifetime)?;
        let authority = Self::of(root, issuer);
        authority.try_out(now)?;
        Ok(authority)
    }

    /// Takes up an issuer whose root's key is elsewhere, and checks that it can sign at `now`, and that
    /// one of the anchors vouches for it.
    ///
    /// # Errors
    /// [`AuthorityError`] says which of the three texts can't be used, and why.
    pub fn from_issuer(pem: &IssuerPem, now: SystemTime) -> Result<Self, AuthorityError> {
        let anchors = Link::all(Role::Root, &pem.anchors)?;
        let mut chain = Link::all(Role::Issuer, &pem.certificate)?;
        // A root at the end stands among the anchors, or nobody trusts it.
        if chain.len() > 1 {
            chain.pop_if(|last| last.certificate().subject == last.certificate().issuer);
        }
        chain.iter().try_for_each(|link| link.check_dates(now))?;
        chain.windows(2).try_for_each(|pair| pair[0].check_signed_by(&pair[1]))?;
        let vouches = |top: &Link, anchor: &Link| top.der() == anchor.der() || top.check_signed_by(anchor).is_ok();
        let mut chain = chain.into_iter();
        let no_issuer = || AuthorityError::Pem { role: Role::Issuer.to_string(), found: "none".to_owned() };
        let issuer = chain.next().ok_or_else(no_issuer)?;
        let above: Vec<Link> = chain.collect();
        let top = above.last().unwrap_or(&issuer);
        let root = anchors.iter().find(|anchor| vouches(top, anchor)).ok_or_else(|| top.unsigned())?.clone();
        root.check_dates(now)?;
        let domain = issuer.domain();
        let issuer = Signer::with_key(issuer, &pem.key)?;
        let authority = Self { issuer, above, root, anchors, root_key: None, domain };
        authority.try_out(now)?;
        Ok(authority)
    }

    fn of(root: Signer, issuer: Signer) -> Self {
        let (link, domain) = (root.link().clone(), issuer.link().domain());
        Self { issuer, above: Vec::new(), anchors: vec![link.clone()], root: link, root_key: Some(root), domain }
    }

    /// What must be kept so that [`Authority::from_pem`] makes the same authority again; `None` when
    /// the root's key isn't here.
    pub fn to_pem(&self) -> Option<AuthorityPem> {
        let root_key = self.root_key.as_ref()?.key_pem();
        Some(AuthorityPem {
            root_certificate: self.root.pem().to_owned(),
            root_key,
            issuer_certificate: self.issuer.link().pem().to_owned(),
            issuer_key: self.issuer.key_pem(),
        })
    }

    /// The roots that vouch for what this authority signs, DER.
    pub fn anchors(&self) -> Vec<Vec<u8>> {
        self.anchors.iter().map(|anchor| anchor.der().to_vec()).collect()
    }

    /// What the root says of itself.
    pub fn root(&self) -> &Certificate {
        self.root.certificate()
    }

    /// What the issuer says of itself.
    pub fn issuer(&self) -> &Certificate {
        self.issuer.link().certificate()
    }

    /// As [`Self::sign_for`], for one of whom nothing is told but the identity.
    ///
    /// # Errors
    /// [`AuthorityError`], likewise.
    pub fn sign(
        &self,
        csr_pem: &str,
        id: &SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<SignedLeaf, AuthorityError> {
        self.certify(csr_pem, (id, DistinguishedName::new()), lifetime, now)
    }

    /// Certifies the key of a request as `id`, for `lifetime` or for as long as the issuer itself lives,
    /// and says who bears the certificate.
    ///
    /// The certificate holds from [`CLOCK_SKEW`] before `now`. Of the request only the key counts;
    /// a URI in it must be `id`.
    ///
    /// # Errors
    /// [`AuthorityError`], when the request is refused, `id` is of another trust domain, `lifetime` is
    /// below a second, or the issuer has expired.
    pub fn sign_for(
        &self,
        csr_pem: &str,
        (id, bearer): (&SpiffeId, &Bearer),
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<SignedLeaf, AuthorityError> {
        self.certify(csr_pem, (id, bearer.subject()), lifetime, now)
    }

    fn certify(
        &self,
        csr_pem: &str,
        (id, subject): (&SpiffeId, DistinguishedName),
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<SignedLeaf, AuthorityError> {
        if let Some(domain) = self.domain.as_ref().filter(|domain| domain.as_str() != id.trust_domain()) {
            return Err(AuthorityError::TrustDomain { expected: domain.clone(), found: id.clone() });
        }
        let request = Request::parse(csr_pem, id)?;
        self.chain().try_for_each(|link| link.check_dates(now))?;
        let end = self.chain().map(|link| link.certificate().not_after).min();
        let mut params = signer::dated_params(now, lifetime, end)?;
        params.distinguished_name = subject;
        params.subject_alt_names = vec![signer::uri(id.as_str())?];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.signed_leaf(&params, &request)
    }

    fn signed_leaf(&self, params: &CertificateParams, request: &Request) -> Result<SignedLeaf, AuthorityError> {
        let leaf = self.issuer.sign(params, &request.key)?;
        let above = self.chain().map(|link| link.pem().to_owned());
        let chain_pem = iter::once(certificate::to_pem(&leaf)).chain(above).collect();
        Ok(SignedLeaf { chain_pem, not_after: SystemTime::from(params.not_after) })
    }

    /// Signs a leaf and verifies it as a peer would: constraints that others wrote into certificates
    /// can forbid what their signatures allow.
    fn try_out(&self, now: SystemTime) -> Result<(), AuthorityError> {
        let unaccepted = |error: &dyn fmt::Display| AuthorityError::Unaccepted { found: error.to_string() };
        let domain = self.domain.clone().unwrap_or_default();
        let id = SpiffeId::new(&domain, "weft", "probe").map_err(|error| unaccepted(&error))?;
        let csr = LeafKey::generate().and_then(|key| key.csr_pem(&id)).map_err(|error| unaccepted(&error))?;
        let name = || "weft".to_owned();
        let bearer = Bearer { workload: name(), kind: name(), app: name() };
        let leaf = self.sign_for(&csr, (&id, &bearer), Duration::from_secs(60), now)?;
        let trust = Trust { domain, anchors: self.anchors(), ..Trust::default() };
        tls::accepts(&leaf.chain_pem, &trust, now).map_err(|error| unaccepted(&error))
    }

    /// From the issuer to its root, which may be one.
    fn chain(&self) -> impl Iterator<Item = &Link> {
        let issuer = self.issuer.link();
        let root = Some(&self.root).filter(|root| root.der() != issuer.der());
        iter::once(issuer).chain(&self.above).chain(root)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("root", self.root()).field("issuer", self.issuer()).finish_non_exhaustive()
    }
}

/// How long the certificates of a new authority live. The issuer's never outlives the root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityLifetimes {
    /// The root's life.
    pub root: Duration,
    /// The issuer's life.
    pub issuer: Duration,
}

impl Default for AuthorityLifetimes {
    /// Ten years and one year, of 365 days each.
    fn default() -> Self {
        Self { root: 10 * YEAR, issuer: YEAR }
    }
}

/// An authority as text, to be kept. The keys (PKCS #8) are wiped from memory when this is dropped.
pub struct AuthorityPem {
    /// The root's certificate.
    pub root_certificate: String,
    /// The root's private key: secret.
    pub root_key: String,
    /// The issuer's certificate.
    pub issuer_certificate: String,
    /// The issuer's private key: secret.
    pub issuer_key: String,
}

impl fmt::Debug for AuthorityPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityPem")
            .field("root_certificate", &self.root_certificate)
            .field("issuer_certificate", &self.issuer_certificate)
            .finish_non_exhaustive()
    }
}

impl Drop for AuthorityPem {
    fn drop(&mut self) {
        self.root_key.zeroize();
        self.issuer_key.zeroize();
    }
}

/// An issuer as it is brought: by cert-manager, or by a user whose root's key is in a safe place. The
/// key is wiped from memory when this is dropped.
pub struct IssuerPem {
    /// The issuer's certificate (`tls.crt`), and after it those between it and its root, if any.
    pub certificate: String,
    /// The issuer's private key (`tls.key`): secret.
    pub key: String,
    /// The roots that are trusted, one at least.
    pub anchors: String,
}

impl fmt::Debug for IssuerPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (certificate, anchors) = (&self.certificate, &self.anchors);
        f.debug_struct("IssuerPem").field("certificate", certificate).field("anchors", anchors).finish_non_exhaustive()
    }
}

impl Drop for IssuerPem {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// A certificate as it goes to the workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedLeaf {
    /// Leaf, issuer, root, and what is between them: PEM, one certificate each.
    pub chain_pem: Vec<String>,
    /// The last second at which the leaf holds.
    pub not_after: SystemTime,
}

/// The one certificate of a text.
fn one(role: Role, text: &str) -> Result<Link, AuthorityError> {
    let mut links = Link::all(role, text)?;
    match (links.pop(), links.len()) {
        (Some(link), 0) => Ok(link),
        (_, more) => Err(AuthorityError::Pem { role: role.to_string(), found: format!("{} of them", more + 1) }),
    }
}

/// By how much a certificate's life begins before it is signed, since clocks differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
