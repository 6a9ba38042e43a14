//! What reading one annotation came to.

/// What an annotation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is in the settings, asks for what is so anyway, or is read elsewhere.
    Taken,
    /// It changes nothing, for this reason.
    Void(String),
    /// It can't be understood, for this reason, and closes what it may have been meant to close.
    Closes(String),
    /// No mesh knows it.
    Unknown,
    /// It is of no concern here.
    Foreign,
}

impl Effect {
    pub(super) fn void(reason: &str) -> Self {
        Self::Void(reason.to_owned())
    }
}
