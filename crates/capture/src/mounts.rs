//! What a program finds under its paths: a `/proc` of its own, our resolv.conf, no folder or socket that it
//! must not see. All mounts are private to it and go with it.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::unistd::{Pid, chdir, geteuid};

use crate::blueprint::{Blueprint, Processes};
use crate::error::{Failure, Step};
use crate::namespace::{self, errno_of};
use crate::scratch::{Scratch, bind};
use crate::sys::NOTHING;
use crate::{resolv, root};

/// Arranges all mounts, and the kernel's settings, which only the namespace's own `/proc` is sure to let be
/// written. Returns what is less than it should be.
pub(crate) fn arrange(blueprint: &Blueprint<'_>) -> Result<Vec<String>, Failure> {
    own_namespace()?;
    if blueprint.processes == Processes::Own {
        own_proc()?;
        count_on_from(blueprint.launcher);
    }
    let notes = change_settings();
    let scratch = Scratch::new()?;
    if let Some(target) = &blueprint.resolv_conf {
        cover_resolv_conf(blueprint, target, &scratch)?;
    }
    hide_sockets(&scratch)?;
    if geteuid().is_root() {
        root::protect(&scratch)?;
    }
    drop(scratch);
    for folder in &blueprint.plan.hide {
        hide(folder)?;
    }
    Ok(notes)
}

/// A mount namespace of which nothing gets out.
pub(crate) fn own_namespace() -> Result<(), Failure> {
    namespace::into(CloneFlags::CLONE_NEWNS, Step::MountNamespace)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NOTHING, "/", NOTHING, private, NOTHING).map_err(|errno| Failure::new(Step::MountNamespace, errno, "private"))
}

/// A `/proc` of the PID namespace that this process is the first of.
pub(crate) fn own_proc() -> Result<(), Failure> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NOTHING).map_err(|errno| Failure::new(Step::Proc, errno, ""))
}

/// Programs name files after their PID, in folders that they share with others: counted from 2 in each sandbox, two of
/// them would have the same. Where the kernel can't, they have.
fn count_on_from(pid: Pid) {
    let _ = fs::write("/proc/sys/kernel/ns_last_pid", pid.to_string());
}

fn cover_resolv_conf(blueprint: &Blueprint<'_>, target: &Path, scratch: &Scratch) -> Result<(), Failure> {
    let failed = |errno| Failure::new(Step::ResolvConf, errno, target.display().to_string());
    let plan = blueprint.plan;
    let text = resolv::render(&plan.nameservers, &plan.search, &plan.host_resolv);
    let file = scratch.file("resolv.conf", &text).map_err(|error| failed(errno_of(&error)))?;
    bind(&file, target).map_err(failed)
}

/// The C library asks these before it looks into resolv.conf. A file that is no socket in their place reads as
/// "not running", and it goes on.
fn hide_sockets(scratch: &Scratch) -> Result<(), Failure> {
    let failed = |path: &Path, errno| Failure::new(Step::HideSockets, errno, path.display().to_string());
    let nothing = scratch.file("nothing", "").map_err(|error| failed(&scratch.path("nothing"), errno_of(&error)))?;
    for path in NAME_SERVICE_SOCKETS.map(Path::new).into_iter().filter(|path| path.exists()) {
        bind(&nothing, path).map_err(|errno| failed(path, errno))?;
    }
    Ok(())
}

/// An empty folder in place of this one. A process whose working folder lies in it would still see the old one,
/// so it goes there anew.
fn hide(folder: &Path) -> Result<(), Failure> {
    let failed = |errno| Failure::new(Step::HideFolders, errno, folder.display().to_string());
    let Ok(real) = fs::canonicalize(folder) else { return Ok(()) };
    if !real.is_dir() {
        return Ok(());
    }
    let here = std::env::current_dir().unwrap_or_default();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("weft"), &real, Some("tmpfs"), flags, Some("mode=0700,size=64m")).map_err(failed)?;
    if here.starts_with(&real) {
        chdir(&real).map_err(failed)?;
    }
    Ok(())
}

/// Settings of the network namespace. A container may forbid them; the rest works without.
fn change_settings() -> Vec<String> {
    let refused = |(path, value, without): &(&str, &str, &str)| match fs::write(path, value) {
        Ok(()) => None,
        Err(error) if errno_of(&error) == Errno::ENOENT => None,
        Err(error) => Some(format!("cannot set {path} to {value}: {}: {without}", errno_of(&error).desc())),
    };
    SETTINGS.iter().filter_map(refused).collect()
}

const SETTINGS: [(&str, &str, &str); 2] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0", "programs can't listen on ports below 1024"),
    // See `netlink::rules`.
    ("/proc/sys/net/ipv4/tcp_syncookies", "0", "a flood of connections to the proxy resets some of them"),
];

const NAME_SERVICE_SOCKETS: [&str; 5] = [
    "/run/nscd/socket",
    "/var/run/nscd/socket",
    "/run/.nscd_socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/systemd/resolve/io.systemd.Resolve.Monitor",
];
