//! `weft analyze`: what is wrong with a cluster, with files, or with both together.

use std::process::ExitCode;

use weft_kube::analyze::{Message, Subject, analyze, has_namespace, is_beyond, look, read_file, to_yaml};
use weft_resources::{DEFAULT_NAMESPACE, Severity};

use crate::access::{Access, told};
use crate::args::{AnalyzeArgs, AnalyzeFormat, Threshold, UseKube};
use crate::failure::Failure;
use crate::print;
use crate::texts::{self, Text};

/// Prints what was found.
pub(crate) fn run(access: &Access, args: &AnalyzeArgs) -> Result<ExitCode, Failure> {
    if args.use_kube == UseKube::False && args.files.is_empty() {
        return Err(Failure::new("nothing to look at: no files, and not the cluster").hint("name files or folders"));
    }
    let (mut subject, namespace) = match args.use_kube {
        UseKube::True => crate::runtime::of_this_thread()?.block_on(cluster(access, args))?,
        UseKube::False => {
            let namespace = args.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
            (Subject { control_namespace: access.namespace.clone(), ..Subject::default() }, namespace)
        }
    };
    let mut messages = Vec::new();
    for path in &args.files {
        for Text { name, text } in texts::read(path)? {
            let (objects, more) = read_file(&name, &text, &namespace);
            subject.objects.extend(objects);
            messages.extend(more);
        }
    }
    if subject.has_cluster && args.namespace.is_some() && !has_namespace(&subject, &namespace) {
        let hint = "see which there are: kubectl get namespaces";
        return Err(Failure::new(format!("there is no namespace {namespace}")).hint(hint));
    }
    messages.extend(analyze(&subject));
    messages.retain(|message| {
        message.level >= args.output_threshold.into() && !args.suppress.iter().any(|it| it.is_about(message))
    });
    show(&messages, args.output);
    let failed = is_beyond(&messages, args.failure_threshold.into());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the cluster has, and the namespace that is meant where none is named.
async fn cluster(access: &Access, args: &AnalyzeArgs) -> Result<(Subject, String), Failure> {
    let cluster = access.cluster().await?;
    let own = args.namespace.as_ref().unwrap_or(&cluster.namespace);
    let within = Some(own.as_str()).filter(|_| !args.all_namespaces);
    let subject = look(&cluster.client, within, &access.namespace).await.map_err(|error| told(&error))?;
    Ok((subject, own.clone()))
}

fn show(messages: &[Message], format: AnalyzeFormat) {
    match format {
        AnalyzeFormat::Json => print::json(&messages),
        AnalyzeFormat::Yaml => print::raw(&to_yaml(messages)),
        AnalyzeFormat::Log if messages.is_empty() => print::note("√ no issues found"),
        AnalyzeFormat::Log => {
            for message in messages {
                print::line(&paint(message));
            }
        }
    }
}

fn paint(message: &Message) -> String {
    let text = print::tame(&message.to_string());
    let code = match message.level {
        Severity::Error => "31",
        Severity::Warning => "33",
        Severity::Info => "36",
    };
    match text.split_once(' ') {
        Some((level, rest)) => format!("{} {rest}", print::paint(print::Stream::Out, code, level)),
        None => text,
    }
}

impl From<Threshold> for Severity {
    fn from(threshold: Threshold) -> Self {
        match threshold {
            Threshold::Info => Self::Info,
            Threshold::Warning => Self::Warning,
            Threshold::Error => Self::Error,
        }
    }
}
