//! What a proxy is told when it starts.

use weft_wire::bootstrap::Bootstrap;

/// `Bootstrap` as JSON.
///
/// # Panics
/// When a bootstrap isn't the same once written and read again.
pub fn wire_bootstrap(data: &[u8]) {
    let Ok(bootstrap) = serde_json::from_slice::<Bootstrap>(data) else { return };
    let written = serde_json::to_vec(&bootstrap).expect("a bootstrap can be written");
    let again: Bootstrap = serde_json::from_slice(&written).expect("a bootstrap that was written can be read");
    assert_eq!(again, bootstrap);
}
