//! The policies of a folder, asked for a workload that need not run.

use std::path::Path;

use weft_compile::{PolicySet, Proxy, Settings, Workload};
use weft_control::Manifests;
use weft_mesh::record::Inbound;
use weft_mesh::{SpiffeId, TrustDomain, WorkloadId};
use weft_resources::{Problem, Severity};

use crate::args::{Target, UNNAMED};
use crate::failure::{Context, Failure};

/// The policies of a folder.
pub(super) struct Policies {
    set: PolicySet,
    domain: TrustDomain,
    /// The folder's own programs.
    programs: Vec<weft_resources::Workload>,
    /// What is wrong with the folder's files, a line each.
    pub(super) problems: Vec<String>,
}

impl Policies {
    /// Reads and compiles the manifests below `root`, save the file `except`.
    ///
    /// # Errors
    /// When there is no such folder. A broken file is among the problems, and denies what it might
    /// have denied; so does one that can't be read.
    pub(super) fn read(root: &Path, except: Option<&Path>, domain: &TrustDomain) -> Result<Self, Failure> {
        let found = Manifests::read(root, except).context(format!("folder {}", root.display()))?;
        let settings = Settings { trust_domain: domain.clone(), ..Settings::default() };
        let (set, more) = PolicySet::new(&settings, &found.resources);
        // Notes about what Weft doesn't use would hide what matters here.
        let matters = |problem: &&Problem| problem.severity > Severity::Info;
        let problems = found.problems.iter().chain(&more).filter(matters).map(ToString::to_string).collect();
        Ok(Self { set, domain: domain.clone(), programs: found.workloads, problems })
    }

    /// The inbound record that the target would have. A name is first of all that of a program of the folder, whose
    /// labels and account it has then. Its ports are undeclared.
    ///
    /// # Errors
    /// When the target's names are none.
    pub(super) fn inbound_of(&self, target: &Target) -> Result<Inbound, Failure> {
        let named = target.name().filter(|_| target.labels.len() == 1);
        let is_it = |program: &&weft_resources::Workload| {
            program.namespace == target.namespace && Some(program.name.as_str()) == named
        };
        let Some(program) = self.programs.iter().find(is_it) else { return self.inbound(target) };
        let mut labels = program.labels.clone();
        labels.entry(Target::NAME_LABEL.to_owned()).or_insert_with(|| program.name.clone());
        let account = program.service_account.as_ref().unwrap_or(&program.name);
        self.record(&Target { labels, ..target.clone() }, &program.name, account)
    }

    /// The inbound record that whatever has the target's labels would have. Its ports are undeclared.
    ///
    /// # Errors
    /// When the target's names are none.
    pub(super) fn inbound(&self, target: &Target) -> Result<Inbound, Failure> {
        let name = target.name().unwrap_or_default();
        let account = if WorkloadId::new(&target.namespace, name).is_ok() { name } else { UNNAMED };
        self.record(target, name, account)
    }

    /// The record of a service's workload with this account.
    fn record(&self, target: &Target, service: &str, account: &str) -> Result<Inbound, Failure> {
        let wrong = || format!("workload {target}");
        let id = |name: &str| WorkloadId::new(&target.namespace, name);
        let workload = Workload {
            id: id(Some(service).filter(|name| id(name).is_ok()).unwrap_or(UNNAMED)).context(wrong())?,
            identity: SpiffeId::new(&self.domain, &target.namespace, account).context(wrong())?,
            service: service.to_owned(),
            labels: target.labels.clone(),
            addresses: Vec::new(),
            proxy: Proxy::Starting,
            ports: Vec::new(),
            default_inbound: None,
            owner: None,
            node: None,
        };
        Ok(weft_compile::inbound(&self.set, &workload, &[]))
    }
}
