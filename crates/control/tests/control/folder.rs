//! The folder while people, editors and `git` work in it: whatever they do, no record that a proxy
//! gets in between opens what is closed before and after.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use weft_mesh::record::{Action, Inbound};
use weft_wire::record::INBOUND_TYPE;

use crate::harness::{Launcher, Mesh, Subscriber};

/// A denial of calls to a port, and another resource behind it, so that half of the text is whole.
fn closed(port: u16) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: closed}}\n\
         spec:\n  action: DENY\n  rules:\n  - to:\n    - operation:\n        ports: [\"{port}\"]\n---\n\
         apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: default}}\n\
         spec: {{mtls: {{mode: PERMISSIVE}}}}\n"
    )
}

/// A mesh whose only workload is closed, and its proxy.
struct Closed {
    mesh: Mesh,
    proxy: Subscriber,
    port: u16,
    _web: Launcher,
}

impl Closed {
    async fn start() -> Self {
        let mesh = Mesh::start();
        let web = mesh.launch("web").await;
        let mut proxy = mesh.subscribe(&web.assigned.token).await.unwrap();
        proxy.ask(INBOUND_TYPE, &[&web.assigned.workload]).await;
        proxy.inbound().await;
        mesh.edit("p.yaml", &closed(1));
        assert_eq!(denied(&proxy.inbound().await), [1]);
        Self { mesh, proxy, port: 1, _web: web }
    }

    /// Runs `edit` with the folder and the policy's next text, and waits until it is in force.
    async fn after(&mut self, edit: impl FnOnce(&Path, &str)) {
        self.port += 1;
        edit(&self.mesh.dir.path().join("manifests"), &closed(self.port));
        loop {
            let ports = denied(&self.proxy.inbound().await);
            assert!(!ports.is_empty(), "open on the way to {}", self.port);
            if ports == [self.port] {
                return;
            }
        }
    }
}

/// The ports that a record denies.
fn denied(inbound: &Inbound) -> Vec<u16> {
    let denials = inbound.policies.iter().filter(|policy| policy.action == Action::Deny);
    denials.flat_map(|policy| &policy.rules).flat_map(|rule| &rule.to).flat_map(|to| to.ports.any.clone()).collect()
}

fn atomically(path: &Path, text: &str) {
    let aside = path.with_file_name(".aside");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, path).unwrap();
}

#[tokio::test]
async fn an_edit_opens_nothing_on_its_way() {
    let mut closed = Closed::start().await;
    for _ in 0..3 {
        closed.after(|folder, text| atomically(&folder.join("p.yaml"), text)).await;
        // In place, in two writes.
        closed
            .after(|folder, text| {
                let mut file = fs::File::create(folder.join("p.yaml")).unwrap();
                let (head, tail) = text.split_at(text.find("---").unwrap());
                file.write_all(head.as_bytes()).unwrap();
                file.write_all(tail.as_bytes()).unwrap();
            })
            .await;
        // As vim: the old file becomes the backup.
        closed
            .after(|folder, text| {
                fs::rename(folder.join("p.yaml"), folder.join("p.yaml~")).unwrap();
                fs::write(folder.join("p.yaml"), text).unwrap();
                fs::remove_file(folder.join("p.yaml~")).unwrap();
            })
            .await;
        let port = closed.port;
        closed
            .after(|folder, _| {
                let script = format!("s/\"{port}\"/\"{}\"/", port + 1);
                let sed = Command::new("sed").args(["-i", &script]).arg(folder.join("p.yaml")).status();
                assert!(sed.unwrap().success());
            })
            .await;
        // As git: removed, then written anew.
        closed
            .after(|folder, text| {
                fs::remove_file(folder.join("p.yaml")).unwrap();
                fs::write(folder.join("p.yaml"), text).unwrap();
            })
            .await;
    }
    closed.mesh.end().await;
}

#[tokio::test]
async fn a_move_opens_nothing_on_its_way() {
    let mut closed = Closed::start().await;
    for _ in 0..3 {
        closed
            .after(|folder, text| {
                fs::rename(folder.join("p.yaml"), folder.join("z.yaml")).unwrap();
                atomically(&folder.join("z.yaml"), text);
            })
            .await;
        closed
            .after(|folder, text| {
                fs::create_dir_all(folder.join("a/b")).unwrap();
                fs::rename(folder.join("z.yaml"), folder.join("a/b/p.yaml")).unwrap();
                atomically(&folder.join("a/b/p.yaml"), text);
            })
            .await;
        closed
            .after(|folder, text| {
                fs::rename(folder.join("a"), folder.join("../out")).unwrap();
                fs::write(folder.join("../out/b/p.yaml"), text).unwrap();
                fs::rename(folder.join("../out"), folder.join("c")).unwrap();
            })
            .await;
        closed
            .after(|folder, text| {
                fs::write(folder.join("p.yaml"), text).unwrap();
                fs::remove_dir_all(folder.join("c")).unwrap();
            })
            .await;
        // The whole folder.
        closed
            .after(|folder, text| {
                let new = folder.with_file_name("new");
                fs::create_dir(&new).unwrap();
                fs::write(new.join("p.yaml"), text).unwrap();
                fs::rename(folder, folder.with_file_name("old")).unwrap();
                fs::rename(new, folder).unwrap();
                fs::remove_dir_all(folder.with_file_name("old")).unwrap();
            })
            .await;
    }
    // Links that turn, as mounted ConfigMaps do.
    for turn in 0..3 {
        closed
            .after(|folder, text| {
                let version = format!("..{turn}");
                fs::create_dir(folder.join(&version)).unwrap();
                fs::write(folder.join(&version).join("p.yaml"), text).unwrap();
                symlink(&version, folder.join("..aside")).unwrap();
                fs::rename(folder.join("..aside"), folder.join("..data")).unwrap();
                if turn == 0 {
                    symlink("..data/p.yaml", folder.join(".aside")).unwrap();
                    fs::rename(folder.join(".aside"), folder.join("p.yaml")).unwrap();
                } else {
                    fs::remove_dir_all(folder.join(format!("..{}", turn - 1))).unwrap();
                }
            })
            .await;
    }
    closed.mesh.end().await;
}

#[tokio::test]
async fn what_breaks_or_cannot_be_read_any_more_stays_closed_and_what_is_removed_opens() {
    let mut closed = Closed::start().await;
    let folder = closed.mesh.dir.path().join("manifests");
    fs::remove_file(folder.join("p.yaml")).unwrap();
    symlink("nowhere", folder.join("p.yaml")).unwrap();
    // Its record shows that the folder was looked at.
    fs::write(folder.join("z.yaml"), self::closed(7).replace("closed", "more").replace("default", "more")).unwrap();
    assert_eq!(denied(&closed.proxy.inbound().await), [1, 7]);
    fs::remove_file(folder.join("p.yaml")).unwrap();
    assert_eq!(denied(&closed.proxy.inbound().await), [7]);
    fs::remove_file(folder.join("z.yaml")).unwrap();
    assert_eq!(denied(&closed.proxy.inbound().await), [0; 0]);
    closed.mesh.end().await;
}

#[tokio::test]
async fn what_is_gone_for_a_moment_still_closes() {
    for vanish in [|path: &Path| fs::remove_file(path).unwrap(), |path: &Path| fs::write(path, "").unwrap()] {
        while !closes_still(vanish).await {}
    }
}

/// False where the moment was none: the machine stood still for as long as what is gone stays in force.
async fn closes_still(vanish: fn(&Path)) -> bool {
    let mut closed = Closed::start().await;
    let folder = closed.mesh.dir.path().join("manifests");
    let begun = Instant::now();
    vanish(&folder.join("p.yaml"));
    // Its record shows that the folder was looked at meanwhile.
    fs::write(folder.join("z.yaml"), self::closed(7).replace("closed", "more").replace("default", "more")).unwrap();
    let seen = denied(&closed.proxy.inbound().await);
    let is_moment = begun.elapsed() < GRACE;
    if is_moment {
        assert_eq!(seen, [1, 7]);
        fs::write(folder.join("p.yaml"), self::closed(2)).unwrap();
        while denied(&closed.proxy.inbound().await) != [2, 7] {}
    }
    closed.mesh.end().await;
    is_moment
}

/// How long what is written nowhere any more stays in force.
const GRACE: Duration = Duration::from_millis(400);
