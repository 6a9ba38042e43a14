//! What a user can do about a step that the kernel refused: a pure function of the failure and of the host's
//! settings, which are read here as well.

use std::fs;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::capability::{self, SETFCAP};
use crate::error::{CaptureError, Failure, Step};

/// The host's settings that decide what a user may do. `None`: this kernel has no such setting.
#[derive(Debug, Clone, Copy, Default)]
struct Settings {
    unprivileged_userns_clone: Option<u64>,
    max_user_namespaces: Option<u64>,
    apparmor_restrict: Option<u64>,
    /// A filter of system calls is in force.
    seccomp: bool,
    /// So is an AppArmor profile.
    profile: bool,
    /// This is user 0, without the capability to map itself into a user namespace.
    rootlike: bool,
}

impl Settings {
    fn of_this_host() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let number = |path| text(path).trim().parse().ok();
        let seccomp = |line: &str| line.starts_with("Seccomp:") && line.ends_with('2');
        Self {
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            apparmor_restrict: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            seccomp: text("/proc/self/status").lines().any(seccomp),
            profile: text("/proc/self/attr/apparmor/current").trim().ends_with("(enforce)"),
            rootlike: geteuid().is_root() && capability::effective() & SETFCAP == 0,
        }
    }
}

impl CaptureError {
    /// What a user can do about it, when something is known; one sentence.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed(failure) => failure.hint(),
            Self::Threads(0) => Some("as root, `mount -t proc proc /proc`".to_owned()),
            _ => None,
        }
    }
}

impl Failure {
    /// Likewise. Reads the host's settings.
    pub fn hint(&self) -> Option<String> {
        hint(self, &Settings::of_this_host())
    }
}

/// What to do, one sentence.
fn hint(failure: &Failure, host: &Settings) -> Option<String> {
    let errno = Errno::from_raw(failure.errno);
    let limit = limit_of(failure.step).filter(|_| matches!(errno, Errno::ENOSPC | Errno::EUSERS));
    match (failure.step, errno) {
        (_, Errno::EMFILE) => Some("raise the limit of open files: `ulimit -n 1024`".into()),
        (Step::Rules, Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT) => Some(NFTABLES.into()),
        (Step::Fork, _) => Some("raise the limit of processes: `ulimit -u`, or TasksMax of the user's slice".into()),
        (Step::Proc, _) => Some(COVERED_PROC.into()),
        (Step::UserNamespace, Errno::EINVAL | Errno::ENOSYS) => {
            Some("the kernel was built without user namespaces (CONFIG_USER_NS): run weft as root".into())
        }
        (Step::MapIds, Errno::EPERM) if host.rootlike => Some(ROOT_WITHOUT_POWER.into()),
        (Step::UserNamespace, Errno::EPERM) => Some(forbidden(errno, host).unwrap_or(CHROOT).into()),
        _ => limit.map(|limit| raised(limit, host)).or_else(|| forbidden(errno, host).map(str::to_owned)),
    }
}

fn raised(limit: &str, host: &Settings) -> String {
    let found = match host.max_user_namespaces {
        Some(0) if limit == "user.max_user_namespaces" => "user namespaces are off",
        _ => "no more namespaces are allowed, here or around this container",
    };
    format!("{found}: as root of the host, `sysctl -w {limit}=15000`")
}

/// The setting that bounds how many namespaces there are of the kind that a step makes.
fn limit_of(step: Step) -> Option<&'static str> {
    match step {
        Step::UserNamespace => Some("user.max_user_namespaces"),
        Step::NetworkNamespace => Some("user.max_net_namespaces"),
        Step::PidNamespace => Some("user.max_pid_namespaces"),
        Step::MountNamespace => Some("user.max_mnt_namespaces"),
        _ => None,
    }
}

/// Who forbids namespaces: the kernel's settings, AppArmor (which may let `unshare` succeed and refuse what
/// follows) or a container.
fn forbidden(errno: Errno, host: &Settings) -> Option<&'static str> {
    if !matches!(errno, Errno::EPERM | Errno::EACCES) {
        return None;
    }
    if host.unprivileged_userns_clone == Some(0) {
        Some("user namespaces are off for users: as root, `sysctl -w kernel.unprivileged_userns_clone=1`")
    } else if host.seccomp {
        Some(CONTAINER)
    } else if host.apparmor_restrict == Some(1) {
        Some(
            "AppArmor restricts user namespaces: as root, `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, \
             or give weft a profile with the rule `userns,`",
        )
    } else if host.profile {
        Some("an AppArmor profile forbids it: start the container with `--security-opt apparmor=unconfined`")
    } else {
        None
    }
}

const NFTABLES: &str = "the kernel lacks a part of nftables: as root, `modprobe -a nf_tables nft_tproxy nft_redir nft_reject_inet`, \
     or a kernel with CONFIG_NF_TABLES_INET, CONFIG_NFT_TPROXY (or CONFIG_NFT_REDIR) and CONFIG_NFT_REJECT";
const COVERED_PROC: &str = "parts of /proc are covered, as in a container: start that container with \
     `--security-opt systempaths=unconfined`, in Kubernetes with `procMount: Unmasked`";
const CONTAINER: &str = "a seccomp filter forbids it, as in a container: start that container with \
     `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined`, \
     in Kubernetes with `seccompProfile: {type: Unconfined}` and `procMount: Unmasked`";
/// The kernel says the same to whoever has entered a folder by chroot(2), and tells nobody that this is why.
const CHROOT: &str = "no setting that Weft knows forbids it, but in a chroot the kernel does: enter that folder by pivot_root instead, as \
     bwrap, systemd-nspawn and container engines do";
const ROOT_WITHOUT_POWER: &str = "root without the capability SETFCAP can't map itself, as in a container that drops it: \
     start that container as another user, `--user 1000`, or with `--cap-add SETFCAP`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_setting_that_forbids() {
        let check = |step, errno, host: Settings, word: &str| {
            let text = hint(&Failure::new(step, errno, ""), &host).unwrap_or_default();
            assert!(text.contains(word), "expected {word}, found {text:?}");
        };
        let none = Settings::default();
        let off = Settings { max_user_namespaces: Some(0), ..none };
        check(
            Step::UserNamespace,
            Errno::ENOSPC,
            off,
            "off: as root of the host, `sysctl -w user.max_user_namespaces=",
        );
        check(Step::NetworkNamespace, Errno::ENOSPC, off, "user.max_net_namespaces=");
        check(Step::PidNamespace, Errno::ENOSPC, none, "user.max_pid_namespaces=");
        check(Step::MountNamespace, Errno::ENOSPC, none, "user.max_mnt_namespaces=");
        let debian = Settings { unprivileged_userns_clone: Some(0), ..none };
        check(Step::UserNamespace, Errno::EPERM, debian, "kernel.unprivileged_userns_clone=1");
        let ubuntu = Settings { apparmor_restrict: Some(1), ..none };
        check(Step::MapIds, Errno::EPERM, ubuntu, "apparmor_restrict_unprivileged_userns=0");
        check(Step::Network, Errno::EPERM, ubuntu, "apparmor_restrict_unprivileged_userns=0");
        // In a container on such a host it is the container that has to be told.
        check(Step::UserNamespace, Errno::EPERM, Settings { seccomp: true, ..ubuntu }, "seccomp=unconfined");
        check(Step::MountNamespace, Errno::EACCES, Settings { profile: true, ..none }, "apparmor=unconfined");
        check(Step::MapIds, Errno::EPERM, Settings { rootlike: true, ..none }, "--cap-add SETFCAP");
        check(Step::Proc, Errno::EPERM, none, "systempaths=unconfined");
        check(Step::Rules, Errno::ENOENT, none, "nft_tproxy");
        check(Step::UserNamespace, Errno::EINVAL, none, "CONFIG_USER_NS");
        check(Step::UserNamespace, Errno::EPERM, none, "in a chroot");
        check(Step::Fork, Errno::EMFILE, none, "ulimit -n");
        assert_eq!(hint(&Failure::new(Step::Network, Errno::EPERM, ""), &none), None);
    }
}
