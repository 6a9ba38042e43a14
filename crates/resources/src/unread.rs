//! A file of which nothing could be read.

use crate::document::Yield;
use crate::kinds::PolicyKind;
use crate::parse::{Parsed, fault};
use crate::salvage::Remains;
use crate::yaml::Place;

/// What stands for a manifest that can't be read, for the reason that `message` tells: any policy
/// may be in it, so a broken one of each kind is.
pub fn unreadable(file: &str, message: String) -> Parsed {
    let mut found = Yield::default();
    found.broken(fault(file, Place::default(), message), PolicyKind::ALL.into_iter().map(Remains::unknown).collect());
    found.into_parsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_may_stand_in_a_file_that_cannot_be_read() {
        let parsed = unreadable("a.yaml", "permission denied".to_owned());
        let kinds: Vec<&str> = parsed.resources.iter().map(|resource| resource.kind()).collect();
        assert_eq!(kinds, ["AuthorizationPolicy", "PeerAuthentication"]);
        let defects: Vec<Option<&str>> = parsed.resources.iter().map(|resource| resource.defect()).collect();
        assert_eq!(defects, [Some("a.yaml: permission denied"); 2]);
        assert!(parsed.resources.iter().all(|resource| resource.meta().namespace.is_none()));
        assert_eq!(parsed.problems.len(), 1);
    }
}
