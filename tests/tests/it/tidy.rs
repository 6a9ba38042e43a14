//! House rules that a compiler doesn't hold: sizes, openings, who may depend on whom.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which rooms a room may know (ARCHITECTURE.md, "Rooms").
const MAY_DEPEND_ON: [(&str, &[&str]); 11] = [
    ("mesh", &[]),
    ("resources", &["mesh"]),
    ("compile", &["resources", "mesh"]),
    ("identity", &["mesh"]),
    ("wire", &["mesh"]),
    ("http", &[]),
    ("capture", &["wire"]),
    ("proxy", &["wire", "identity", "http", "mesh"]),
    ("control", &["compile", "resources", "wire", "identity", "mesh"]),
    ("kube", &["control", "compile", "resources", "wire", "identity", "mesh"]),
    ("weft", &["mesh", "resources", "compile", "identity", "wire", "capture", "control", "kube"]),
];
/// The most lines of a file, its tests left out.
const MAX_FILE_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&root().join("crates"), &mut files);
    rust_files(&root().join("tests"), &mut files);
    rust_files(&root().join("bench/mesh"), &mut files);
    assert!(files.len() > 50, "found only {} files", files.len());
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// `x/tests.rs` and below: the module that they test says what they are for.
fn is_unit_test(path: &Path) -> bool {
    let inside = path.components().skip_while(|part| part.as_os_str() != "src");
    path.ends_with("tests.rs") || inside.skip(1).any(|part| part.as_os_str() == "tests")
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let closed: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|(path, text)| !is_unit_test(path) && !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(closed.is_empty(), "no //! at the top: {closed:?}");
}

#[test]
fn no_file_is_too_long() {
    let lines = |text: &str| text.lines().take_while(|line| !line.starts_with("mod tests {")).count();
    let is_test = |path: &Path| path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    let long: Vec<(PathBuf, usize)> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path, lines(&text)))
        .filter(|(_, lines)| *lines > MAX_FILE_LINES)
        .collect();
    assert!(long.is_empty(), "over {MAX_FILE_LINES} lines: {long:?}");
}

#[test]
fn nothing_is_left_half_done() {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("#[", "ignore]")];
    let found: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|(_, text)| marks.iter().any(|mark| text.contains(mark)))
        .map(|(path, _)| path)
        .collect();
    assert!(found.is_empty(), "half done: {found:?}");
}

#[test]
fn rooms_depend_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.into_iter().collect();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let room = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("\n[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        let may = allowed.get(room.as_str()).unwrap_or_else(|| panic!("the room {room} isn't on the map"));
        for line in dependencies.lines().filter_map(|line| line.strip_prefix("weft-")) {
            let other = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(may.contains(&other), "{room} may not know {other}");
        }
    }
}

#[test]
fn the_proxy_links_no_yaml_and_no_kubernetes() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", "weft-proxy", "-e", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("rustls v"), "{tree}");
    for crate_name in
        ["yaml", "saphyr", "kube", "k8s", "weft-resources", "weft-compile", "weft-control", "weft-capture"]
    {
        assert!(!tree.lines().any(|line| line.contains(crate_name)), "the proxy links {crate_name}");
    }
}

#[test]
fn versions_stand_in_one_place() {
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        let own = text.split("[dependencies]").nth(1).unwrap_or_default().split("[[test]]").next().unwrap_or_default();
        let versioned = own.lines().find(|line| line.contains("version =") || line.contains("= \""));
        assert_eq!(versioned, None, "{}", manifest.display());
    }
}
