//! `weft authz explain`: whether a call is allowed, and by which rule of which file.

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use weft_mesh::record::Inbound;
use weft_mesh::{SpiffeId, TrustDomain};

use super::cluster::{self, Found};
use super::policies::Policies;
use super::question::{Answer, Question, Request, answer, usual_port};
use super::{report, running};
use crate::args::{Arguments, Callee, Caller, ExplainArgs, Format, Resources, Target};
use crate::failure::{Context, Failure};
use crate::home::Mesh;
use crate::print;

/// Answers one question.
pub(super) fn run(arguments: &Arguments, args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let Found { caller, address, inbounds, problems } = match &args.folder {
        Some(folder) => {
            let policies = Policies::read(folder, None, &args.trust_domain)?;
            let inbounds = vec![policies.inbound_of(target(args)?)?];
            Found { caller: caller(args, &args.trust_domain)?, address: None, inbounds, problems: policies.problems }
        }
        None => match Mesh::choose(arguments)? {
            Mesh::Local(home) => {
                let (inbounds, problems) = running::inbounds(&home, target(args)?)?;
                let domain = inbounds.first().and_then(|inbound| inbound.identity.trust_domain().parse().ok());
                Found { caller: caller(args, &domain.unwrap_or_default())?, address: None, inbounds, problems }
            }
            Mesh::Cluster(access) => cluster::find(&access, args)?,
        },
    };
    for problem in &problems {
        print::note(problem);
    }
    let address = args.from_ip.or(address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let answer = common(&args.to, &inbounds, &question(args, (caller, address), &inbounds))?;
    match args.read.output {
        Format::Text => report::answer_lines(&answer),
        Format::Json => report::answer_json(&answer, &problems),
    }
    Ok(ExitCode::SUCCESS)
}

/// The workload that is called, outside of clusters.
fn target(args: &ExplainArgs) -> Result<&Target, Failure> {
    match &args.to {
        Callee::Target(target) => Ok(target),
        Callee::Resource(resources) => Err(only_in_clusters("--to", resources)),
    }
}

/// Who calls, outside of clusters.
fn caller(args: &ExplainArgs, domain: &TrustDomain) -> Result<Option<SpiffeId>, Failure> {
    match &args.from {
        None => Ok(None),
        Some(Caller::Identity(identity)) => Ok(Some(identity.clone())),
        Some(Caller::Account { namespace, name }) => {
            SpiffeId::new(domain, namespace, name).map(Some).context(format!("--from {namespace}/{name}"))
        }
        Some(Caller::Resource(resources)) => Err(only_in_clusters("--from", resources)),
    }
}

fn only_in_clusters(flag: &str, resources: &Resources) -> Failure {
    Failure::new(format!("{flag}: {resources} is asked of a cluster, and none is meant here"))
        .hint("name NAMESPACE/NAME, or a cluster with --context NAME")
}

fn question(args: &ExplainArgs, (caller, source_ip): (Option<SpiffeId>, IpAddr), inbounds: &[Inbound]) -> Question {
    let request = Request {
        method: args.method.clone(),
        target: args.path.clone(),
        host: args.host.clone(),
        headers: args.headers.clone(),
    };
    Question {
        caller,
        source_ip,
        port: args.port.unwrap_or_else(|| usual_port(inbounds)),
        sni: args.sni.clone(),
        protocol: args.protocol,
        request: (request != Request::default()).then_some(request),
    }
}

/// The answer that holds for each of the workloads.
fn common(target: &Callee, inbounds: &[Inbound], question: &Question) -> Result<Answer, Failure> {
    let mut answers: Vec<Answer> = inbounds.iter().map(|inbound| answer(inbound, question)).collect();
    let decided = |answer: &Answer| (answer.verdict, answer.rule.clone());
    if answers.windows(2).any(|pair| decided(&pair[0]) != decided(&pair[1])) {
        let each =
            inbounds.iter().zip(&answers).map(|(inbound, answer)| format!("{}: {}", inbound.workload, answer.verdict));
        let each = each.collect::<Vec<_>>().join(", ");
        return Err(Failure::new(format!(
            "workload {target}: expected replicas that are governed alike, found {each}"
        ))
        .hint(format!("name one of them: --to {}", inbounds[0].workload)));
    }
    if answers.is_empty() {
        return Err(Failure::new(format!("workload {target}: expected one that runs, found none")));
    }
    Ok(answers.remove(0))
}
