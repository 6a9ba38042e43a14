//! The chain that an authority sends for a key.

use weft_identity::{Credential, LeafKey};

use crate::support::authority::now;

/// `Credential::new` on texts that zero bytes part.
///
/// # Panics
/// When a chain for a key that was made just now comes out of bytes that can't know it.
pub fn identity_chain(data: &[u8]) {
    let chain: Vec<String> =
        data.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let key = LeafKey::generate().expect("a key can be made");
    assert!(Credential::new(key, &chain, now()).is_err());
}
