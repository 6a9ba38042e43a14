//! `weft install`: manifests for kubectl, on standard output. Nothing is applied.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use weft_kube::client::Cluster;
use weft_kube::crds::{self, DEFINITIONS, Standing};
use weft_kube::install::{self, Form, Plan, Present, RootNamespace, Setting, Values};

use crate::args::{InstallArgs, ManifestFormat};
use crate::client::{Access, told};
use crate::failure::{Context, Failure};
use crate::print;

/// Prints what to apply.
pub(crate) fn run(access: &Access, args: &InstallArgs) -> Result<ExitCode, Failure> {
    let objects = match args.crds {
        true => definitions(access, args)?,
        false => controller(access, args)?,
    };
    print::manifests(&install::render(&objects, form(args.output)));
    Ok(ExitCode::SUCCESS)
}

/// How manifests are written, as `weft_kube` knows it.
pub(super) fn form(format: ManifestFormat) -> Form {
    match format {
        ManifestFormat::Yaml => Form::Yaml,
        ManifestFormat::Json => Form::Json,
    }
}

fn definitions(access: &Access, args: &InstallArgs) -> Result<Vec<Value>, Failure> {
    let found = match args.ignore_cluster {
        true => vec![None; DEFINITIONS.len()],
        false => ask(access, async |cluster| install::definitions(&cluster.client).await)?,
    };
    let mut objects = Vec::new();
    for (definition, found) in DEFINITIONS.iter().zip(&found) {
        match (crds::standing(found.as_ref()), found) {
            (Standing::Theirs, Some(found)) => print::note(&left_alone(definition.name, found)),
            _ => objects.push(definition.manifest()),
        }
    }
    Ok(objects)
}

fn left_alone(name: &str, found: &Value) -> String {
    match crds::missing_versions(found)[..] {
        [] => format!("weft: {name} is in the cluster already, from elsewhere or newer: left alone"),
        ref missing => format!(
            "weft: {name} is in the cluster already, from elsewhere, but doesn't serve {}: left alone; update it with \
             what made it",
            missing.join(" and ")
        ),
    }
}

fn controller(access: &Access, args: &InstallArgs) -> Result<Vec<Value>, Failure> {
    let values = Values::of(&settings(args)?).map_err(|error| {
        Failure::new(error.to_string()).hint("docs/kubernetes.md lists the values, with their defaults")
    })?;
    let present = match args.ignore_cluster {
        true => Present {
            definitions: DEFINITIONS.iter().map(|definition| Some(definition.manifest())).collect(),
            root_namespace: RootNamespace::Unknown,
            meshed: Vec::new(),
            elsewhere: None,
            values: None,
        },
        false => ask(access, async |cluster| install::present(&cluster.client, &access.namespace).await)?,
    };
    for (definition, found) in DEFINITIONS.iter().zip(&present.definitions) {
        let why = match found.as_ref().map(crds::missing_versions) {
            None => "is missing".to_owned(),
            Some(missing) if !missing.is_empty() => format!("doesn't serve {}", missing.join(" and ")),
            Some(_) => continue,
        };
        return Err(Failure::new(format!(
            "the cluster isn't ready: the resource definition {} {why}",
            definition.name
        ))
        .hint("first: weft install --crds | kubectl apply -f -"));
    }
    if let Some(other) = present.elsewhere {
        return Err(Failure::new(format!(
            "the cluster has a control plane in the namespace {other}, and can have one"
        ))
        .hint(format!("update that one: weft install -L {other}; or take it away first: weft uninstall -L {other}")));
    }
    let changes = present.values.as_ref().map(|installed| values.changes(installed)).unwrap_or_default();
    for change in changes {
        print::note(&format!("weft: this changes what is installed: {change}"));
    }
    let Present { root_namespace, meshed, .. } = present;
    Ok(install::manifests(&Plan { namespace: access.namespace.clone(), values, root_namespace, meshed }))
}

/// Asks the cluster that is meant.
fn ask<T>(
    access: &Access,
    question: impl AsyncFnOnce(Cluster) -> Result<T, weft_kube::client::ClientError>,
) -> Result<T, Failure> {
    let answer =
        super::runtime()?.block_on(async { question(access.cluster().await?).await.map_err(|error| told(&error)) });
    answer.map_err(|Failure { message, hint }| {
        let hint = hint.map(|hint| format!("{hint}; or go without a cluster: --ignore-cluster"));
        Failure { message, hint }
    })
}

/// Files first, then `--set`, then `--set-string`.
fn settings(args: &InstallArgs) -> Result<Vec<Setting>, Failure> {
    let mut settings = Vec::new();
    for path in &args.values {
        let name = path.display().to_string();
        let text = read(path).context(format!("read {name}"))?;
        settings.push(Setting::File { name, text });
    }
    settings.extend(args.set.iter().cloned().map(Setting::Set));
    settings.extend(args.set_string.iter().cloned().map(Setting::SetString));
    Ok(settings)
}

fn read(path: &Path) -> std::io::Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
