//! Answers on paper: lines for people, JSON for programs (the shapes that `weft authz` promises).

use serde::Serialize;
use weft_mesh::decide::Decision;
use weft_mesh::explain::RulePlace;

use super::cases::Case;
use super::question::Answer;
use crate::print::{self, Stream};

/// A case and what came.
pub(super) struct Outcome {
    /// The case.
    pub(super) case: Case,
    /// What came.
    pub(super) answer: Answer,
}

impl Outcome {
    /// Whether it is what was expected.
    pub(super) fn ok(&self) -> bool {
        self.case.expect == self.answer.verdict
    }
}

/// `default/payments rule 0 at payments.yaml:12`, or that no rule decided.
pub(super) fn decided_by(answer: &Answer) -> String {
    let Some(rule) = &answer.rule else { return "no rule".to_owned() };
    let place = match (rule.file.as_str(), rule.line) {
        ("", _) => String::new(),
        (file, 0) => format!(" at {file}"),
        (file, line) => format!(" at {file}:{line}"),
    };
    format!("{} rule {}{place}", rule.policy, rule.index)
}

/// Prints one answer.
pub(super) fn answer_lines(answer: &Answer) {
    let (color, padding) = match answer.verdict {
        Decision::Allow => ("32", " "),
        Decision::Deny => ("31", "  "),
    };
    let verdict = print::paint(Stream::Out, color, &answer.verdict.to_string());
    print::line(&format!("{verdict}{padding}{}", decided_by(answer)));
    for line in std::iter::once(&answer.reason).chain(&answer.notes) {
        print::line(&format!("      {line}"));
    }
}

/// Prints one answer as JSON.
pub(super) fn answer_json(answer: &Answer, problems: &[String]) {
    print::json(&AnswerJson {
        verdict: answer.verdict.to_string(),
        rule: answer.rule.as_ref().map(RuleJson::from),
        reason: answer.whole_reason(),
        problems,
    });
}

/// Prints the cases that differ, and how many do. `file` is the cases' file.
pub(super) fn outcome_lines(outcomes: &[Outcome], file: &str) {
    let different: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.ok()).collect();
    for Outcome { case, answer } in &different {
        let head = print::paint(Stream::Out, "31", "differs");
        print::line(&format!("{head}  {} ({file}:{})", one_line(&case.name), case.line));
        print::line(&format!("         expected {}, found {}: {}", case.expect, answer.verdict, decided_by(answer)));
        print::line(&format!("         {}", answer.whole_reason()));
    }
    let count = match outcomes.len() {
        1 => "1 case".to_owned(),
        count => format!("{count} cases"),
    };
    match different.len() {
        0 => print::line(&format!("{count}, {}", print::paint(Stream::Out, "32", "all as expected"))),
        1 => print::line(&format!("{count}, 1 differs")),
        differ => print::line(&format!("{count}, {differ} differ")),
    }
}

/// Prints all cases as JSON.
pub(super) fn outcome_json(outcomes: &[Outcome], problems: &[String]) {
    let case = |outcome: &'_ Outcome| CaseJson {
        name: outcome.case.name.clone(),
        expect: outcome.case.expect.to_string(),
        verdict: outcome.answer.verdict.to_string(),
        ok: outcome.ok(),
        rule: outcome.answer.rule.as_ref().map(RuleJson::from),
        reason: outcome.answer.whole_reason(),
    };
    print::json(&CasesJson { cases: outcomes.iter().map(case).collect(), problems });
}

/// Escapes what would break the line or the terminal.
fn one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[derive(Serialize)]
struct AnswerJson<'p> {
    verdict: String,
    rule: Option<RuleJson>,
    reason: String,
    problems: &'p [String],
}

#[derive(Serialize)]
struct CasesJson<'p> {
    cases: Vec<CaseJson>,
    problems: &'p [String],
}

#[derive(Serialize)]
struct CaseJson {
    name: String,
    expect: String,
    verdict: String,
    ok: bool,
    rule: Option<RuleJson>,
    reason: String,
}

#[derive(Serialize)]
struct RuleJson {
    policy: String,
    index: u32,
    file: String,
    line: u32,
}

impl From<&RulePlace> for RuleJson {
    fn from(rule: &RulePlace) -> Self {
        Self { policy: rule.policy.clone(), index: rule.index, file: rule.file.clone(), line: rule.line }
    }
}
