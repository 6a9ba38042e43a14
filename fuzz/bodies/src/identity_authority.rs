//! An authority's kept state: damaged, it is refused, or it is the same authority.

use weft_identity::{Authority, AuthorityPem};

use crate::support::authority::AUTHORITY;
use crate::support::input::{choice, number};

/// `Authority::from_pem` on one of the four texts, changed: the first byte says which one and how,
/// two more where; the rest is what is put there.
///
/// # Panics
/// When an authority is taken up that isn't the same once kept and taken up again, or whose key
/// isn't the one that its issuer's certificate names.
pub fn identity_authority(data: &[u8]) {
    let (kind, rest) = choice(data);
    let (place, bytes) = number(rest);
    let mut pem = AUTHORITY.to_pem().expect("a new authority has its root's key");
    let text = match kind & 3 {
        0 => &mut pem.root_certificate,
        1 => &mut pem.root_key,
        2 => &mut pem.issuer_certificate,
        _ => &mut pem.issuer_key,
    };
    // PEM is ASCII, and every place a boundary.
    let place = place % (text.len() + 1);
    let put = String::from_utf8_lossy(bytes);
    match kind >> 2 & 3 {
        0 => *text = put.into_owned(),
        1 => text.insert_str(place, &put),
        2 => text.truncate(place),
        _ => text.replace_range(place..(place + put.len()).min(text.len()), &put),
    }
    check(pem);
}

fn check(pem: AuthorityPem) {
    let Ok(authority) = Authority::from_pem(pem) else { return };
    let kept = authority.to_pem().expect("the root's key came with it");
    let again = Authority::from_pem(kept).expect("an authority that was kept can be taken up");
    assert_eq!((again.root(), again.issuer()), (authority.root(), authority.issuer()));
    assert_eq!(again.anchors(), authority.anchors());
    assert!(authority.issuer().authority && authority.root().authority);
    assert_eq!(authority.issuer(), AUTHORITY.issuer(), "another issuer was taken for the root's own");
}
