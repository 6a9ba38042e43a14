//! Programs of the folder that don't run just now, and how they ended.

use std::time::Duration;

use crate::owner::Place;

/// How a launcher ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By itself, with this code.
    Code(i32),
    /// By a signal, or nobody knows how.
    Signal(Option<i32>),
}

/// A place at which nothing runs, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idle {
    pub(crate) place: Place,
    pub(crate) outcome: Outcome,
    /// How long until it is started again; `None`: it isn't.
    pub(crate) wait: Option<Duration>,
    pub(crate) command: Vec<String>,
}
