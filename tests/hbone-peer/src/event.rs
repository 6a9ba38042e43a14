//! What the peer tells about itself: JSON objects, one a line, each with a field `event`.

use std::sync::Arc;

use serde_json::Value;

/// Where events go; called from the connection's own task.
pub type Events = Arc<dyn Fn(Value) + Send + Sync>;
