//! `weft inject` and `weft uninject`: manifests in, manifests out, the report on standard error.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use weft_kube::inject::check_setting;
use weft_kube::manifest::{self, Annotations, Edited, ManifestError, Report};

use crate::args::{InjectArgs, UninjectArgs};
use crate::failure::{Context, Failure};
use crate::print;

/// Adds the annotations that ask for a proxy.
pub(crate) fn inject(args: &InjectArgs) -> Result<ExitCode, Failure> {
    let mut annotations = Annotations { ingress: args.ingress, settings: Vec::new() };
    for (name, value) in args.settings.given() {
        let key = format!("config.linkerd.io/{name}");
        check_setting(&key, value).map_err(|why| Failure::new(format!("--{name} {value}: {why}")))?;
        annotations.settings.push((key, value.to_owned()));
    }
    work(&args.paths, |text| manifest::inject(text, &annotations))
}

/// Takes them out.
pub(crate) fn uninject(args: &UninjectArgs) -> Result<ExitCode, Failure> {
    work(&args.paths, manifest::uninject)
}

fn work(paths: &[String], edit: impl Fn(&str) -> Result<Edited, ManifestError>) -> Result<ExitCode, Failure> {
    let (mut texts, mut reports) = (Vec::new(), Vec::new());
    for path in paths {
        for (name, text) in read(path)? {
            let edited = edit(&text).map_err(|error| refused(&name, &error))?;
            texts.push(edited.text);
            reports.extend(edited.reports);
        }
    }
    print::raw(&join(&texts));
    Report::lines(&reports).iter().for_each(|line| print::note(&print::tame(line)));
    Ok(ExitCode::SUCCESS)
}

fn refused(name: &str, error: &ManifestError) -> Failure {
    let failure = Failure::new(format!("{name}: {error}"));
    match error {
        ManifestError::Unfit { .. } => {
            failure.hint("leave it out with the annotation linkerd.io/inject: disabled on its pod template")
        }
        ManifestError::Syntax { .. } | ManifestError::Form { .. } => failure,
    }
}

/// One stream of documents out of several files.
fn join(texts: &[String]) -> String {
    let mut all = String::new();
    for text in texts {
        if !all.is_empty() {
            if !all.ends_with('\n') {
                all.push('\n');
            }
            if !text.starts_with("---") {
                all.push_str("---\n");
            }
        }
        all.push_str(text);
    }
    all
}

/// The texts at a path, each with its name.
fn read(path: &str) -> Result<Vec<(String, String)>, Failure> {
    if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
        return Ok(vec![("standard input".to_owned(), text)]);
    }
    if path.starts_with("http://") || path.starts_with("https://") {
        let hint = format!("curl -sSfL {path} | weft inject -");
        return Err(Failure::new(format!("{path}: a URL is not fetched by weft")).hint(hint));
    }
    let mut files = Vec::new();
    collect(Path::new(path), &mut files).context(format!("read {path}"))?;
    let text = |file: &PathBuf| {
        let name = file.display().to_string();
        fs::read_to_string(file).context(format!("read {name}")).map(|text| (name, text))
    };
    files.iter().map(text).collect()
}

/// A file, or the manifests of a folder and of those in it, in order.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    for entry in entries {
        let is_manifest = entry.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if entry.is_dir() || is_manifest {
            collect(&entry, files)?;
        }
    }
    Ok(())
}
