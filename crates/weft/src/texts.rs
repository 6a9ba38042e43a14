//! The texts that a user names: files, folders of manifests, standard input, addresses of the web.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use weft_kube::client;

use crate::failure::{Context, Failure};

/// A text, and what it is called in messages.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The texts at a place: `-`, an address of HTTP or HTTPS, a file, or a folder and those in it, in order.
///
/// # Errors
/// When one of them can't be read.
pub(crate) fn read(place: &str) -> Result<Vec<Text>, Failure> {
    if place == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
        return Ok(vec![Text { name: "standard input".to_owned(), text }]);
    }
    if place.starts_with("http://") || place.starts_with("https://") {
        let fetched = crate::runtime::of_this_thread()?.block_on(client::page(place));
        let text = fetched.context(format!("read {place}")).map_err(|failure| failure.hint(other_way(place)))?;
        return Ok(vec![Text { name: place.to_owned(), text }]);
    }
    let mut files = Vec::new();
    collect(Path::new(place), &mut files)?;
    let text = |file: PathBuf| {
        let name = file.display().to_string();
        fs::read_to_string(&file).context(format!("read {name}")).map(|text| Text { name, text })
    };
    files.into_iter().map(text).collect()
}

/// Other programs know of proxies, passwords and roots of their own.
fn other_way(address: &str) -> String {
    format!("fetch it by other means, and pipe it in: curl -sSfL {address} | weft inject -")
}

/// A file that is named counts whatever it is called; of a folder those that look like manifests.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let what = || format!("read {}", path.display());
    if !fs::metadata(path).context(what())?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).context(what())?.collect::<Result<Vec<_>, _>>().context(what())?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let is_manifest = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        // A link to a folder may lead back here.
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if is_folder {
            collect(&path, files)?;
        } else if is_manifest {
            files.push(path);
        }
    }
    Ok(())
}
