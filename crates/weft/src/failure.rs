//! What a command says when it can't do its work: one line that names what failed and why, and
//! one that names what to do.

use std::error::Error;
use std::fmt::Display;
use std::io;

use nix::errno::Errno;
use weft_capture::CaptureError;

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What failed, and why.
    pub(crate) message: String,
    /// What to try next.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Adds what to try next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Turns an error into a [`Failure`] that names what was being done.
pub(crate) trait Context<T> {
    /// `what: error`, and what to do where that is known.
    fn context(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> Context<T> for Result<T, E> {
    fn context(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure { message: format!("{what}: {}", chain(&error)), hint: remedy(&error) })
    }
}

/// What to do about an error, by the first of its causes for which that is known.
fn remedy(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(refused) = error.downcast_ref::<CaptureError>() {
        return refused.hint();
    }
    let by_kernel = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).map(Errno::from_raw);
    let known = by_kernel.or_else(|| error.downcast_ref::<Errno>().copied()).and_then(remedy_of);
    // An error of I/O that wraps another passes it over as its source.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map(|inner| inner as &dyn Error);
    known.map(str::to_owned).or_else(|| wrapped.or_else(|| error.source()).and_then(remedy))
}

fn remedy_of(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EMFILE => Some("raise the limit of open files: `ulimit -n 1024`, or LimitNOFILE of a systemd unit"),
        Errno::ENOSPC | Errno::EDQUOT => Some("free some space, or name another folder with --state-dir DIR"),
        Errno::EROFS => Some("name a folder that can be written to with --state-dir DIR or WEFT_STATE_DIR"),
        _ => None,
    }
}

/// An error and its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_told_wherever_the_cause_stands() {
        let hint = |errno: Errno| {
            let outer = io::Error::other(io::Error::from(errno));
            Err::<(), _>(outer).context("write").unwrap_err().hint.unwrap_or_default()
        };
        assert!(hint(Errno::ENOSPC).contains("--state-dir"));
        assert!(hint(Errno::EMFILE).contains("ulimit -n"));
        assert_eq!(hint(Errno::EINVAL), "");
        assert!(Err::<(), _>(Errno::EROFS).context("write").unwrap_err().hint.is_some());
    }
}
