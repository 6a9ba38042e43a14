//! YAML as users write it, with the place of every value: split into documents, parsed within
//! bounds, resolved to the few types that JSON has. Nothing here knows a kind or a field.

mod node;
mod scalar;
mod split;
mod tree;

pub use node::{Entry, Node, Place, Value};
pub(crate) use split::{BYTE_ORDER_MARK, Chunk, split};
pub(crate) use tree::{Budget, read};
