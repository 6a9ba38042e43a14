//! What a caller asks for: data only.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use weft_wire::bootstrap::Redirection;

use crate::error::CaptureError;
use crate::resolv::ResolvConf;
use crate::signals::InheritedSignals;
use crate::user::RunAs;

/// A workload on this machine, as its launcher wants it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The workload's own addresses: exactly one of IPv4, then at most one of IPv6.
    pub addresses: Vec<IpAddr>,
    /// The name servers that its programs ask; whatever these addresses are, the proxy answers.
    pub nameservers: Vec<IpAddr>,
    /// Suffixes that are tried before the host's.
    pub search: Vec<String>,
    /// The host's own `/etc/resolv.conf`: its options and suffixes stay in force.
    pub host_resolv: ResolvConf,
    /// Folders that its programs must not see into; those that don't exist are passed over.
    pub hide: Vec<PathBuf>,
    /// TCP ports of its loopback that lead to the proxy: they are another's.
    pub forward: Vec<u16>,
    /// How connections reach the proxy; `None` finds out what the kernel can, TPROXY first.
    pub redirection: Option<Redirection>,
    /// What runs.
    pub program: Program,
}

/// A program. Environment, working folder and open files are the launcher's as they are.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name, looked up along `PATH` as a shell would, and its arguments.
    pub argv: Vec<OsString>,
    /// Another user than the launcher's.
    pub user: Option<RunAs>,
    /// The signals that the launcher had been given, before it changed any.
    pub signals: InheritedSignals,
}

impl Plan {
    /// Whether the plan can be followed at all.
    pub(crate) fn check(&self) -> Result<(), CaptureError> {
        if self.program.argv.is_empty() {
            return Err(CaptureError::NoProgram);
        }
        match self.addresses.as_slice() {
            [IpAddr::V4(_)] | [IpAddr::V4(_), IpAddr::V6(_)] => Ok(()),
            other => Err(CaptureError::Addresses(other.to_vec())),
        }
    }
}
