//! What can go wrong, where, and what a user can do about it. The hints are a pure function of the
//! failure and of the host's settings.

use std::fmt;
use std::fs;
use std::net::IpAddr;

use nix::errno::Errno;

/// Why a program can't be captured or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The caller has more than one thread; only a process of one may fork and go on.
    #[error("expected a process of one thread, found {0}")]
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

impl CaptureError {
    /// What a user can do about it, when something is known; one sentence.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed(failure) => failure.hint(),
            _ => None,
        }
    }
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

    /// What a user can do about it, when something is known; one sentence. Reads the host's settings.
    pub fn hint(&self) -> Option<String> {
        hint(self, &Settings::of_this_host())
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

/// The host's settings that decide what a user may do. `None`: this kernel has no such setting.
#[derive(Debug, Clone, Copy, Default)]
struct Settings {
    unprivileged_userns_clone: Option<u64>,
    max_user_namespaces: Option<u64>,
    apparmor_restrict: Option<u64>,
    seccomp: bool,
}

impl Settings {
    fn of_this_host() -> Self {
        let number = |path| fs::read_to_string(path).ok().and_then(|text: String| text.trim().parse().ok());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            apparmor_restrict: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            seccomp: status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')),
        }
    }
}

fn hint(failure: &Failure, host: &Settings) -> Option<String> {
    let missing = matches!(Errno::from_raw(failure.errno), Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT);
    match failure.step {
        Step::Rules if missing => Some(
            "the kernel lacks a part of nftables: as root, `modprobe -a nf_tables nft_tproxy nft_redir nft_reject_inet`, \
             or a kernel with CONFIG_NF_TABLES_INET, CONFIG_NFT_TPROXY (or CONFIG_NFT_REDIR) and CONFIG_NFT_REJECT"
                .into(),
        ),
        Step::Proc | Step::PidNamespace => Some(
            "parts of /proc are covered, as in a container: start that container with \
             `--security-opt systempaths=unconfined`"
                .into(),
        ),
        Step::Fork => Some("raise the limit of processes: `ulimit -u`, or TasksMax of the user's slice".into()),
        _ => namespaces_hint(failure, host),
    }
}

/// Who forbids namespaces: the kernel's settings, AppArmor (which may let `unshare` succeed and refuse what
/// follows) or a container.
fn namespaces_hint(failure: &Failure, host: &Settings) -> Option<String> {
    let hint = match Errno::from_raw(failure.errno) {
        Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS if host.max_user_namespaces == Some(0) => {
            "user namespaces are off: as root, `sysctl -w user.max_user_namespaces=15000`"
        }
        Errno::EPERM | Errno::EACCES if host.unprivileged_userns_clone == Some(0) => {
            "user namespaces are off for users: as root, `sysctl -w kernel.unprivileged_userns_clone=1`"
        }
        Errno::EPERM | Errno::EACCES if host.apparmor_restrict == Some(1) => {
            "AppArmor restricts user namespaces: as root, `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, \
             or give weft a profile with the rule `userns,`"
        }
        Errno::EPERM | Errno::EACCES if host.seccomp => {
            "a seccomp filter forbids it, as in a container: start that container with \
             `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined`"
        }
        Errno::ENOSPC => "too many namespaces: as root, raise user.max_user_namespaces and user.max_net_namespaces",
        Errno::EINVAL | Errno::ENOSYS if failure.step == Step::UserNamespace => {
            "the kernel was built without user namespaces (CONFIG_USER_NS): run weft as root"
        }
        _ => return None,
    };
    Some(hint.into())
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

    #[test]
    fn the_hint_names_the_setting_that_forbids() {
        let check = |step, errno, host: Settings, word: &str| {
            let text = hint(&Failure::new(step, errno, ""), &host).unwrap_or_default();
            assert!(text.contains(word), "expected {word}, found {text:?}");
        };
        let off = Settings { max_user_namespaces: Some(0), ..Settings::default() };
        check(Step::UserNamespace, Errno::ENOSPC, off, "user.max_user_namespaces=");
        let debian = Settings { unprivileged_userns_clone: Some(0), ..Settings::default() };
        check(Step::UserNamespace, Errno::EPERM, debian, "kernel.unprivileged_userns_clone=1");
        let ubuntu = Settings { apparmor_restrict: Some(1), ..Settings::default() };
        check(Step::MapIds, Errno::EPERM, ubuntu, "apparmor_restrict_unprivileged_userns=0");
        check(Step::Network, Errno::EPERM, ubuntu, "apparmor_restrict_unprivileged_userns=0");
        let container = Settings { seccomp: true, ..Settings::default() };
        check(Step::UserNamespace, Errno::EPERM, container, "seccomp=unconfined");
        check(Step::Rules, Errno::ENOENT, Settings::default(), "nft_tproxy");
        check(Step::UserNamespace, Errno::EINVAL, Settings::default(), "CONFIG_USER_NS");
        assert_eq!(hint(&Failure::new(Step::Network, Errno::EPERM, ""), &Settings::default()), None);
    }
}
