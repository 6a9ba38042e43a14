//! How a launcher says which workload of the folder it was started for: a text that outlives the control plane
//! that started it. Pure.

use std::fmt;
use std::str::FromStr;

/// One replica's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) index: u16,
}

/// A place and which text of its workload runs there: `NAMESPACE/NAME/INDEX@REVISION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) place: Place,
    pub(crate) revision: u64,
}

impl Place {
    pub(crate) fn new(namespace: &str, name: &str, index: u16) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), index }
    }

    /// The workload that it is a replica of.
    pub(crate) fn service(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place: Place { namespace, name, index }, revision } = self;
        write!(f, "{namespace}/{name}/{index}@{revision:016x}")
    }
}

/// A text that is no owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoOwner;

impl FromStr for Owner {
    type Err = NoOwner;

    fn from_str(text: &str) -> Result<Self, NoOwner> {
        let (place, revision) = text.split_once('@').ok_or(NoOwner)?;
        let mut parts = place.split('/');
        let (Some(namespace), Some(name), Some(index), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoOwner);
        };
        let index = index.parse().map_err(|_| NoOwner)?;
        let revision = u64::from_str_radix(revision, 16).map_err(|_| NoOwner)?;
        Ok(Self { place: Place::new(namespace, name, index), revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_the_way() {
        let owner = Owner { place: Place::new("shop", "web", 3), revision: 0xfeed };
        assert_eq!(owner.to_string(), "shop/web/3@000000000000feed");
        assert_eq!(owner.to_string().parse(), Ok(owner));
        for wrong in ["", "shop/web/3", "shop/web@1", "shop/web/x@1", "shop/web/3@y", "a/b/c/4@1"] {
            assert_eq!(wrong.parse::<Owner>(), Err(NoOwner), "{wrong}");
        }
    }
}
