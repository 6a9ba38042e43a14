//! What can go wrong, and where. What a user can do about it `hint` says.

use std::fmt;
use std::net::IpAddr;

use nix::errno::Errno;

/// Why a program can't be captured or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The caller has more than one thread; only a process of one may fork and go on.
    #[error("expected a process of one thread, found {}", threads(*.0))]
    Threads(usize),
    /// There is nothing to run.
    #[error("expected a program to run, found an empty command line")]
    NoProgram,
    /// The workload's addresses are not one of IPv4 and at most one of IPv6.
    #[error("expected an IPv4 address and at most one IPv6 address for the workload, found {0:?}")]
    Addresses(Vec<IpAddr>),
    /// The kernel refused a step; [`Failure::hint`] says what to do.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The program can't be run: not found (ENOENT), not executable (EACCES) or else.
    #[error("cannot run {program}: {}", describe(*errno))]
    Exec {
        /// Its name as it was given.
        program: String,
        /// The kernel's reason.
        errno: i32,
    },
    /// One of the processes between launcher and program was killed.
    #[error("the process that should {0} was killed")]
    Killed(Step),
}

/// How many threads were found; none where nobody can count them.
fn threads(count: usize) -> String {
    if count == 0 { "none: /proc isn't mounted here".to_owned() } else { count.to_string() }
}

/// A step that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {step}: {}{}{detail}", describe(*errno), if detail.is_empty() { "" } else { ": " })]
pub struct Failure {
    /// What was tried.
    pub step: Step,
    /// The kernel's reason, errno(3).
    pub errno: i32,
    /// What exactly, or what else the kernel said; may be empty.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(step: Step, errno: Errno, detail: impl Into<String>) -> Self {
        Self { step, errno: errno as i32, detail: detail.into() }
    }
}

/// The steps towards a running program, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their texts, below, say what they are")]
pub enum Step {
    Fork,
    UserNamespace,
    MapIds,
    NetworkNamespace,
    Network,
    Rules,
    Listeners,
    HandOver,
    PidNamespace,
    MountNamespace,
    Proc,
    ResolvConf,
    HideFolders,
    HideSockets,
    ProtectKernel,
    NetworkSettings,
    Capabilities,
    Supervise,
    Join,
    WorkingFolder,
    User,
}

impl Step {
    const ALL: [(Self, &'static str); 21] = [
        (Self::Fork, "start a process"),
        (Self::UserNamespace, "make a user namespace"),
        (Self::MapIds, "map the user's own id into the user namespace"),
        (Self::NetworkNamespace, "make a network namespace"),
        (Self::Network, "set up addresses and routes"),
        (Self::Rules, "set up packet rules"),
        (Self::Listeners, "listen inside the network namespace"),
        (Self::HandOver, "hand sockets over"),
        (Self::PidNamespace, "make a PID namespace"),
        (Self::MountNamespace, "make a mount namespace"),
        (Self::Proc, "mount a /proc of the workload's own"),
        (Self::ResolvConf, "cover /etc/resolv.conf"),
        (Self::HideFolders, "hide folders"),
        (Self::HideSockets, "hide the host's name service sockets"),
        (Self::ProtectKernel, "protect the kernel's settings and devices"),
        (Self::NetworkSettings, "change the network's settings"),
        (Self::Capabilities, "give up capabilities"),
        (Self::Supervise, "watch over the program"),
        (Self::Join, "enter the workload's namespaces"),
        (Self::WorkingFolder, "go to the working folder inside the workload"),
        (Self::User, "become the user"),
    ];

    /// Its place in the order, for a message.
    pub(crate) fn number(self) -> u8 {
        // The cast is exact: there are fewer than 256.
        Self::ALL.iter().position(|(step, _)| *step == self).unwrap_or(0) as u8
    }

    /// The step at a place in the order.
    pub(crate) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).map(|(step, _)| *step)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL[usize::from(self.number())].1)
    }
}

fn describe(errno: i32) -> &'static str {
    Errno::from_raw(errno).desc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_own_number() {
        for (index, (step, _)) in Step::ALL.iter().enumerate() {
            assert_eq!(usize::from(step.number()), index);
            assert_eq!(Step::numbered(step.number()), Some(*step));
        }
        assert_eq!(Step::numbered(Step::ALL.len() as u8), None);
    }

    #[test]
    fn a_failure_names_step_reason_and_detail() {
        let failure = Failure::new(Step::Rules, Errno::ENOENT, "rule `tcp to the proxy`");
        assert_eq!(
            failure.to_string(),
            "cannot set up packet rules: No such file or directory: rule `tcp to the proxy`"
        );
        let failure = Failure::new(Step::UserNamespace, Errno::EPERM, "");
        assert_eq!(failure.to_string(), "cannot make a user namespace: Operation not permitted");
    }
}
