//! The state folder: nobody else may read what it keeps, nor put anything into it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::Check;
use crate::home::Home;

/// A line for the folder, or one for each file that others can use.
pub(super) fn check(state: &Path) -> Vec<Check> {
    let mut problems = Vec::new();
    match look(state, &mut problems) {
        Ok(0) => vec![Check::ok(NAME, format!("{} is empty so far", state.display()))],
        Ok(files) if problems.is_empty() => {
            vec![Check::ok(NAME, format!("{}: {files} files, for nobody else", state.display()))]
        }
        Ok(_) => problems,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            vec![Check::ok(NAME, format!("{} is not there yet", state.display()))]
        }
        Err(error) => vec![Check::fail(NAME, format!("{}: {error}", state.display()), "make it readable for yourself")],
    }
}

/// A line when nothing can be written there.
pub(super) fn space(home: &Home) -> Option<Check> {
    let error = home.state().is_dir().then(|| home.try_write().err()).flatten()?;
    let detail = format!("{} can't be written to: {error}", home.state().display());
    Some(Check::fail(NAME, detail, "free some space, or name another folder with --state-dir DIR"))
}

/// How many files there are.
fn look(path: &Path, problems: &mut Vec<Check>) -> io::Result<usize> {
    let found = fs::symlink_metadata(path)?;
    problems.extend(problem(path, &found));
    if !found.is_dir() {
        return Ok(1);
    }
    let mut files = 0;
    for entry in fs::read_dir(path)? {
        match look(&entry?.path(), problems) {
            Ok(count) => files += count,
            // A running mesh renames and removes files of its own.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

fn problem(path: &Path, found: &Metadata) -> Option<Check> {
    let mode = found.permissions().mode() & 0o777;
    let others = mode & 0o077;
    let shown = path.display();
    let owner = nix::unistd::geteuid().as_raw();
    if found.uid() != owner {
        let detail = format!("{shown} belongs to user {}", found.uid());
        return Some(Check::fail(NAME, detail, format!("give it to user {owner}, or remove it")));
    }
    let secret = path.extension().is_some_and(|end| end == "key");
    let log = path.extension().is_some_and(|end| end == "log");
    let hint = if found.is_dir() { format!("chmod 700 {shown}") } else { format!("chmod 600 {shown}") };
    match others {
        0 => None,
        _ if found.is_symlink() || log => None,
        _ if secret => Some(Check::fail(NAME, format!("{shown}: others may read a key (mode {mode:o})"), hint)),
        _ if others & 0o022 != 0 => Some(Check::fail(NAME, format!("{shown}: others may write (mode {mode:o})"), hint)),
        // Inside of a folder that only we may enter, these harm nobody.
        _ => None,
    }
}

const NAME: &str = "state folder";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::Status;

    fn file(folder: &Path, name: &str, mode: u32) {
        fs::write(folder.join(name), "x").unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_use_fails_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        file(folder.path(), "root.key", 0o600);
        file(folder.path(), "control.log", 0o644);
        assert_eq!(check(folder.path())[0].status, Status::Ok);
        file(folder.path(), "root.key", 0o640);
        file(folder.path(), "addresses.json", 0o666);
        let found = check(folder.path());
        assert_eq!(found.iter().map(|check| check.status).collect::<Vec<_>>(), [Status::Fail, Status::Fail]);
        assert!(found.iter().any(|check| check.hint.as_deref().is_some_and(|hint| hint.ends_with("root.key"))));
        assert_eq!(check(&folder.path().join("none"))[0].status, Status::Ok);
    }
}
