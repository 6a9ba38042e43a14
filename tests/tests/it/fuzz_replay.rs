//! Fuzz bodies on stable Rust: every seed and every input that once broke a promise is replayed, and
//! a fixed number of fixed mutations of them.

mod mutate;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use weft_fuzz_bodies::{Body, TARGETS};

use self::mutate::{Mutator, dictionary};

/// Mutations of each target's inputs, shared among them.
const MUTATIONS: usize = 5_000;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz").join(path)
}

/// Every file below `folder`, in the order of their names; none where there is no such folder.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The names of a folder's entries, without what follows a dot.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// # Errors
/// The input, when it breaks a promise.
fn check(body: Body, input: &[u8], origin: &str) -> Result<(), String> {
    let kept = catch_unwind(AssertUnwindSafe(|| body(input)));
    kept.map_err(|_| format!("{origin} broke a promise: {}", input.escape_ascii()))
}

/// Runs one target up to its first failure; tells how many inputs it got.
fn replay(name: &str, body: Body) -> Result<usize, String> {
    let mut inputs = files(&folder("corpus").join(name));
    assert!(!inputs.is_empty(), "{name} has no seed");
    inputs.extend(files(&folder("crashes").join(name)));
    check(body, b"", &format!("{name}: the empty input"))?;
    for (path, input) in &inputs {
        check(body, input, &path.display().to_string())?;
    }
    let room = name.split('_').next().unwrap();
    let words = dictionary(&fs::read_to_string(folder("dictionaries").join(format!("{room}.dict"))).unwrap());
    let mut mutator = Mutator::new(name, words, inputs.iter().map(|(_, input)| input.clone()).collect());
    for round in 0..MUTATIONS {
        let (path, input) = &inputs[round % inputs.len()];
        check(body, &mutator.mutate(input), &format!("{name}: mutation {round} of {}", path.display()))?;
    }
    Ok(1 + inputs.len() + MUTATIONS)
}

#[test]
fn seeds_crashes_and_mutations_break_no_promise() {
    let started = Instant::now();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let run = |targets: &'static [(&str, Body)]| {
            let replayed = targets.iter().map(|(name, body)| (name, replay(name, *body), started.elapsed()));
            replayed
                .inspect(|(name, inputs, at)| println!("{at:6.1?} {name}: {inputs:?}"))
                .filter_map(|(_, inputs, _)| inputs.err())
                .collect()
        };
        let threads: Vec<_> = TARGETS
            .chunks(TARGETS.len().div_ceil(2))
            .map(|half| scope.spawn(move || -> Vec<String> { run(half) }))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_panic_in_a_body_fails_the_replay() {
    let body: Body = |data| assert!(!data.contains(&b'!'));
    assert_eq!(check(body, b"good", "x"), Ok(()));
    assert_eq!(check(body, b"bad!\n", "x"), Err("x broke a promise: bad!\\n".to_owned()));
}

/// Each body has a libFuzzer program and seeds, and there is none of them without a body.
#[test]
fn every_body_is_a_target_with_seeds() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed.len(), TARGETS.len(), "a name stands twice");
    let mut bodies = names(&folder("bodies/src"));
    assert!(bodies.remove("lib") && bodies.remove("support"));
    assert_eq!(bodies, listed);
    assert_eq!(names(&folder("corpus")), listed);
    assert_eq!(names(&folder("fuzz_targets")), listed);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    let programs =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
    assert_eq!(programs.map(str::to_owned).collect::<BTreeSet<_>>(), listed);
    for name in &listed {
        let program = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(program.contains(&format!("weft_fuzz_bodies::{name}(data)")), "{name} calls another body");
    }
    let crashes = folder("crashes");
    assert!(!crashes.exists() || names(&crashes).is_subset(&listed), "crashes of no target");
}
