//! What a connection speaks, told by declaration or by its first bytes. A protocol whose server
//! speaks first never waits here: whoever calls this has the other side dialled meanwhile.

use weft_mesh::record::AppProtocol;

/// What a connection is treated as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Opaque bytes.
    Tcp,
}

impl Spoken {
    /// What is settled by declaration alone. Everything is carried as opaque bytes so far.
    pub(crate) fn declared(_protocol: AppProtocol) -> Self {
        Self::Tcp
    }
}
