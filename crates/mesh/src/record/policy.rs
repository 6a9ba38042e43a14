//! Compiled authorization policies: what Istio's `AuthorizationPolicy` says, resolved so far that
//! deciding needs nothing but the record and the call.
//!
//! In every list: empty means "not restricted". Trust-domain aliases are already expanded.

use std::net::IpAddr;

/// Where something was written, to name it in a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The resource's namespace.
    pub namespace: String,
    /// The resource's name.
    pub name: String,
    /// The file, relative to the folder that was given; empty when it came from an API server.
    pub file: String,
    /// The line of the resource's first key, from 1; 0 when unknown.
    pub line: u32,
}

/// One policy that selects the workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where it stands.
    pub origin: Origin,
    /// What a match means.
    pub action: Action,
    /// Whether the verdict counts.
    pub enforcement: Enforcement,
    /// Alternatives: the policy matches when one of them does. Empty: it never matches, but an
    /// ALLOW policy without rules still counts as one that is there.
    pub rules: Vec<Rule>,
    /// What could not be understood in its source, when something could not. Such a policy was
    /// compiled so that it denies whatever it might have denied.
    pub defect: Option<Defect>,
}

/// What a match of the policy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Admitted, unless something denies.
    Allow,
    /// Denied.
    Deny,
    /// Marked in the access log; never changes the verdict.
    Audit,
}

/// Whether a policy's verdict counts (annotation `istio.io/dry-run`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// It counts.
    Enforced,
    /// It is only reported. A dry-run ALLOW doesn't count as an ALLOW policy that is there.
    DryRun,
}

/// What could not be understood, in the words of the message that the user got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect(pub String);

/// One rule: any of `from`, and any of `to`, and all of `when`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Its place in the source's `rules`, from 0.
    pub index: u32,
    /// Its line in the source's file, from 1; 0 when unknown.
    pub line: u32,
    /// Alternatives of who calls.
    pub from: Vec<Source>,
    /// Alternatives of what is called.
    pub to: Vec<Operation>,
    /// Conditions that must all hold.
    pub when: Vec<Condition>,
}

/// Values of one field and of its `not…` twin: one of `any` (if there are any) must match, and
/// none of `not`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matches<T> {
    /// One of these must match; empty: not restricted.
    pub any: Vec<T>,
    /// None of these may match. A missing attribute matches none, so it passes.
    pub not: Vec<T>,
}

impl<T> Matches<T> {
    /// Whether the field restricts nothing.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.not.is_empty()
    }
}

impl<T> Default for Matches<T> {
    fn default() -> Self {
        Self { any: Vec::new(), not: Vec::new() }
    }
}

/// Who calls; all fields must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// SPIFFE IDs without the scheme.
    pub principals: Matches<Pattern>,
    /// Namespaces out of the caller's certificate.
    pub namespaces: Matches<Pattern>,
    /// Service accounts out of the caller's certificate, whatever its trust domain.
    pub service_accounts: Matches<ServiceAccountRef>,
    /// Trust domains out of the caller's certificate.
    pub trust_domains: Matches<Pattern>,
    /// The peer's address.
    pub ip_blocks: Matches<Cidr>,
    /// The address that `X-Forwarded-For` vouches for, else the peer's.
    pub remote_ip_blocks: Matches<Cidr>,
    /// `issuer/subject` of a verified token.
    pub request_principals: Matches<Claim>,
}

/// A service account in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountRef {
    /// The namespace.
    pub namespace: String,
    /// The account's name.
    pub name: String,
}

/// What is called; all fields must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    /// HTTP authorities, compared without case.
    pub hosts: Matches<Pattern>,
    /// The workload's ports.
    pub ports: Matches<u16>,
    /// HTTP methods.
    pub methods: Matches<Pattern>,
    /// Normalized paths without query.
    pub paths: Matches<PathPattern>,
}

/// One `when` of a rule: an attribute, with values of its own type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `request.headers[NAME]`; the name in lower case.
    Header(String, Matches<Pattern>),
    /// `source.ip`.
    SourceIp(Matches<Cidr>),
    /// `remote.ip`.
    RemoteIp(Matches<Cidr>),
    /// `source.namespace`.
    SourceNamespace(Matches<Pattern>),
    /// `source.serviceAccount`.
    SourceServiceAccount(Matches<ServiceAccountRef>),
    /// `source.trustDomain`.
    SourceTrustDomain(Matches<Pattern>),
    /// `source.principal`.
    SourcePrincipal(Matches<Pattern>),
    /// `destination.ip`.
    DestinationIp(Matches<Cidr>),
    /// `destination.port`.
    DestinationPort(Matches<u16>),
    /// `connection.sni`.
    Sni(Matches<Pattern>),
    /// `request.auth.*`: the claim's path and its values.
    Auth(Vec<String>, Matches<Pattern>),
}

/// How a text is matched (Istio: exact, `prefix*`, `*suffix`, `*`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// The whole text.
    Exact(String),
    /// What it begins with.
    Prefix(String),
    /// What it ends with.
    Suffix(String),
    /// There at all. For a header even when empty; for other attributes only when not empty.
    Present,
}

/// How a path is matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// As a text.
    Text(Pattern),
    /// By a template with `{*}` and `{**}`, in segments as written (istio-semantics, B3).
    Template(String),
}

/// How one half of `issuer/subject` is matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The issuer.
    pub issuer: Pattern,
    /// The subject.
    pub subject: Pattern,
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// A block of the addresses whose first `bits` equal those of `address`; `None` when the
    /// address hasn't that many bits.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let width = if address.is_ipv4() { 32 } else { 128 };
        (bits <= width).then_some(Self { address, bits })
    }

    /// The first address, as it was written.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether `ip` lies in the block. An IPv4 address mapped into IPv6 is read as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                // A block that was written as mapped IPv6 counts its bits from there.
                let bits = if self.address.is_ipv6() { self.bits.saturating_sub(96) } else { self.bits };
                let shift = 32u32.saturating_sub(u32::from(bits));
                (u64::from(a.to_bits()) >> shift) == (u64::from(b.to_bits()) >> shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128u32.saturating_sub(u32::from(self.bits));
                a.to_bits().checked_shr(shift) == b.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}
