//! The issuer: broken, taken away, another's. Who has a certificate goes on, and who needs one gets it for as
//! long as a former issuer can sign.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use weft_tests::mesh::told;
use weft_tests::meshed::Meshed;
use weft_tests::shell::Shell;

use crate::guarded::Guarded;

const LOG: &str = "kubectl logs -n weft deployment/weft-controller --tail=300";
const ISSUER: &str = "kubectl get secret -n weft weft-issuer -o jsonpath='{.data.tls\\.crt}' | base64 -d";
const ROOT: &str = "kubectl get secret -n weft weft-root -o jsonpath='{.data.ca\\.crt}' | base64 -d";

/// Certificates by openssl, as cert-manager's users have them, in a folder: the mesh's own root, and those of a
/// root and an intermediate that others made.
const FORGE: &str = r#"
set -eu
kubectl get secret -n weft weft-root -o jsonpath='{.data.ca\.crt}' | base64 -d >own-root.crt
kubectl get secret -n weft weft-root -o jsonpath='{.data.ca\.key}' | base64 -d >own-root.key
cat >ca.cnf <<END
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
new() { # NAME SUBJECT SIGNER DAYS
	openssl ecparam -name prime256v1 -genkey -noout -out $1.key
	openssl req -new -key $1.key -subj "/CN=$2" -out $1.csr
	if [ "$3" = self ]; then signed="-signkey $1.key"; else signed="-CA $3.crt -CAkey $3.key -CAcreateserial"; fi
	openssl x509 -req -in $1.csr $signed -days $4 -extfile ca.cnf -extensions ca -out $1.crt
}
new their-root "their root" self 90
new expired expired their-root 0
new middle "their intermediate" their-root 80
new theirs "their issuer" middle 70
openssl req -x509 -newkey rsa:2048 -nodes -keyout rsa-root.key -subj "/CN=rsa root" -days 90 -out rsa-root.crt \
	-extensions ca -config - <<END
$(cat ca.cnf)
[req]
distinguished_name = name
[name]
END
cat theirs.crt middle.crt >chain.crt
"#;

/// Writes the issuer's Secret of these files.
fn write(mesh: &Meshed, folder: &Path, [certificate, key, root]: [&str; 3]) {
    let file = |name: &str, file: &str| format!("--from-file={name}={}", folder.join(file).display());
    mesh.shell(&format!(
        "kubectl create secret generic -n weft weft-issuer {} {} {} --dry-run=client -o yaml | kubectl apply -f - --server-side --force-conflicts",
        file("tls.crt", certificate), file("tls.key", key), file("ca.crt", root)
    ));
}

/// Secrets as they were, and are again when this is dropped, even after a failure.
struct Saved<'a> {
    mesh: &'a Meshed,
    secrets: Vec<u8>,
}

impl<'a> Saved<'a> {
    fn of(mesh: &'a Meshed, names: &str) -> Self {
        // Without what the API server refuses of an object that is made again.
        let read = format!(
            "kubectl get secret -n weft {names} -o json | python3 -c '
import json, sys
found = json.load(sys.stdin)
for secret in found.get(\"items\", [found]):
    secret[\"metadata\"] = {{key: secret[\"metadata\"][key] for key in (\"name\", \"namespace\", \"labels\")}}
print(json.dumps(found))'"
        );
        Self { mesh, secrets: mesh.shell(&read).into_bytes() }
    }

    fn restore(&self) -> bool {
        let mut command = self.mesh.cluster.kubectl();
        command.args(["replace", "--force", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let Ok(mut child) = command.spawn() else { return false };
        let written = child.stdin.take().is_some_and(|mut pipe| pipe.write_all(&self.secrets).is_ok());
        written && child.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Saved<'_> {
    fn drop(&mut self) {
        let restored = self.restore();
        assert!(restored || std::thread::panicking(), "the issuer can't be put back");
    }
}

#[test]
fn an_issuer_that_cannot_sign_is_told_and_changes_nothing() {
    let Some(mesh) = Meshed::alone() else { return };
    let guarded = Guarded::start(&mesh, "broken");
    let folder = tempfile::tempdir().unwrap();
    mesh.shell(&format!("cd {} && {FORGE}", folder.path().display()));
    let saved = Saved::of(&mesh, "weft-issuer");
    fs::write(folder.path().join("nonsense"), "nonsense").unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    mesh.shell(&format!("{ISSUER} >{}/issuer.crt", folder.path().display()));
    let cases = [
        (["issuer.crt", "nonsense", "own-root.crt"], "expected a private key"),
        (["issuer.crt", "empty", "own-root.crt"], "expected the key tls.key"),
        (["issuer.crt", "theirs.key", "own-root.crt"], "another"),
        (["expired.crt", "expired.key", "their-root.crt"], "expired"),
        (["theirs.crt", "theirs.key", "their-root.crt"], "their intermediate"),
    ];
    for (number, (files, reason)) in cases.into_iter().enumerate() {
        write(&mesh, folder.path(), files);
        mesh.shell_until(&format!("{LOG} | grep 'the issuer can.t sign' | tail -n 1"), |output| {
            String::from_utf8_lossy(&output.stdout).contains(reason)
        });
        let check = mesh.typed("weft check --wait=1s");
        assert!(!check.status.success() && told(&check).contains(reason), "{files:?}: {}", told(&check));
        guarded.holds();
        let late = format!("late-{number}");
        guarded.namespace.apply(&Shell::meshed(&late).manifest());
        guarded.namespace.wait(&format!("pod/{late}"), "condition=Ready");
    }
    drop(saved);
    mesh.shell("weft check --wait=120s");
    guarded.holds();
}

#[test]
fn an_issuer_and_anchors_that_are_deleted_are_made_again_under_the_same_root() {
    let Some(mesh) = Meshed::alone() else { return };
    let guarded = Guarded::start(&mesh, "deleted");
    let (root, issuer) = (mesh.shell(ROOT), mesh.shell(ISSUER));
    mesh.shell("kubectl delete -n weft secret/weft-issuer configmap/weft-anchors");
    let new = mesh.shell_until(ISSUER, |output| output.status.success() && !output.stdout.is_empty());
    assert_ne!(new, issuer);
    assert_eq!(mesh.shell(ROOT), root);
    mesh.shell("weft check --wait=120s");
    guarded.namespace.apply(&Shell::meshed("late").manifest());
    guarded.namespace.wait("pod/late", "condition=Ready");
    guarded.holds();
}

/// An issuer of the mesh's own root, as old as that, which ends in ten seconds.
const OLD: &str = r#"
openssl ecparam -name prime256v1 -genkey -noout -out old.key
openssl req -new -key old.key -subj "/CN=old issuer" -out old.csr
touch index && echo 01 >serial
cat >old.cnf <<END
[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
rand_serial = yes
[any]
commonName = supplied
[issuer]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
openssl ca -batch -config old.cnf -extensions issuer -cert own-root.crt -keyfile own-root.key -in old.csr -out old.crt -notext \
	-startdate $(date -u -d "$(openssl x509 -in own-root.crt -noout -startdate | cut -d= -f2)" +%Y%m%d%H%M%SZ) \
	-enddate $(date -u -d '+10 seconds' +%Y%m%d%H%M%SZ)
"#;

#[test]
fn an_old_issuer_of_the_own_root_is_renewed() {
    let Some(mesh) = Meshed::alone() else { return };
    let guarded = Guarded::start(&mesh, "old");
    let folder = tempfile::tempdir().unwrap();
    mesh.shell(&format!("cd {} && {FORGE} {OLD}", folder.path().display()));
    let saved = Saved::of(&mesh, "weft-issuer");
    let root = mesh.shell(ROOT);
    write(&mesh, folder.path(), ["old.crt", "old.key", "own-root.crt"]);
    let old = mesh.shell(ISSUER);
    let new = mesh.shell_until(ISSUER, |output| output.status.success() && output.stdout != old.as_bytes());
    assert!(!new.is_empty() && mesh.shell(ROOT) == root);
    mesh.shell("weft check --wait=120s");
    guarded.namespace.apply(&Shell::meshed("late").manifest());
    guarded.namespace.wait("pod/late", "condition=Ready");
    guarded.holds();
    drop(saved);
    mesh.shell("weft check --wait=120s");
}

#[test]
fn no_other_root_is_made_while_one_is_trusted() {
    let Some(mesh) = Meshed::alone() else { return };
    let guarded = Guarded::start(&mesh, "lost");
    let saved = Saved::of(&mesh, "weft-issuer weft-root");
    mesh.shell("kubectl delete secret -n weft weft-issuer weft-root");
    mesh.shell_until(LOG, |output| String::from_utf8_lossy(&output.stdout).contains("bring it back"));
    let check = mesh.typed("weft check --wait=1s");
    assert!(told(&check).contains("the Secret weft-issuer is missing"), "{}", told(&check));
    guarded.namespace.apply(&Shell::meshed("late").manifest());
    guarded.namespace.wait("pod/late", "condition=Ready");

    // A controller that starts now has nothing to sign with, and makes nothing up; the old one goes on.
    mesh.shell("kubectl rollout restart -n weft deployment/weft-controller");
    let newest = "kubectl get pod -n weft -l weft.io/component=controller --sort-by=.metadata.creationTimestamp -o name | tail -n 1";
    mesh.shell_until(&format!("kubectl logs -n weft $({newest})"), |output| {
        String::from_utf8_lossy(&output.stdout).contains("there is no Secret weft-root")
    });
    assert!(!mesh.typed("kubectl get secret -n weft weft-root").status.success());
    guarded.holds();
    drop(saved);
    mesh.shell("kubectl rollout status -n weft deployment/weft-controller --timeout=120s");
    mesh.shell("weft check --wait=120s");
    guarded.holds();
}

#[test]
fn an_issuer_of_another_maker_is_taken_up() {
    let Some(mesh) = Meshed::alone() else { return };
    let guarded = Guarded::start(&mesh, "theirs");
    let folder = tempfile::tempdir().unwrap();
    mesh.shell(&format!("cd {} && {FORGE}", folder.path().display()));
    let saved = Saved::of(&mesh, "weft-issuer");
    for files in [["chain.crt", "theirs.key", "their-root.crt"], ["rsa-root.crt", "rsa-root.key", "rsa-root.crt"]] {
        write(&mesh, folder.path(), files);
        mesh.shell("weft check --wait=120s");
        let late = format!("late-{}", files[0].trim_end_matches(".crt"));
        guarded.namespace.apply(&Shell::meshed(&late).account("friend").manifest());
        guarded.namespace.wait(&format!("pod/{late}"), "condition=Ready");
        let issued = mesh.shell(&format!("weft identity -n {} {late}", guarded.namespace.name()));
        let issuer = if files[0] == "chain.crt" { "their issuer" } else { "rsa root" };
        assert!(issued.contains(issuer), "{issued}");
        // Those of the old root and of the new one know each other.
        guarded.until(&late, "200");
        guarded.holds();
        guarded.namespace.run(&["delete", "pod", &late, "--now"]);
    }
    drop(saved);
    mesh.shell("weft check --wait=120s");
    guarded.holds();
}
