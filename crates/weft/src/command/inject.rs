//! `weft inject` and `weft uninject`: manifests in, manifests out, the report on standard error.

use std::process::ExitCode;

use serde_json::{Value, json};
use weft_kube::inject::check_setting;
use weft_kube::install;
use weft_kube::manifest::{self, Annotations, Edited, ManifestError, Report};

use crate::access::{Access, told};
use crate::args::{InjectArgs, ManifestFormat, TextArgs, UninjectArgs};
use crate::failure::{Context, Failure};
use crate::print;
use crate::texts::{self, Text};

/// Adds the annotations that ask for a proxy, or the proxy itself.
pub(crate) fn inject(access: &Access, args: &InjectArgs) -> Result<ExitCode, Failure> {
    let mut annotations = Annotations { ingress: args.ingress, settings: Vec::new() };
    for (name, value) in args.settings.given() {
        let key = format!("config.linkerd.io/{name}");
        check_setting(&key, value).map_err(|why| Failure::new(format!("--{name} {value}: {why}")))?;
        annotations.settings.push((key, value.to_owned()));
    }
    if !args.manual {
        return work(&args.texts, |text| manifest::inject(text, &annotations));
    }
    let config = crate::runtime::of_this_thread()?.block_on(async {
        let client = access.cluster().await?.client;
        install::proxies(&client, &access.namespace).await.map_err(|error| told(&error))
    })?;
    work(&args.texts, |text| manifest::render(text, &annotations, &config))
}

/// Takes them out.
pub(crate) fn uninject(args: &UninjectArgs) -> Result<ExitCode, Failure> {
    work(&args.texts, manifest::uninject)
}

fn work(args: &TextArgs, edit: impl Fn(&str) -> Result<Edited, ManifestError>) -> Result<ExitCode, Failure> {
    let (mut edited, mut reports) = (Vec::new(), Vec::new());
    for path in &args.paths {
        for Text { name, text } in texts::read(path)? {
            let Edited { text, reports: more } = edit(&text).map_err(|error| refused(&name, &error))?;
            edited.push(text);
            reports.extend(more);
        }
    }
    let text = join(&edited);
    match args.output {
        ManifestFormat::Yaml => print::raw(&text),
        ManifestFormat::Json => print::json(&one(manifest::values(&text).context("write JSON")?)),
    }
    Report::lines(&reports).iter().for_each(|line| print::note(&print::tame(line)));
    Ok(ExitCode::SUCCESS)
}

/// As kubectl takes it: an object, or a list of several.
fn one(mut objects: Vec<Value>) -> Value {
    match objects.len() {
        1 => objects.remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    }
}

fn refused(name: &str, error: &ManifestError) -> Failure {
    let failure = Failure::new(format!("{name}: {error}"));
    match error {
        ManifestError::Unfit { .. } => {
            failure.hint("leave it out with the annotation linkerd.io/inject: disabled on its pod template")
        }
        ManifestError::Syntax { .. } | ManifestError::Form { .. } | ManifestError::Template { .. } => failure,
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
