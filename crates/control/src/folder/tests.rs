use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

const GOOD: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: one}\nspec: {}\n";
const BROKEN: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: one\nspec: {}\n";

#[test]
fn manifests_are_found_in_order_and_the_rest_is_passed_by() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("sub/.hidden")).unwrap();
    for name in ["b.yaml", "a.yml", "sub/c.json", "sub/.hidden/d.yaml", ".e.yaml", "f.yaml~", "README.md"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    assert_eq!(scan(dir.path()).entries.keys().collect::<Vec<_>>(), ["a.yml", "b.yaml", "sub/c.json"]);
}

#[test]
fn links_are_followed_and_their_folders_entered_once() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x.yaml"), GOOD).unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(outside.path().join("x.yaml"), dir.path().join("a.yaml")).unwrap();
    symlink(dir.path(), dir.path().join("loop")).unwrap();
    symlink("nowhere", dir.path().join("b.yaml")).unwrap();
    let mut entered = Vec::new();
    let found = Scan::of(dir.path(), &mut |folder| entered.push(folder.to_owned()));
    assert_eq!(found.entries.keys().collect::<Vec<_>>(), ["a.yaml", "b.yaml"]);
    assert_eq!(found.entries["a.yaml"], Entry::File(GOOD.into()));
    assert!(matches!(found.entries["b.yaml"], Entry::Unreadable(_)), "it may lead somewhere again");
    assert!(entered.contains(&outside.path().canonicalize().unwrap()), "{entered:?}");
}

#[test]
fn what_is_no_file_is_a_problem_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&dir.path().join("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(dir.path().join("a.yaml"), GOOD).unwrap();
    let mut folder = Folder::default();
    assert!(folder.update(scan(dir.path()), Instant::now()).changed);
    assert_eq!(folder.resources().len(), 1);
    let problems: Vec<String> = folder.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["pipe.yaml: expected a regular file, found another kind"]);
}

#[test]
fn a_file_that_becomes_broken_keeps_its_last_good_resources() {
    let mut folder = Folder::default();
    let now = Instant::now();
    let good = parsed(GOOD);
    assert!(folder.update(files(&[("a.yaml", GOOD)]), now).changed);
    assert!(!folder.update(files(&[("a.yaml", GOOD)]), now).changed);
    assert!(folder.update(files(&[("a.yaml", BROKEN)]), now).changed);
    assert_eq!(folder.resources(), good);
    assert_eq!(folder.problems().len(), 1);
    assert!(!folder.update(files(&[("a.yaml", BROKEN)]), now).changed);
    assert!(folder.update(files(&[("a.yaml", GOOD)]), now).changed);
    assert_eq!((folder.resources(), folder.problems()), (good, Vec::new()));
    assert!(folder.update(files(&[]), now).changed);
    assert_eq!(folder.resources(), Vec::new());
}

#[test]
fn a_file_that_was_never_good_has_what_could_be_made_of_it() {
    let mut folder = Folder::default();
    folder.update(files(&[("a.yaml", BROKEN)]), Instant::now());
    assert_eq!(folder.resources(), parsed(BROKEN));
    folder.update(files(&[("a.yaml", GOOD)]), Instant::now());
    assert_eq!(folder.resources(), parsed(GOOD));
}

#[test]
fn an_emptied_file_counts_only_when_it_stays_empty() {
    let mut folder = Folder::default();
    let now = Instant::now();
    folder.update(files(&[("a.yaml", GOOD)]), now);
    let outcome = folder.update(files(&[("a.yaml", " \n")]), now);
    assert_eq!(outcome, Outcome { changed: false, look_again: Some(EMPTY_GRACE) });
    assert_eq!(folder.resources(), parsed(GOOD));
    let outcome = folder.update(files(&[("a.yaml", "")]), now + EMPTY_GRACE);
    assert_eq!(outcome, Outcome { changed: true, look_again: None });
    assert_eq!(folder.resources(), Vec::new());
}

#[test]
fn what_cannot_be_read_is_neither_removed_nor_changed() {
    let mut folder = Folder::default();
    let now = Instant::now();
    folder.update(files(&[("a.yaml", GOOD), ("sub/b.yaml", GOOD), ("subway.yaml", GOOD)]), now);
    let mut hidden = files(&[]);
    hidden.entries.insert("a.yaml".to_owned(), Entry::Unreadable("no".to_owned()));
    hidden.entries.insert("sub".to_owned(), Entry::Unreadable("no".to_owned()));
    assert!(folder.update(hidden, now).changed);
    assert_eq!(folder.files.keys().collect::<Vec<_>>(), ["a.yaml", "sub/b.yaml"]);
    assert_eq!(folder.problems().len(), 2);
    let gone = scan(Path::new("/nonexistent/folder"));
    folder.update(gone, now);
    assert_eq!(folder.resources().len(), 2);
    assert_eq!(folder.problems()[0].file, ".");
}

fn scan(root: &Path) -> Scan {
    Scan::of(root, &mut |_| {})
}

fn files(contents: &[(&str, &str)]) -> Scan {
    let entry = |(name, text): &(&str, &str)| ((*name).to_owned(), Entry::File(text.as_bytes().to_vec()));
    Scan { entries: contents.iter().map(entry).collect() }
}

fn parsed(text: &str) -> Vec<Resource> {
    weft_resources::parse("a.yaml", text.as_bytes()).resources
}
