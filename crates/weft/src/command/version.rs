//! `weft version`: this program's, the control plane's and the proxies'.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;
use weft_wire::proto::weft::v1::{ProxiesRequest, ProxyState, StatusRequest};

use crate::args::{Arguments, Format, VersionArgs};
use crate::failure::Failure;
use crate::home::Mesh;
use crate::{client, print};

/// Prints the versions. A mesh that doesn't answer is no failure: its version is unavailable.
pub(crate) fn run(arguments: &Arguments, args: &VersionArgs) -> Result<ExitCode, Failure> {
    let mut versions = Versions { client: env!("CARGO_PKG_VERSION"), server: None, proxies: Vec::new() };
    if !args.client {
        let mesh = Mesh::choose(arguments)?;
        crate::runtime::of_this_thread()?.block_on(async {
            match server(&mesh).await {
                Ok(server) => versions.server = Some(server),
                Err(failure) => return print::failure(&failure),
            }
            match proxies(&mesh, args).await {
                Ok(proxies) => versions.proxies = proxies,
                Err(failure) => print::failure(&failure),
            }
        });
    }
    match args.read.output {
        Format::Json => print::json(&versions),
        Format::Text => versions.lines(args).iter().for_each(|line| print::line(line)),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    server: Option<String>,
    proxies: Vec<Proxies>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Proxies {
    version: String,
    pods: usize,
}

impl Versions {
    fn lines(&self, args: &VersionArgs) -> Vec<String> {
        let label = |label: &str, version: &str| match args.short {
            true => print::tame(version),
            false => print::tame(&format!("{label} version: {version}")),
        };
        let mut lines = vec![label("Client", self.client)];
        if !args.client {
            lines.push(label("Server", self.server.as_deref().unwrap_or("unavailable")));
        }
        if args.proxy {
            lines.push("Proxy versions:".to_owned());
            let counted = |found: &Proxies| print::tame_lines(&format!("    {} ({} pods)", found.version, found.pods));
            lines.extend(self.proxies.iter().map(counted));
        }
        lines
    }
}

async fn server(mesh: &Mesh) -> Result<String, Failure> {
    let mut control = client::control(mesh).await?;
    let status =
        control.status(StatusRequest {}).await.map_err(|status| client::refused("ask for the version", &status))?;
    Ok(status.into_inner().version)
}

async fn proxies(mesh: &Mesh, args: &VersionArgs) -> Result<Vec<Proxies>, Failure> {
    if !args.proxy {
        return Ok(Vec::new());
    }
    let mut observer = client::observe(mesh).await?;
    let answer = observer.proxies(ProxiesRequest {}).await;
    let answer = answer.map_err(|status| client::refused("read the proxies", &status))?;
    Ok(by_version(&answer.into_inner().proxies, args.namespace.as_deref()))
}

fn by_version(proxies: &[ProxyState], namespace: Option<&str>) -> Vec<Proxies> {
    let is_asked = |proxy: &&ProxyState| {
        namespace.is_none_or(|namespace| proxy.workload.split_once('/').is_some_and(|(found, _)| found == namespace))
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for proxy in proxies.iter().filter(is_asked) {
        let version = proxy.health.as_ref().map_or("unknown", |health| &health.version);
        *counts.entry(version).or_default() += 1;
    }
    counts.into_iter().map(|(version, pods)| Proxies { version: version.to_owned(), pods }).collect()
}

#[cfg(test)]
mod tests {
    use weft_wire::proto::weft::v1::Health;

    use super::*;

    #[test]
    fn proxies_are_counted_by_version() {
        let proxy = |workload: &str, version: Option<&str>| ProxyState {
            workload: workload.to_owned(),
            health: version.map(|version| Health { version: version.to_owned(), ..Health::default() }),
            ..ProxyState::default()
        };
        let all = [proxy("a/x", Some("1")), proxy("a/y", Some("1")), proxy("b/x", Some("2")), proxy("b/y", None)];
        let told = |namespace| {
            let found = by_version(&all, namespace);
            found.iter().map(|found| format!("{} ({})", found.version, found.pods)).collect::<Vec<_>>()
        };
        assert_eq!(told(None), ["1 (2)", "2 (1)", "unknown (1)"]);
        assert_eq!(told(Some("a")), ["1 (2)"]);
    }
}
