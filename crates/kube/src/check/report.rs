//! What a check found, and the list that it stands in: the same for people and for programs.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::Stop;

/// What isn't as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What to do.
    pub hint: String,
}

impl Problem {
    /// What is wrong, and what to do.
    pub fn new(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: hint.into() }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Fine,
    /// Worth knowing; nothing fails for it.
    Warns(Problem),
    /// It fails now, and may come right by itself.
    Waits(Problem),
    /// It fails until somebody acts.
    Fails(Problem),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What should be so.
    pub description: String,
    /// Whether it is.
    pub finding: Finding,
}

/// Checks that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Category {
    /// Its name.
    #[serde(rename = "categoryName")]
    pub name: &'static str,
    /// In order.
    pub checks: Vec<Check>,
}

/// All that was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In order.
    pub categories: Vec<Category>,
}

impl Report {
    /// Whether nothing fails.
    pub fn success(&self) -> bool {
        !self.findings().any(|finding| matches!(finding, Finding::Waits(_) | Finding::Fails(_)))
    }

    /// Whether all that fails may come right by itself.
    pub fn only_waits(&self) -> bool {
        !self.success() && !self.findings().any(|finding| matches!(finding, Finding::Fails(_)))
    }

    /// What the first failing check wants to be so.
    pub fn first_failure(&self) -> Option<&str> {
        let mut checks = self.categories.iter().flat_map(|category| &category.checks);
        let failing = checks.find(|check| matches!(check.finding, Finding::Waits(_) | Finding::Fails(_)));
        failing.map(|check| check.description.as_str())
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.categories.iter().flat_map(|category| &category.checks).map(|check| &check.finding)
    }

    /// Opens a category.
    pub(super) fn category(&mut self, name: &'static str) {
        self.categories.push(Category { name, checks: Vec::new() });
    }

    /// Adds a line.
    pub(super) fn check(&mut self, description: impl Into<String>, finding: Finding) {
        let check = Check { description: description.into(), finding };
        match self.categories.last_mut() {
            Some(category) => category.checks.push(check),
            None => self.categories.push(Category { name: "weft", checks: vec![check] }),
        }
    }

    /// Adds a line on which the rest depends.
    pub(super) fn must(&mut self, description: impl Into<String>, finding: Finding) -> Result<(), Stop> {
        let goes_on = matches!(finding, Finding::Fine | Finding::Warns(_));
        self.check(description, finding);
        if goes_on { Ok(()) } else { Err(Stop) }
    }
}

impl Finding {
    /// What isn't as it should be.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Fine => None,
            Self::Warns(problem) | Self::Waits(problem) | Self::Fails(problem) => Some(problem),
        }
    }

    /// In the words of the JSON form.
    pub fn result(&self) -> &'static str {
        match self {
            Self::Fine => "success",
            Self::Warns(_) => "warning",
            Self::Waits(_) | Self::Fails(_) => "error",
        }
    }

    /// Fine unless there is a problem, which warns.
    pub(super) fn warns_if(problem: Option<Problem>) -> Self {
        problem.map_or(Self::Fine, Self::Warns)
    }

    /// Fine unless there is a problem, which fails.
    pub(super) fn fails_if(problem: Option<Problem>) -> Self {
        problem.map_or(Self::Fine, Self::Fails)
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut report = serializer.serialize_struct("Report", 2)?;
        report.serialize_field("success", &self.success())?;
        report.serialize_field("categories", &self.categories)?;
        report.end()
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let problem = self.finding.problem();
        let mut check = serializer.serialize_struct("Check", 2 + 2 * usize::from(problem.is_some()))?;
        check.serialize_field("description", &self.description)?;
        if let Some(problem) = problem {
            check.serialize_field("hint", &problem.hint)?;
            check.serialize_field("error", &problem.error)?;
        }
        check.serialize_field("result", self.finding.result())?;
        check.end()
    }
}
