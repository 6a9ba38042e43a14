use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

const GOOD: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: one}\nspec: {}\n";
const OTHER: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: two}\nspec: {}\n";
const BROKEN: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: one\nspec: {}\n";

#[test]
fn manifests_are_found_in_order_and_the_rest_is_passed_by() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("sub/.hidden")).unwrap();
    fs::create_dir(dir.path().join("d.yaml")).unwrap();
    let passed_by = [".e.yaml", "f.yaml~", "#g.yaml#", "h.yaml.swp", "README.md", "yaml", "cases.yaml"];
    for name in ["b.yaml", "a.YML", "sub/c.json", "sub/.hidden/d.yaml", "d.yaml/e.yaml"].iter().chain(&passed_by) {
        fs::write(dir.path().join(name), "").unwrap();
    }
    symlink("README.md", dir.path().join("link")).unwrap();
    let found = Scan::of(dir.path(), Some(&dir.path().join("sub/../cases.yaml")), &mut |_| {});
    assert_eq!(found.entries.keys().collect::<Vec<_>>(), ["a.YML", "b.yaml", "d.yaml/e.yaml", "sub/c.json"]);
}

#[test]
fn links_are_followed_and_their_folders_entered_once() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x.yaml"), GOOD).unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(outside.path().join("x.yaml"), dir.path().join("a.yaml")).unwrap();
    symlink(dir.path(), dir.path().join("loop")).unwrap();
    symlink("self.yaml", dir.path().join("self.yaml")).unwrap();
    symlink("nowhere", dir.path().join("b.yaml")).unwrap();
    symlink("nowhere", dir.path().join("team")).unwrap();
    let mut entered = Vec::new();
    let found = Scan::of(dir.path(), None, &mut |folder| entered.push(folder.to_owned()));
    assert_eq!(found.entries.keys().collect::<Vec<_>>(), ["a.yaml", "b.yaml", "self.yaml", "team"]);
    assert_eq!(found.entries["a.yaml"], Ok(GOOD.into()));
    for leads_nowhere in ["b.yaml", "self.yaml", "team"] {
        let message = found.entries[leads_nowhere].as_ref().unwrap_err();
        assert!(message.starts_with("expected a file or folder here, found an error: "), "{message}");
    }
    assert!(entered.contains(&outside.path().canonicalize().unwrap()), "{entered:?}");
}

#[test]
fn what_is_no_file_closes_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&dir.path().join("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(dir.path().join("a.yaml"), GOOD).unwrap();
    let found = Manifests::read(dir.path(), None).unwrap();
    let defects: Vec<Option<&str>> = found.resources.iter().map(Resource::defect).collect();
    let said = "pipe.yaml: expected a regular file, found another kind";
    assert_eq!(defects, [None, Some(said), Some(said)]);
    let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, [said]);
    for no_folder in ["none", "a.yaml"] {
        Manifests::read(&dir.path().join(no_folder), None).unwrap_err();
    }
}

#[test]
fn what_is_beyond_the_bounds_closes() {
    let dir = tempfile::tempdir().unwrap();
    let deep = (0..20).fold(dir.path().to_owned(), |at, _| at.join("d"));
    fs::create_dir_all(&deep).unwrap();
    let large = fs::File::create(dir.path().join("large.yaml")).unwrap();
    large.set_len((16 << 20) + 1).unwrap();
    let found = scan(dir.path());
    let messages: Vec<&str> = found.entries.values().map(|content| content.as_ref().unwrap_err().as_str()).collect();
    let expected = [
        "expected at most 16 folders in each other, found more",
        "expected a file of at most 16 MiB, found a larger one",
    ];
    assert_eq!(messages, expected);
    for n in 0..4200 {
        fs::write(dir.path().join(format!("n{n:04}.yaml")), "").unwrap();
    }
    let found = scan(dir.path());
    let (last, content) = found.entries.last_key_value().unwrap();
    let message = "expected at most 4096 files and folders and 64 MiB in the whole folder, found more".to_owned();
    assert_eq!((found.entries.len(), last.as_str(), content), (4097, "n4094.yaml", &Err(message)));
    assert!(found.hides("zzz.yaml") && found.hides("a/b.yaml"));
}

#[test]
fn what_is_beyond_the_bound_of_all_files_closes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        let large = fs::File::create(dir.path().join(name).with_extension("yaml")).unwrap();
        large.set_len(16 << 20).unwrap();
    }
    let found = scan(dir.path());
    let read: Vec<bool> = found.entries.values().map(Result::is_ok).collect();
    assert_eq!(read, [true, true, true, true, false]);
    assert!(found.hides("zzz.yaml"));
}

#[test]
fn links_are_followed_as_far_as_the_kernel_follows_them() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = |number: usize| outside.path().join(number.to_string());
    for number in 0..60 {
        fs::create_dir(place(number)).unwrap();
        symlink(place(number + 1).join("x.yaml"), place(number).join("x.yaml")).unwrap();
    }
    symlink(place(0).join("x.yaml"), dir.path().join("a.yaml")).unwrap();
    let mut entered = Vec::new();
    let found = Scan::of(dir.path(), None, &mut |folder| entered.push(folder.to_owned()));
    assert!(found.entries["a.yaml"].is_err(), "the kernel has given up");
    assert_eq!(entered.len(), 1 + 40, "its own folder, and those of the links");
}

#[test]
fn what_nobody_may_read_closes() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |name: &str, mode| fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
    fs::create_dir_all(dir.path().join("sub")).unwrap();
    fs::create_dir_all(dir.path().join("listed/more")).unwrap();
    for name in ["a.yaml", "b.yaml", "README", "sub/c.yaml", "listed/d.yaml", "listed/README"] {
        fs::write(dir.path().join(name), GOOD).unwrap();
    }
    let modes = [("", 0o755), ("a.yaml", 0o644), ("b.yaml", 0), ("README", 0), ("sub", 0), ("listed", 0o444)];
    modes.iter().for_each(|(name, bits)| mode(name, *bits));
    let root = dir.path().to_owned();
    // Root may read everything: this thread looks as another user.
    let look = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        scan(&root)
    });
    let found = look.join().unwrap();
    // So that the folder can be removed.
    ["sub", "listed"].iter().for_each(|name| mode(name, 0o755));
    let unreadable: Vec<&String> = found.entries.iter().filter(|(_, c)| c.is_err()).map(|(name, _)| name).collect();
    assert_eq!(unreadable, ["b.yaml", "listed/d.yaml", "listed/more", "sub"]);
    assert_eq!(found.entries["a.yaml"], Ok(GOOD.into()));
}

#[test]
fn names_that_read_alike_hide_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in [b"caf\xe9.yaml", b"caf\xe8.yaml"] {
        fs::write(dir.path().join(OsStr::from_bytes(name)), GOOD).unwrap();
    }
    let found = scan(dir.path());
    assert_eq!(found.entries.len(), 1);
    assert!(found.entries["caf\u{fffd}.yaml"].is_err());
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
    folder.update(files(&[]), now);
    assert!(folder.update(files(&[]), now + GRACE).changed);
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
fn what_is_written_nowhere_any_more_stays_for_a_moment() {
    for gone in [files(&[]), files(&[("a.yaml", " \n")]), files(&[("a.yaml", &format!("{OTHER}---\n"))])] {
        let mut folder = Folder::default();
        let now = Instant::now();
        folder.update(files(&[("a.yaml", &format!("{OTHER}---\n{GOOD}"))]), now);
        let outcome = folder.update(gone.clone(), now);
        assert_eq!(outcome.look_again, Some(GRACE));
        let names = |folder: &Folder| -> BTreeSet<_> { folder.resources().iter().map(Resource::reference).collect() };
        assert_eq!(names(&folder).len(), 2, "{gone:?}");
        folder.update(gone.clone(), now + GRACE - Duration::from_millis(1));
        assert_eq!(names(&folder).len(), 2, "{gone:?}");
        assert!(folder.update(gone.clone(), now + GRACE).changed);
        assert_eq!(names(&folder), names_of(&gone), "{gone:?}");
        assert_eq!(folder.update(gone, now + GRACE), Outcome::default());
    }
}

#[test]
fn a_moved_resource_stands_once() {
    let mut folder = Folder::default();
    let now = Instant::now();
    folder.update(files(&[("a.yaml", GOOD)]), now);
    let outcome = folder.update(files(&[("b.yaml", GOOD)]), now);
    assert_eq!(outcome, Outcome { changed: true, look_again: None });
    assert_eq!(folder.resources().iter().map(|resource| &*resource.meta().file).collect::<Vec<_>>(), ["b.yaml"]);
}

#[test]
fn what_has_no_name_stands_as_long_as_its_file() {
    let mut folder = Folder::default();
    let now = Instant::now();
    let pipe = Scan { entries: [("a.yaml".to_owned(), Err("no".to_owned()))].into(), overflow: false };
    folder.update(pipe.clone(), now);
    assert_eq!(folder.resources().len(), 2);
    folder.update(files(&[]), now);
    assert_eq!(folder.resources().len(), 2);
    folder.update(files(&[]), now + GRACE);
    assert_eq!(folder.resources().len(), 0);
    folder.update(pipe, now);
    folder.update(files(&[("a.yaml", GOOD)]), now);
    assert_eq!(folder.resources(), parsed(GOOD), "it can be read, so that what was feared isn't there");
}

#[test]
fn an_empty_file_is_no_last_good_content() {
    let mut folder = Folder::default();
    folder.update(files(&[("a.yaml", "")]), Instant::now());
    folder.update(files(&[("a.yaml", BROKEN)]), Instant::now());
    assert_eq!(folder.resources(), parsed(BROKEN));
}

#[test]
fn what_cannot_be_read_any_more_is_neither_removed_nor_changed() {
    let mut folder = Folder::default();
    let now = Instant::now();
    folder.update(files(&[("a.yaml", GOOD), ("sub/b.yaml", OTHER), ("subway.yaml", GOOD)]), now);
    let mut hidden = files(&[]);
    hidden.entries.insert("a.yaml".to_owned(), Err("no".to_owned()));
    hidden.entries.insert("sub".to_owned(), Err("no".to_owned()));
    assert!(folder.update(hidden.clone(), now).changed);
    folder.update(hidden, now + GRACE);
    assert_eq!(folder.files.keys().collect::<Vec<_>>(), ["a.yaml", "sub", "sub/b.yaml"]);
    assert!(folder.resources().iter().all(|resource| resource.defect().is_none()));
    assert_eq!((folder.resources().len(), folder.problems().len()), (2, 2));
    let gone = scan(Path::new("/nonexistent/folder"));
    folder.update(gone.clone(), now);
    folder.update(gone, now + GRACE);
    assert_eq!(folder.resources().len(), 2);
    assert_eq!(folder.problems()[0].file, ".");
}

#[test]
fn a_new_file_that_cannot_be_read_closes_beside_the_known_ones() {
    let mut folder = Folder::default();
    let now = Instant::now();
    folder.update(files(&[("a.yaml", GOOD)]), now);
    let mut more = files(&[("a.yaml", GOOD)]);
    more.entries.insert("b.yaml".to_owned(), Err("no".to_owned()));
    folder.update(more, now);
    assert_eq!(folder.resources().iter().filter(|resource| resource.defect().is_some()).count(), 2);
}

const WEB: &str = "apiVersion: weft.io/v1alpha1\nkind: Workload\nmetadata: {name: web}\nspec: {command: [web]}\n---\n";

fn commands(folder: &Folder) -> Vec<(String, String)> {
    folder.workloads().into_iter().map(|workload| (workload.name, workload.command.join(" "))).collect()
}

#[test]
fn a_program_that_is_not_understood_keeps_no_other_from_being_edited() {
    let (mut folder, now) = (Folder::default(), Instant::now());
    let api = WEB.replace("web", "api");
    folder.update(files(&[("a.yaml", &format!("{WEB}{api}"))]), now);
    let broken = api.replace("command", "commands");
    let shop = WEB.replace("web", "shop");
    let edited = WEB.replace("[web]", "[web, --fast]");
    folder.update(files(&[("a.yaml", &format!("{edited}{broken}{shop}"))]), now);
    let pair = |name: &str, command: &str| (name.to_owned(), command.to_owned());
    assert_eq!(commands(&folder), [pair("web", "web --fast"), pair("shop", "shop"), pair("api", "api")]);
}

#[test]
fn a_program_of_a_name_that_is_taken_is_told() {
    let (mut folder, now) = (Folder::default(), Instant::now());
    let other = WEB.replace("[web]", "[other]");
    folder.update(files(&[("a.yaml", WEB), ("b.yaml", &other)]), now);
    assert_eq!(commands(&folder), [("web".to_owned(), "web".to_owned())]);
    let told: Vec<String> = folder.problems().iter().map(ToString::to_string).collect();
    let said = "b.yaml: metadata.name: expected each workload once, found one of this name in a.yaml already, which \
                is run (Workload default/web)";
    assert_eq!(told, [said]);
    folder.update(files(&[("b.yaml", &other)]), now);
    assert_eq!((commands(&folder), folder.problems()), (vec![("web".to_owned(), "other".to_owned())], Vec::new()));
}

fn scan(root: &Path) -> Scan {
    Scan::of(root, None, &mut |_| {})
}

fn files(contents: &[(&str, &str)]) -> Scan {
    let entry = |(name, text): &(&str, &str)| ((*name).to_owned(), Ok(text.as_bytes().to_vec()));
    Scan { entries: contents.iter().map(entry).collect(), overflow: false }
}

fn names_of(scan: &Scan) -> BTreeSet<ResourceRef> {
    let texts = scan.entries.values().map(|content| content.as_ref().unwrap());
    let resources = texts.flat_map(|text| weft_resources::parse("a.yaml", text).resources);
    resources.map(|resource| resource.reference()).collect()
}

fn parsed(text: &str) -> Vec<Resource> {
    weft_resources::parse("a.yaml", text.as_bytes()).resources
}

#[tokio::test(start_paused = true)]
async fn a_folder_is_looked_at_now_and_then_though_nobody_tells_of_an_edit() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::open(dir.path()).unwrap();
    let seconds = async |source: &mut Source| {
        let begun = tokio::time::Instant::now();
        source.hinted().await;
        begun.elapsed().as_secs()
    };
    assert_eq!(seconds(&mut source).await, 30);
    source.stop_watching();
    assert_eq!(seconds(&mut source).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_takes_long_to_look_at_is_looked_at_less_often() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::open(dir.path()).unwrap();
    for (took, pause) in [(0, 10), (2, 10), (500, 2_000)] {
        source.has_taken(Duration::from_millis(took));
        let begun = tokio::time::Instant::now();
        source.hinted().await;
        assert_eq!(begun.elapsed(), Duration::from_millis(pause));
    }
}
