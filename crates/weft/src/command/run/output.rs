//! Files that a workload's output and its proxy's log go to, and their bounds. Whoever writes them appends, so that
//! a file can be cut while it is written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::failure::{Context, Failure};
use crate::print;

/// Has standard output and errors of this process, and of all that it starts, go to a file. While what is returned
/// lasts, nobody takes it for one of the past; on a file system without locks it is `None`.
///
/// # Errors
/// When the file can't be opened.
pub(super) fn redirect(path: &Path) -> Result<Option<Flock<File>>, Failure> {
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let file = opened.context(format!("open {}", path.display()))?;
    dup2_stdout(&file).context("redirect the output")?;
    dup2_stderr(&file).context("redirect the output")?;
    Ok(Flock::lock(file, FlockArg::LockSharedNonblock).ok())
}

/// Keeps these files within their bound, in the background. What one held before is in a file with `.1` after its name.
pub(crate) fn bound(paths: Vec<PathBuf>) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            for path in &paths {
                if let Err(error) = cut(path, MAX_BYTES) {
                    print::note(&format!("weft: cut {}: {error}", path.display()));
                }
            }
        }
    });
}

/// What is written between the copy and the cut is lost, and what a fast writer wrote before the newest `max_bytes`: a
/// bounded log was wanted, not a whole one.
fn cut(path: &Path, max_bytes: u64) -> io::Result<()> {
    let length = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?.len(),
    };
    if length <= max_bytes {
        return Ok(());
    }
    let mut newest = File::open(path)?;
    newest.seek(SeekFrom::Start(length - max_bytes))?;
    let mut kept = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(older(path))?;
    // No more, however fast it grows meanwhile.
    io::copy(&mut newest.take(max_bytes), &mut kept)?;
    File::options().write(true).open(path)?.set_len(0)
}

/// Where the text before the last cut is.
pub(crate) fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Removes the oldest logs of a name: each replica that was ever started had one, and an output where it ran in the
/// background.
pub(super) fn forget_oldest(logs: &Path, namespace: &str, name: &str) {
    let replica = format!("{namespace}.{name}-");
    let service = format!("{namespace}.{name}.");
    let within = |file: &str, start: &str, end| file.strip_prefix(start)?.strip_suffix(end).map(str::to_owned);
    forget(logs, |file| within(file, &replica, ".log").is_some_and(|rest| rest.len() == SUFFIX));
    forget(logs, |file| within(file, &service, ".out").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())));
}

fn forget(logs: &Path, is_meant: impl Fn(&str) -> bool) {
    let is_ours = |path: &PathBuf| path.file_name().and_then(|file| file.to_str()).is_some_and(&is_meant);
    let files = fs::read_dir(logs).into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_ours);
    let written =
        |path: &PathBuf| fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut files: Vec<(SystemTime, PathBuf)> = files.map(|path| (written(&path), path)).collect();
    files.sort();
    for (_, path) in files.iter().rev().skip(MAX_LOGS).filter(|(_, path)| !is_in_use(path)) {
        // Another launcher may have been quicker.
        let _ = fs::remove_file(path);
        let _ = fs::remove_file(older(path));
    }
}

/// Whether a workload that runs writes to it; see [`redirect`].
fn is_in_use(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err())
}

/// A file's bound: what is kept is at most twice this, and what is written in a second until it is cut.
const MAX_BYTES: u64 = 8 << 20;
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Proxies' logs that are kept of one name, and outputs beside those that are written to.
const MAX_LOGS: usize = 64;
/// Letters of a replica's own name after the service's and `-`.
const SUFFIX: usize = 5;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_cut_while_it_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.out");
        let mut writer = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        writer.write_all(b"12345").unwrap();
        cut(&path, 5).unwrap();
        writer.write_all(b"6").unwrap();
        cut(&path, 5).unwrap();
        writer.write_all(b"7").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"7");
        assert_eq!(fs::read(older(&path)).unwrap(), b"23456");
        cut(&folder.path().join("none"), 5).unwrap();
    }

    #[test]
    fn the_oldest_logs_of_a_name_go() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..MAX_LOGS + 3 {
            File::create(folder.path().join(format!("default.web-{n:05}.log"))).unwrap();
        }
        let others = ["default.web-x-00000.log", "default.web.x.out", "control.log"];
        others.iter().for_each(|name| drop(File::create(folder.path().join(name)).unwrap()));
        forget_oldest(folder.path(), "default", "web");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MAX_LOGS + others.len());
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
    }

    #[test]
    fn an_output_that_is_written_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |n: usize| folder.path().join(format!("default.web.{n}.out"));
        let first = Flock::lock(File::create(path(0)).unwrap(), FlockArg::LockSharedNonblock).unwrap();
        (1..MAX_LOGS + 3).for_each(|n| drop(File::create(path(n)).unwrap()));
        let oldest = |file: &File| file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        oldest(&first);
        oldest(&File::options().append(true).open(path(1)).unwrap());
        forget_oldest(folder.path(), "default", "web");
        assert!(path(0).exists() && !path(1).exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MAX_LOGS + 1);
        drop(first);
        forget_oldest(folder.path(), "default", "web");
        assert!(!path(0).exists());
    }
}
