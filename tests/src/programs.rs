//! Programs that are not Weft's, unmodified and as an ordinary user runs them: a server and a client of it,
//! as they are without Weft, and in a mesh that admits one caller alone. Knows no program.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::mesh::{Mesh, STRICT, told};
use crate::{User, can_run, missing};

/// A server that listens, and a client whose last argument is the server's host.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The server's name in the mesh.
    pub name: &'a str,
    /// Where it accepts once it can be called.
    pub port: u16,
    /// The server and its arguments.
    pub server: &'a [&'a str],
    /// The client and its arguments, but for the host.
    pub client: &'a [&'a str],
}

/// A mesh in which every identity must be proved, and only `caller` may call.
#[derive(Debug)]
pub struct Stage {
    mesh: Mesh,
}

impl Stage {
    /// Starts the mesh, as an ordinary user. Where such a user can't, says so and that the test is skipped.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start() -> Option<Self> {
        if !can_run() {
            return None;
        }
        let user = User::all().pop().expect("a user");
        Some(Self { mesh: Mesh::start(user, &[STRICT, ("policies.yaml", POLICIES)], &[]).expect("a mesh") })
    }

    /// The folder in which the programs run.
    pub fn home(&self) -> String {
        self.mesh.home().display().to_string()
    }

    /// Writes a file into that folder.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.mesh.home().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// Where the user finds a program: it must run with these words, which make it tell its version. Where it
    /// isn't, says that the test is skipped.
    pub fn find(&self, program: &str, words: &[&str]) -> Option<String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).chain(BESIDE.map(PathBuf::from)).map(|folder| folder.join(program));
        let runs = |path: &PathBuf| path.is_file() && self.runs(Command::new(path).args(words));
        let found = found.into_iter().find(runs).map(|path| path.display().to_string());
        found.or_else(|| missing(program))
    }

    /// A Python that can import a module.
    pub fn python_with(&self, module: &str) -> Option<String> {
        let import = format!("import {module}");
        let found = ["python3", "/usr/bin/python3"].into_iter();
        let found = found.map(str::to_owned).find(|python| self.runs(Command::new(python).args(["-c", &import])));
        found.or_else(|| missing(&format!("Python with {module}")))
    }

    /// PostgreSQL's folder of programs.
    pub fn postgresql(&self) -> Option<String> {
        let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = installed.map(|version| version.path().join("bin")).chain(env::split_paths(&path));
        let works = |folder: &PathBuf| self.runs(Command::new(folder.join("initdb")).arg("--version"));
        folders.into_iter().find(works).map(|path| path.display().to_string()).or_else(|| missing("PostgreSQL"))
    }

    /// Compiles a program of Go without C: one that loads no library. Its path.
    ///
    /// # Panics
    /// When it doesn't compile.
    pub fn compiled_go(&self, text: &str) -> Option<String> {
        let go = self.find("go", &["version"])?;
        let (source, program) = (self.mesh.home().join("static.go"), self.mesh.home().join("static"));
        self.file("static.go", text);
        // The flags of tests/cluster/build, whose cache of the standard library this shares.
        let mut build = Command::new(go);
        build.args(["build", "-buildvcs=false", "-trimpath", "-o"]).arg(&program).arg(source);
        let output = build.env("CGO_ENABLED", "0").env("GO111MODULE", "off").output().expect("go");
        assert!(output.status.success(), "{}", told(&output));
        Some(program.display().to_string())
    }

    fn runs(&self, command: &mut Command) -> bool {
        let command = self.mesh.as_user(command).stdin(Stdio::null());
        command.output().is_ok_and(|output| output.status.success())
    }

    /// Runs the pair without Weft and in the mesh, where the client must do and print the same. Returns what
    /// it printed, and what became of the same client as a stranger.
    ///
    /// # Panics
    /// When they differ, or the stranger gets through.
    pub fn compare(&self, pair: Pair<'_>) -> (String, Output) {
        let plain = self.without_weft(pair);
        assert!(plain.status.success(), "without Weft: {}", told(&plain));
        self.serve(pair);
        let meshed = self.call("caller", pair);
        let (expected, found) = (String::from_utf8_lossy(&plain.stdout), String::from_utf8_lossy(&meshed.stdout));
        let context = || format!("{}\n{}", told(&meshed), self.mesh.proxy_logs());
        assert!(expected == found && meshed.status == plain.status, "without Weft:\n{expected}\nwith:\n{}", context());
        let refused = self.call("stranger", pair);
        assert!(!refused.status.success(), "a stranger gets through: {}", told(&refused));
        (found.into_owned(), refused)
    }

    fn without_weft(&self, pair: Pair<'_>) -> Output {
        let mut command = Command::new("unshare");
        command.args(["--map-current-user", "--keep-caps", "--net", "--pid", "--kill-child", "--"]);
        command.args(["python3", "-c", PLAIN, &pair.port.to_string()]).args(pair.server);
        command.arg("--").args(pair.client).arg("127.0.0.1").stdin(Stdio::null());
        self.mesh.as_user(&mut command).output().expect("unshare")
    }

    fn serve(&self, pair: Pair<'_>) {
        let mut command = self.mesh.weft();
        command.args(["run", "--detach", "--ready-port", &pair.port.to_string(), pair.name, "--"]).args(pair.server);
        let output = command.stdin(Stdio::null()).output().expect("weft");
        assert!(output.status.success(), "{}", told(&output));
    }

    fn call(&self, who: &str, pair: Pair<'_>) -> Output {
        self.mesh.run(&[&[who, "--"], pair.client, &[pair.name]].concat()).expect("weft")
    }
}

/// Where servers are that are not in every user's path, and Go where its own page says.
const BESIDE: [&str; 2] = ["/usr/sbin", "/usr/local/go/bin"];
const PLAIN: &str = include_str!("../programs/plain.py");
const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-caller, namespace: default}
spec:
  rules: [{from: [{source: {principals: ["cluster.local/ns/default/sa/caller"]}}]}]
"#;
