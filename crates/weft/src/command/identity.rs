//! `weft identity`: the certificates that pods' proxies show.

use std::process::ExitCode;

use serde::Serialize;
use weft_kube::client::Cluster;

use crate::access::{Access, told};
use crate::args::{Format, IdentityArgs};
use crate::failure::{Context, Failure};
use crate::{figures, print};

/// Prints each pod's certificate. Exits 1 when one couldn't be read.
pub(crate) fn run(access: &Access, args: &IdentityArgs) -> Result<ExitCode, Failure> {
    crate::runtime::of_this_thread()?.block_on(async {
        let cluster = access.cluster().await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
        let pods = pods(&cluster, &namespace, args).await?;
        let mut told = Vec::new();
        let mut code = ExitCode::SUCCESS;
        for (index, pod) in pods.iter().enumerate() {
            match leaf(&cluster, &namespace, pod).await {
                Ok(leaf) if args.read.output == Format::Json => told.push(leaf),
                Ok(leaf) => {
                    let text = print::tame_lines(&leaf.text);
                    print::line(&format!("\nPOD {pod} ({} of {})\n\n{text}", index + 1, pods.len()));
                }
                Err(failure) => {
                    print::failure(&failure);
                    code = ExitCode::FAILURE;
                }
            }
        }
        if args.read.output == Format::Json {
            print::json(&told);
        }
        Ok(code)
    })
}

async fn pods(cluster: &Cluster, namespace: &str, args: &IdentityArgs) -> Result<Vec<String>, Failure> {
    let Some(labels) = &args.selector else { return Ok(args.pods.clone()) };
    let pods = weft_kube::client::meshed_pods(&cluster.client, namespace, labels).await;
    let pods = pods.map_err(|error| told(&error))?;
    if pods.is_empty() {
        let hint = "see which pods have one: weft proxy-status";
        return Err(Failure::new(format!("no pods with a proxy match {labels:?} in {namespace}")).hint(hint));
    }
    Ok(pods)
}

#[derive(Debug, Serialize)]
struct Leaf {
    namespace: String,
    pod: String,
    uris: Vec<String>,
    serial: String,
    issuer: String,
    not_before: String,
    not_after: String,
    #[serde(skip)]
    text: String,
}

async fn leaf(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Leaf, Failure> {
    let der = weft_kube::client::leaf(&cluster.client, namespace, pod).await;
    let der = der.map_err(|error| told(&error))?;
    let what = || format!("read the certificate of the pod {namespace}/{pod}");
    let certificate = weft_identity::Certificate::parse(&der).context(what())?;
    Ok(Leaf {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        uris: certificate.uris,
        serial: certificate.serial,
        issuer: certificate.issuer,
        not_before: figures::time(certificate.not_before),
        not_after: figures::time(certificate.not_after),
        text: weft_identity::certificate_text(&der).context(what())?,
    })
}
