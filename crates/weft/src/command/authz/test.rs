//! `weft authz test`: a team's expectations, checked against a folder's policies.

use std::process::ExitCode;

use super::policies::Policies;
use super::question::answer;
use super::report::Outcome;
use super::{cases, junit, report};
use crate::args::{ReportFormat, TestArgs};
use crate::failure::{Context, Failure};
use crate::print;

/// Checks every case. Exits with 0 when all came out as expected, with 1 when one differs, with 2
/// when the cases or the folder can't be used.
pub(super) fn run(args: &TestArgs) -> Result<ExitCode, Failure> {
    let (outcomes, problems) = match outcomes(args) {
        Ok(found) => found,
        Err(failure) => {
            print::failure(&failure);
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    for problem in &problems {
        print::note(problem);
    }
    let file = args.cases.display().to_string();
    match args.output {
        ReportFormat::Text => report::outcome_lines(&outcomes, &file),
        ReportFormat::Json => report::outcome_json(&outcomes, &problems),
        ReportFormat::Junit => print::line(&junit::report(&outcomes, &file, &problems)),
    }
    Ok(if outcomes.iter().all(Outcome::ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of each case, and what is wrong with the folder.
fn outcomes(args: &TestArgs) -> Result<(Vec<Outcome>, Vec<String>), Failure> {
    let file = args.cases.display().to_string();
    let bytes = std::fs::read(&args.cases).context(&file)?;
    let cases = cases::parse(&file, &bytes).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(lines.join("\n")).hint("the form of a case: weft authz test --help")
    })?;
    let policies = Policies::read(&args.folder, Some(&args.cases), &args.trust_domain)?;
    let outcome = |case: cases::Case| {
        let answer = answer(&policies.inbound(&case.to)?, &case.question);
        Ok(Outcome { case, answer })
    };
    Ok((cases.into_iter().map(outcome).collect::<Result<_, Failure>>()?, policies.problems))
}

/// The exit status for input that can't be used, as for arguments that can't be.
const UNUSABLE: u8 = 2;
