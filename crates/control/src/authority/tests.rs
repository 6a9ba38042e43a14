use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A state folder.
struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Result<Authority, StoreError> {
        self.open_as("cluster.local")
    }

    fn open_as(&self, domain: &str) -> Result<Authority, StoreError> {
        open(&Store::open(self.0.path()).unwrap(), &domain.parse().unwrap(), SystemTime::now())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Its files that hold a key, crash's leftovers too.
    fn keys(&self) -> Vec<String> {
        let files = fs::read_dir(self.path(FOLDER)).unwrap().map(|file| file.unwrap().path());
        let secret = |file: &PathBuf| fs::read_to_string(file).unwrap().contains("PRIVATE KEY");
        let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
        let mut keys: Vec<String> = files.filter(secret).map(|file| name(&file)).collect();
        keys.sort();
        keys
    }

    /// An authority that was made so long ago, as former versions kept it.
    fn former(age: Duration) -> (Self, Authority) {
        let state = Self::new();
        let (made, lifetimes) = (SystemTime::now() - age, AuthorityLifetimes::default());
        let authority = Authority::generate(&TrustDomain::default(), made, lifetimes).unwrap();
        let pem = authority.to_pem().unwrap();
        fs::create_dir(state.path(FOLDER)).unwrap();
        let [certificate, key] = FORMER_ISSUER;
        for (name, text) in [
            (ROOT[0], &pem.root_certificate),
            (ROOT[1], &pem.root_key),
            (certificate, &pem.issuer_certificate),
            (key, &pem.issuer_key),
        ] {
            fs::write(state.path(name), text).unwrap();
        }
        (state, authority)
    }
}

#[test]
fn it_is_made_once() {
    let state = State::new();
    let first = state.open().unwrap();
    let again = state.open().unwrap();
    assert_eq!((first.anchors(), first.issuer()), (again.anchors(), again.issuer()));
    assert!(!state.path(UNFINISHED).exists());
    assert_eq!(state.keys(), ["issuer.pem", "root.key"]);
    let error = state.open_as("example.org").unwrap_err().to_string();
    assert!(error.contains("spiffe://cluster.local") && error.contains("example.org"), "{error}");
}

#[test]
fn one_that_was_not_finished_is_made_anew() {
    let state = State::new();
    fs::create_dir(state.path(UNFINISHED)).unwrap();
    fs::write(state.path("authority.new/root.crt"), "-----BEGIN").unwrap();
    fs::write(state.path("authority.new/issuer.pem.new"), "-----BEGIN").unwrap();
    let first = state.open().unwrap();
    assert_eq!(first.issuer(), state.open().unwrap().issuer());
}

#[test]
fn a_part_of_one_is_an_error_and_nothing_is_made_anew() {
    for gone in [ROOT[0], ROOT[1], FORMER_ISSUER[0], FORMER_ISSUER[1]] {
        let (state, _) = State::former(DAY);
        fs::remove_file(state.path(gone)).unwrap();
        let error = state.open().unwrap_err().to_string();
        assert!(error.contains(gone) && error.contains("no such file"), "{gone}: {error}");
        assert!(!state.path(gone).exists() && !state.path(ISSUER).exists());
    }
    let (state, _) = State::former(DAY);
    for name in ROOT {
        fs::remove_file(state.path(name)).unwrap();
    }
    state.open().unwrap_err();
    let state = State::new();
    let whole = state.open().map(|_| fs::read(state.path(ISSUER)).unwrap()).unwrap();
    for broken in [&b""[..], b"none", &whole[..whole.len() / 2], &whole[..whole.len() - 40]] {
        fs::write(state.path(ISSUER), broken).unwrap();
        state.open().unwrap_err();
        assert_eq!(fs::read(state.path(ISSUER)).unwrap(), broken, "somebody must look at it");
    }
}

#[test]
fn a_former_form_is_taken_up_as_it_is() {
    let (state, made) = State::former(200 * DAY);
    let taken = state.open().unwrap();
    assert_eq!((taken.anchors(), taken.issuer()), (made.anchors(), made.issuer()));
    assert_eq!(state.keys(), ["issuer.key", "root.key"]);
}

#[test]
fn an_issuer_that_is_due_or_has_ended_is_renewed_once_under_the_same_root() {
    for age in [250 * DAY, 500 * DAY] {
        let (state, former) = State::former(age);
        let root = fs::read(state.path(ROOT[1])).unwrap();
        let renewed = state.open().unwrap();
        assert_eq!(renewed.anchors(), former.anchors());
        assert_ne!(renewed.issuer().serial, former.issuer().serial);
        assert!(renewed.issuer().not_after > SystemTime::now() + 364 * DAY);
        assert_eq!(state.open().unwrap().issuer(), renewed.issuer());
        assert_eq!(state.keys(), ["issuer.pem", "root.key"]);
        assert_eq!(fs::read(state.path(ROOT[1])).unwrap(), root);
    }
}

#[test]
fn an_issuer_that_is_lost_is_made_of_its_root() {
    let state = State::new();
    let first = state.open().unwrap();
    fs::remove_file(state.path(ISSUER)).unwrap();
    state.open_as("example.org").unwrap_err();
    assert!(!state.path(ISSUER).exists());
    let second = state.open().unwrap();
    assert_eq!(second.anchors(), first.anchors());
    assert_ne!(second.issuer().serial, first.issuer().serial);
    assert_eq!(state.open().unwrap().issuer(), second.issuer());
}

/// What a renewal leaves when it is killed at each of its steps.
#[test]
fn a_renewal_that_was_cut_short_leaves_a_whole_issuer() {
    let (renewing, _) = State::former(250 * DAY);
    let (root, former) = (ROOT.map(|name| fs::read(renewing.path(name)).unwrap()), FORMER_ISSUER);
    let former = former.map(|name| fs::read(renewing.path(name)).unwrap());
    let renewed = renewing.open().unwrap();
    let new = fs::read(renewing.path(ISSUER)).unwrap();
    let again = || {
        let state = State::new();
        fs::create_dir(state.path(FOLDER)).unwrap();
        for (name, bytes) in ROOT.into_iter().zip(&root).chain(FORMER_ISSUER.into_iter().zip(&former)) {
            fs::write(state.path(name), bytes).unwrap();
        }
        state
    };
    let unfinished = format!("{ISSUER}.new");
    for cut in [0, 1, new.len() / 2, new.len()] {
        let state = again();
        fs::write(state.path(&unfinished), &new[..cut]).unwrap();
        let taken = state.open().unwrap();
        assert_eq!(taken.anchors(), renewed.anchors());
        assert_eq!(state.keys(), ["issuer.pem", "root.key"], "cut at {cut}");
    }
    for removed in 0..=FORMER_ISSUER.len() {
        let state = again();
        fs::write(state.path(ISSUER), &new).unwrap();
        FORMER_ISSUER[..removed].iter().for_each(|name| fs::remove_file(state.path(name)).unwrap());
        assert_eq!(state.open().unwrap().issuer(), renewed.issuer(), "{removed} removed");
        assert_eq!(state.keys(), ["issuer.pem", "root.key"], "{removed} removed");
    }
}

#[test]
fn one_that_cannot_be_renewed_signs_until_its_end() {
    for (age, is_of_use) in [(250 * DAY, true), (500 * DAY, false)] {
        let (state, former) = State::former(age);
        // A folder in the file's place can't be replaced by a file, whoever tries.
        fs::create_dir(state.path(&format!("{ISSUER}.new"))).unwrap();
        match state.open() {
            Ok(taken) => assert!(is_of_use && taken.issuer() == former.issuer()),
            Err(error) => assert!(!is_of_use && error.to_string().contains("issuer certificate"), "{error}"),
        }
    }
}

#[test]
fn an_expired_root_is_told_and_nothing_is_made_of_it() {
    let (state, _) = State::former(11 * 365 * DAY);
    let error = state.open().unwrap_err().to_string();
    assert!(error.contains("root certificate"), "{error}");
    assert_eq!(state.keys(), ["issuer.key", "root.key"]);
}
