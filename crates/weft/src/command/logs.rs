//! `weft logs`: what workloads in the background have written.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::args::{LogsArgs, WorkloadName};
use crate::command::run::output::older;
use crate::command::workload;
use crate::failure::{Context, Failure};
use crate::home::Home;
use crate::print;

/// Prints the last lines, and goes on with new ones when that is asked for.
pub(crate) fn run(home: &Home, args: &LogsArgs) -> Result<ExitCode, Failure> {
    let mut files = if args.proxy { proxy_logs(home, &args.workload) } else { outputs(home, &args.workload) };
    if files.is_empty() {
        files.push(output_of_replica(home, &args.workload)?);
    }
    let several = files.len() > 1;
    let mut followed = Vec::new();
    for path in files {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut file = Followed::new(path, if several { format!("{name}: ") } else { String::new() });
        let mut lines = file.lines().context("read the log")?;
        if !args.follow {
            lines.extend(file.unfinished().context("read the log")?);
        }
        let passed_over = args.tail.map_or(0, |count| lines.len().saturating_sub(count));
        for line in lines.split_off(passed_over) {
            if file.print(&line).is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        followed.push(file);
    }
    if args.follow { follow(&mut followed) } else { Ok(ExitCode::SUCCESS) }
}

/// Goes on until the reader has gone.
fn follow(files: &mut [Followed]) -> Result<ExitCode, Failure> {
    loop {
        for file in &mut *files {
            for line in file.new_lines().context("read the log")? {
                if file.print(&line).is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Where a running replica writes, which no file's name tells.
///
/// # Errors
/// When nothing is kept: because it runs in the foreground, or because nothing ran.
fn output_of_replica(home: &Home, meant: &WorkloadName) -> Result<PathBuf, Failure> {
    let running = crate::runtime::of_this_thread().and_then(|runtime| runtime.block_on(workload::list(home)));
    let Ok(running) = running.and_then(|running| workload::choose(running, meant)) else {
        let WorkloadName { name, namespace } = meant;
        return Err(Failure::new(format!("no output of a workload {name} in the namespace {namespace} is kept"))
            .hint("see what runs: weft ps"));
    };
    let (id, pid) = workload::id_and_pid(&running);
    // Who has ended meanwhile has no command line.
    let launcher = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    told_output(&launcher).ok_or_else(|| {
        Failure::new(format!("{id} runs in the foreground (pid {pid}): its output is where it was started"))
            .hint("kept is the output of weft run --detach, and of a Workload in the folder")
    })
}

/// The file that a launcher was told to write to, out of its command line as `/proc` has it. What follows a `--` is the
/// program's; a path that isn't absolute is seen from the launcher's own folder.
fn told_output(launcher: &[u8]) -> Option<PathBuf> {
    let mut words = launcher.split(|byte| *byte == 0).take_while(|word| *word != b"--");
    words.find(|word| *word == b"--output")?;
    words.next().map(|word| PathBuf::from(OsStr::from_bytes(word))).filter(|path| path.is_absolute())
}

/// `NAMESPACE.NAME.N.out`.
fn outputs(home: &Home, WorkloadName { name, namespace }: &WorkloadName) -> Vec<PathBuf> {
    matching(home, |file| file.strip_prefix(&format!("{namespace}.{name}."))?.strip_suffix(".out"))
}

/// `NAMESPACE.NAME-SUFFIX.log`.
fn proxy_logs(home: &Home, WorkloadName { name, namespace }: &WorkloadName) -> Vec<PathBuf> {
    matching(home, |file| {
        let replica = file.strip_prefix(&format!("{namespace}."))?.strip_suffix(".log")?;
        (replica == name || replica.rsplit_once('-').is_some_and(|(service, _)| service == name)).then_some(replica)
    })
}

fn matching(home: &Home, is_meant: impl Fn(&str) -> Option<&str>) -> Vec<PathBuf> {
    let files = fs::read_dir(home.logs()).into_iter().flatten().flatten().map(|entry| entry.path());
    let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let mut found: Vec<PathBuf> =
        files.filter(|path| name(path).is_some_and(|name| is_meant(&name).is_some())).collect();
    found.sort();
    found
}

/// A file that is read as it grows. Cut by its writer, it is read from its new beginning.
struct Followed {
    path: PathBuf,
    prefix: String,
    read: u64,
}

impl Followed {
    fn new(path: PathBuf, prefix: String) -> Self {
        Self { path, prefix, read: 0 }
    }

    /// All whole lines that are kept.
    fn lines(&mut self) -> io::Result<Vec<String>> {
        let mut lines = match fs::exists(older(&self.path))? {
            true => lines_of(&older(&self.path), &mut 0)?,
            false => Vec::new(),
        };
        lines.extend(self.new_lines()?);
        Ok(lines)
    }

    /// What stands behind the last whole line: a prompt, or what a program wrote last before it died.
    fn unfinished(&self) -> io::Result<Option<String>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut rest = Vec::new();
        file.take(MAX_UNFINISHED_BYTES).read_to_end(&mut rest)?;
        Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(rest.trim_ascii_end()).into_owned()))
    }

    fn new_lines(&mut self) -> io::Result<Vec<String>> {
        if fs::metadata(&self.path)?.len() < self.read {
            self.read = 0;
        }
        lines_of(&self.path, &mut self.read)
    }

    fn print(&self, line: &str) -> io::Result<()> {
        print::stream_line(&format!("{}{}", self.prefix, print::tame(line)))
    }
}

/// The lines from a place on; it is moved behind them. A line that isn't whole yet counts when it is.
fn lines_of(path: &Path, from: &mut u64) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(*from))?;
    let mut reader = BufReader::new(file);
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(lines);
        }
        *from += length as u64;
        lines.push(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
    }
}

const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// As much as a file is kept of.
const MAX_UNFINISHED_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_are_read_as_they_come_and_after_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("default.web.0.out");
        let mut writer = File::options().create(true).append(true).open(&path).unwrap();
        writer.write_all(b"one\ntwo\nthr").unwrap();
        let mut file = Followed::new(path.clone(), String::new());
        assert_eq!(file.lines().unwrap(), ["one", "two"]);
        assert_eq!(file.unfinished().unwrap().as_deref(), Some("thr"));
        assert!(file.new_lines().unwrap().is_empty());
        writer.write_all(b"ee\n").unwrap();
        assert_eq!(file.new_lines().unwrap(), ["three"]);
        fs::copy(&path, older(&path)).unwrap();
        writer.set_len(0).unwrap();
        writer.write_all(b"four\n").unwrap();
        assert_eq!(file.new_lines().unwrap(), ["four"]);
        let mut file = Followed::new(path, String::new());
        assert_eq!(file.lines().unwrap(), ["one", "two", "three", "four"]);
        assert_eq!(file.unfinished().unwrap(), None);
    }

    #[test]
    fn a_launcher_was_told_where_to_write() {
        let check = |words: &[&str], expected: Option<&str>| {
            assert_eq!(told_output(words.join("\0").as_bytes()).as_deref(), expected.map(Path::new), "{words:?}");
        };
        check(&["weft", "run", "-d", "web", "--output", "/logs/a b", "--detached", "--", "./web"], Some("/logs/a b"));
        check(&["weft", "run", "web", "--", "./web", "--output", "/its/own"], None);
        check(&["weft", "run", "web", "--output", "near", "--", "./web"], None);
        check(&["weft", "run", "web", "--output"], None);
        check(&[], None);
    }
}
