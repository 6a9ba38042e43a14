//! What a program that runs as root must find read-only or not at all: dropped capabilities don't keep user 0 from
//! files that it owns, such as `core_pattern` or a disk's device.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use crate::error::{Failure, Step};
use crate::namespace::errno_of;
use crate::scratch::{Scratch, bind};
use crate::sys::NOTHING;

/// Makes the kernel's settings read-only and gives a `/dev` that has no disk.
pub(crate) fn protect(scratch: &Scratch) -> Result<(), Failure> {
    for path in KERNEL_SETTINGS.map(Path::new).into_iter().filter(|path| path.exists()) {
        let failed = |errno| Failure::new(Step::ProtectKernel, errno, path.display().to_string());
        bind(path, path).map_err(failed)?;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo");
    let mounts = mounts.map_err(|error| Failure::new(Step::ProtectKernel, errno_of(&error), "mountinfo"))?;
    for Mount { point, flags } in mounts_under(&mounts, &KERNEL_SETTINGS) {
        let flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(NOTHING, &point, NOTHING, flags, NOTHING)
            .map_err(|errno| Failure::new(Step::ProtectKernel, errno, point.display().to_string()))?;
    }
    own_devices(scratch)
}

/// A `/dev` with what every program expects, and terminals; the rest of the machine's devices are gone.
fn own_devices(scratch: &Scratch) -> Result<(), Failure> {
    let failed = |errno| Failure::new(Step::ProtectKernel, errno, "/dev");
    let io = |error: std::io::Error| failed(errno_of(&error));
    let dev = scratch.path("dev");
    fs::create_dir(&dev).map_err(io)?;
    mount(Some("weft"), &dev, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755,size=64k")).map_err(failed)?;
    for name in DEVICES {
        let (from, to) = (Path::new("/dev").join(name), dev.join(name));
        let Ok(found) = fs::metadata(&from) else { continue };
        if found.is_dir() { fs::create_dir(&to) } else { fs::write(&to, "") }.map_err(io)?;
        bind(&from, &to).map_err(failed)?;
    }
    for (name, target) in DEVICE_LINKS {
        symlink(target, dev.join(name)).map_err(io)?;
    }
    mount(Some(&dev), "/dev", NOTHING, MsFlags::MS_MOVE, NOTHING).map_err(failed)
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    flags: MsFlags,
}

/// The mounts at or below these folders, with the flags that a remount has to keep; proc_pid_mountinfo(5).
fn mounts_under(mountinfo: &str, folders: &[&str]) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(4);
        let (point, options) = (unescape(fields.next()?), fields.next()?);
        folders.iter().any(|folder| point.starts_with(folder)).then(|| Mount { point, flags: flags(options) })
    };
    mountinfo.lines().filter_map(mount).collect()
}

fn flags(options: &str) -> MsFlags {
    let flag = |option: &str| match option {
        "nosuid" => MsFlags::MS_NOSUID,
        "nodev" => MsFlags::MS_NODEV,
        "noexec" => MsFlags::MS_NOEXEC,
        "noatime" => MsFlags::MS_NOATIME,
        "nodiratime" => MsFlags::MS_NODIRATIME,
        "relatime" => MsFlags::MS_RELATIME,
        _ => MsFlags::empty(),
    };
    options.split(',').map(flag).collect()
}

/// Blank, tab, newline and backslash are written as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let plain = [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")];
    PathBuf::from(plain.iter().fold(field.to_owned(), |field, (escaped, plain)| field.replace(escaped, plain)))
}

const KERNEL_SETTINGS: [&str; 8] =
    ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/mtrr", "/sys"];
const DEVICES: [&str; 10] = ["null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "log"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_folder_keep_their_flags() {
        let text = "22 1 0:20 / /proc rw,relatime - proc proc rw\n\
                    23 1 0:21 / /sys rw,nosuid,noexec,relatime shared:2 - sysfs sysfs rw\n\
                    24 23 0:22 / /sys/fs/c\\040d rw - cgroup2 cgroup2 rw\n\
                    25 1 0:23 / /system rw - ext4 x rw\n";
        let found = mounts_under(text, &KERNEL_SETTINGS);
        let sys = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
        assert_eq!(
            found,
            [
                Mount { point: "/sys".into(), flags: sys },
                Mount { point: "/sys/fs/c d".into(), flags: MsFlags::empty() }
            ]
        );
    }
}
