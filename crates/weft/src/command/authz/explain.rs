//! `weft authz explain`: whether a call is allowed, and by which rule of which file.

use std::path::Path;
use std::process::ExitCode;

use weft_mesh::record::Inbound;

use super::policies::Policies;
use super::question::{Answer, Question, Request, answer};
use super::{report, running};
use crate::args::{ExplainArgs, Format, Target};
use crate::failure::Failure;
use crate::home::Home;
use crate::print;

/// Answers one question.
pub(super) fn run(state_dir: Option<&Path>, args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let (inbounds, problems) = match &args.folder {
        Some(folder) => {
            let policies = Policies::read(folder, None, &args.trust_domain)?;
            (vec![policies.inbound(&args.to)?], policies.problems)
        }
        None => running::inbounds(&Home::find(state_dir)?, &args.to)?,
    };
    for problem in &problems {
        print::note(problem);
    }
    let answer = common(&args.to, &inbounds, &question(args, &inbounds))?;
    match args.read.output {
        Format::Text => report::answer_lines(&answer),
        Format::Json => report::answer_json(&answer, &problems),
    }
    Ok(ExitCode::SUCCESS)
}

fn question(args: &ExplainArgs, inbounds: &[Inbound]) -> Question {
    let request = Request {
        method: args.method.clone(),
        target: args.path.clone(),
        host: args.host.clone(),
        headers: args.headers.clone(),
    };
    Question {
        caller: args.from.clone(),
        source_ip: args.from_ip,
        port: args.port.unwrap_or_else(|| usual_port(inbounds)),
        sni: args.sni.clone(),
        protocol: args.protocol,
        request: (request != Request::default()).then_some(request),
    }
}

/// The only port that the workloads declare; where they declare none or several, HTTP's.
fn usual_port(inbounds: &[Inbound]) -> u16 {
    let mut declared = inbounds.iter().flat_map(|inbound| &inbound.ports).map(|port| port.port);
    match declared.next() {
        Some(first) if declared.all(|port| port == first) => first,
        _ => HTTP_PORT,
    }
}

/// The answer that holds for each of the workloads.
fn common(target: &Target, inbounds: &[Inbound], question: &Question) -> Result<Answer, Failure> {
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

const HTTP_PORT: u16 = 80;
