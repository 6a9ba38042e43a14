//! `weft install` and `weft upgrade`: manifests for kubectl, on standard output. Nothing is applied.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use weft_kube::client::{ClientError, Cluster};
use weft_kube::crds::{self, DEFINITIONS, Standing};
use weft_kube::install::{self, Form, Plan, Present, RootNamespace, Setting, Values};

use crate::access::{Access, told};
use crate::args::{InstallArgs, ManifestArgs, ManifestFormat, UpgradeArgs};
use crate::failure::{Context, Failure};
use crate::print;

/// Prints what to apply.
pub(crate) fn run(access: &Access, args: &InstallArgs) -> Result<ExitCode, Failure> {
    let objects = match (args.what.crds, args.ignore_cluster) {
        (true, true) => definitions(&vec![None; DEFINITIONS.len()]),
        (true, false) => definitions(&ask(access, asked_definitions).map_err(or_without)?),
        (false, true) => manifests(access, values(&args.what, None)?, nothing_asked())?,
        (false, false) => {
            let present = ask_present(access).map_err(or_without)?;
            manifests(access, values(&args.what, None)?, present)?
        }
    };
    print::manifests(&install::render(&objects, form(args.what.output)));
    Ok(ExitCode::SUCCESS)
}

/// Prints what to apply to an installation.
pub(crate) fn upgrade(access: &Access, args: &UpgradeArgs) -> Result<ExitCode, Failure> {
    let objects = match args.what.crds {
        true => definitions(&ask(access, asked_definitions)?),
        false => {
            let present = ask_present(access)?;
            let installed = installed(access, &present)?;
            manifests(access, values(&args.what, Some(installed))?, present)?
        }
    };
    print::manifests(&install::render(&objects, form(args.what.output)));
    Ok(ExitCode::SUCCESS)
}

/// The values of what is installed, for this version's images.
fn installed(access: &Access, present: &Present) -> Result<Values, Failure> {
    let namespace = &access.namespace;
    match (&present.values, &present.elsewhere) {
        (Some(values), _) => Ok(values.clone().upgraded(present.version.as_deref())),
        (None, Some(other)) => {
            Err(Failure::new(format!("Weft is installed in the namespace {other}, not in {namespace}"))
                .hint(format!("upgrade that one: weft upgrade -L {other}")))
        }
        (None, None) => Err(Failure::new(format!(
            "there are no values of an installation in the namespace {namespace} that this weft can read"
        ))
        .hint("install it: weft install | kubectl apply -f -; or say where it is with -L NAMESPACE")),
    }
}

/// How manifests are written, as `weft_kube` knows it.
pub(super) fn form(format: ManifestFormat) -> Form {
    match format {
        ManifestFormat::Yaml => Form::Yaml,
        ManifestFormat::Json => Form::Json,
    }
}

fn definitions(found: &[Option<Value>]) -> Vec<Value> {
    let mut objects = Vec::new();
    for (definition, found) in DEFINITIONS.iter().zip(found) {
        match (crds::standing(found.as_ref()), found) {
            (Standing::Theirs, Some(found)) => print::note(&left_alone(definition.name, found)),
            _ => objects.push(definition.manifest()),
        }
    }
    objects
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

/// The values that a user set, over what is installed or the defaults.
fn values(args: &ManifestArgs, installed: Option<Values>) -> Result<Values, Failure> {
    let mut all = Vec::new();
    all.extend(installed.map(|values| Setting::File { name: "what is installed".to_owned(), text: values.to_yaml() }));
    all.extend(settings(args)?);
    Values::of(&all).map_err(|error| {
        Failure::new(error.to_string()).hint("docs/kubernetes.md lists the values, with their defaults")
    })
}

/// A cluster of which nothing is known, and in which the definitions are.
fn nothing_asked() -> Present {
    Present {
        definitions: DEFINITIONS.iter().map(|definition| Some(definition.manifest())).collect(),
        root_namespace: RootNamespace::Unknown,
        meshed: Vec::new(),
        elsewhere: None,
        values: None,
        version: None,
    }
}

fn manifests(access: &Access, values: Values, present: Present) -> Result<Vec<Value>, Failure> {
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

async fn asked_definitions(cluster: Cluster) -> Result<Vec<Option<Value>>, ClientError> {
    install::definitions(&cluster.client).await
}

fn ask_present(access: &Access) -> Result<Present, Failure> {
    ask(access, async |cluster| install::present(&cluster.client, &access.namespace).await)
}

/// Asks the cluster that is meant.
fn ask<T>(access: &Access, question: impl AsyncFnOnce(Cluster) -> Result<T, ClientError>) -> Result<T, Failure> {
    crate::runtime::of_this_thread()?
        .block_on(async { question(access.cluster().await?).await.map_err(|error| told(&error)) })
}

fn or_without(Failure { message, hint }: Failure) -> Failure {
    let hint = hint.map(|hint| format!("{hint}; or go without a cluster: --ignore-cluster"));
    Failure { message, hint }
}

/// Files first, then `--set`, then `--set-string`.
fn settings(args: &ManifestArgs) -> Result<Vec<Setting>, Failure> {
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
