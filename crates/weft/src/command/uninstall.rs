//! `weft uninstall`: references to what Weft made, for kubectl. Nothing is deleted.

use std::process::ExitCode;

use weft_kube::crds;
use weft_kube::install;
use weft_kube::uninstall::{self, Injected, UninstallError};

use super::install::form;
use crate::args::UninstallArgs;
use crate::client::{Access, told};
use crate::failure::Failure;
use crate::print;

/// Prints what to delete.
pub(crate) fn run(access: &Access, args: &UninstallArgs) -> Result<ExitCode, Failure> {
    let (mut installed, definitions) = super::runtime()?.block_on(async {
        let client = access.cluster().await?.client;
        let installed = uninstall::installed(&client, &access.namespace).await.map_err(|error| told(&error))?;
        let definitions = install::definitions(&client).await.map_err(|error| told(&error))?;
        Ok::<_, Failure>((installed, definitions))
    })?;
    let injected = if args.force { Injected::Abandon } else { Injected::Refuse };
    if args.crds {
        let all = uninstall::definitions().into_iter().zip(&definitions);
        let ours = all.filter(|(_, found)| uninstall::is_deletable(crds::standing(found.as_ref())));
        // They may be all that is left.
        installed.objects.extend(ours.map(|(reference, _)| reference));
    }
    let objects = uninstall::references(&installed, injected).map_err(refused)?;
    print::manifests(&install::render(&objects, form(args.output)));
    Ok(ExitCode::SUCCESS)
}

fn refused(error: UninstallError) -> Failure {
    let hint = match &error {
        UninstallError::Injected { .. } => {
            "take the annotation from their namespaces and restart them, or abandon their proxies with --force"
        }
        UninstallError::Nothing(_) => "say where it is with -L NAMESPACE, or choose a cluster with --context",
    };
    Failure::new(error.to_string()).hint(hint)
}
