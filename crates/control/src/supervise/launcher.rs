//! How a program of the folder is started: the command line of its `weft run`.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};
use weft_resources::{Probe, ProbeTiming, Readiness, Workload, WorkloadPort};

use crate::owner::Owner;

/// What every start needs.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// `weft` itself.
    pub(crate) program: PathBuf,
    /// The mesh's state folder.
    pub(crate) state_dir: PathBuf,
    /// What the workloads' files are named relative to.
    pub(crate) root: PathBuf,
}

impl Launcher {
    /// Starts a replica, away from any terminal.
    ///
    /// # Errors
    /// When there is no such folder, or the log can't be opened.
    pub(crate) fn start(&self, owner: &Owner, workload: &Workload) -> io::Result<Child> {
        let log = self.log(owner);
        // Until the launcher has it: what it says of its own command line goes there as well.
        let output = OpenOptions::new().create(true).append(true).mode(0o600).open(&log)?;
        let mut command = Command::new(&self.program);
        command.args(arguments(owner, workload, (&self.state_dir, &log)));
        let folder = self.folder(workload);
        command.envs(&workload.env).current_dir(&folder).process_group(0);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        command.spawn().inspect_err(|error| {
            // Whoever looks why it doesn't run looks there first.
            let _ = writeln!(&output, "error: expected to run it in {}, found: {error}", folder.display());
        })
    }

    fn folder(&self, workload: &Workload) -> PathBuf {
        let file = self.root.join(&workload.file);
        let beside = file.parent().unwrap_or(&self.root);
        workload.working_dir.as_ref().map_or_else(|| beside.to_owned(), |folder| beside.join(folder))
    }

    fn log(&self, Owner { place, .. }: &Owner) -> PathBuf {
        self.state_dir.join(format!("logs/{}.{}.{}.out", place.namespace, place.name, place.index))
    }
}

fn arguments(owner: &Owner, workload: &Workload, (state_dir, log): (&Path, &Path)) -> Vec<OsString> {
    let Workload { namespace, name, service_account, user, labels, ports, readiness, command, .. } = workload;
    let mut words: Vec<OsString> = vec!["--state-dir".into(), state_dir.into(), "run".into(), name.into()];
    let mut say = |flag: &str, value: OsString| words.extend([flag.into(), value]);
    say("--namespace", namespace.into());
    say("--owner", owner.to_string().into());
    say("--output", log.into());
    service_account.iter().for_each(|account| say("--service-account", account.into()));
    user.iter().for_each(|user| say("--user", user.into()));
    labels.iter().for_each(|(key, value)| say("--label", format!("{key}={value}").into()));
    for port in ports {
        say("--port", declared(port).into());
        port.publish.iter().for_each(|at| say("--publish", format!("{at}:{}", port.port).into()));
    }
    workload.forward.iter().for_each(|port| say("--forward", port.to_string().into()));
    if let Some(Readiness { probe, timing }) = readiness {
        let (flag, value) = asked(probe);
        say(flag, value.into());
        for (flag, number) in times(timing) {
            say(flag, number.to_string().into());
        }
    }
    words.push("--".into());
    words.extend(command.iter().map(OsString::from));
    words
}

fn asked(probe: &Probe) -> (&'static str, String) {
    match probe {
        Probe::Port(port) => ("--ready-port", port.to_string()),
        Probe::Http { port, path } => ("--ready-http", format!("{port}{path}")),
        Probe::Exec(command) => ("--ready-exec", shell_line(command)),
    }
}

fn times(timing: &ProbeTiming) -> [(&'static str, u16); 5] {
    [
        ("--ready-initial-delay", timing.initial_delay_seconds),
        ("--ready-period", timing.period_seconds),
        ("--ready-timeout", timing.timeout_seconds),
        ("--ready-successes", timing.success_threshold),
        ("--ready-failures", timing.failure_threshold),
    ]
}

/// `[NAME:]PORT[/PROTOCOL]`.
fn declared(port: &WorkloadPort) -> String {
    let name = port.name.as_ref().map(|name| format!("{name}:")).unwrap_or_default();
    let protocol = port.app_protocol.as_ref().map(|protocol| format!("/{protocol}")).unwrap_or_default();
    format!("{name}{}{protocol}", port.port)
}

/// Words as a shell takes them, each as it is.
fn shell_line(words: &[String]) -> String {
    let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Place;

    #[test]
    fn the_command_line_says_what_the_file_says() {
        let text = "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {name: web, namespace: shop, labels: {a: b}}\n\
                    spec:\n  command: [serve, --fast]\n  serviceAccount: front\n  user: www\n  workingDir: sub\n  \
                    ports: [{name: grpc, port: 90, publish: 91}, {port: 80, appProtocol: http}]\n  \
                    readiness: {exec: {command: [test, \"it's\"]}, timeoutSeconds: 7}\n";
        let workload = weft_resources::parse("team/web.yaml", text.as_bytes()).workloads.remove(0);
        let owner = Owner { place: Place::new("shop", "web", 0), revision: 1 };
        let words = arguments(&owner, &workload, ("/state".as_ref(), "/log".as_ref()));
        let line = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        assert_eq!(
            line,
            "--state-dir /state run web --namespace shop --owner shop/web/0@0000000000000001 --output /log \
             --service-account front --user www --label a=b --port grpc:90 --publish 127.0.0.1:91:90 --port 80/http \
             --ready-exec 'test' 'it'\\''s' --ready-initial-delay 0 --ready-period 1 --ready-timeout 7 \
             --ready-successes 1 --ready-failures 3 -- serve --fast"
        );
        let launcher = Launcher { program: "weft".into(), state_dir: "/state".into(), root: "/folder".into() };
        assert_eq!(launcher.folder(&workload), Path::new("/folder/team/sub"));
        assert_eq!(launcher.log(&owner), Path::new("/state/logs/shop.web.0.out"));
    }
}
