//! What several bodies share. No parser's promises stand here.

pub(crate) mod authority;
pub(crate) mod calls;
pub(crate) mod input;
