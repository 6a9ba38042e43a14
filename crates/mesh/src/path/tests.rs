//! The rows of Istio's normalization table, and targets that it doesn't speak of.

use super::Normalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};
use super::*;

#[track_caller]
fn check(n: Normalization, target: &str, expected: &str) {
    assert_eq!(normalize(target, n).as_deref(), Ok(expected), "{target} by {n:?}");
}

/// A target, and what each normalization makes of it.
const TABLE: [(&str, [&str; 4]); 16] = [
    ("/", ["/", "/", "/", "/"]),
    ("/app#foo", ["/app", "/app", "/app", "/app"]),
    ("/app/", ["/app/", "/app/", "/app/", "/app/"]),
    ("/app/../admin", ["/app/../admin", "/admin", "/admin", "/admin"]),
    ("/app", ["/app", "/app", "/app", "/app"]),
    ("/app//", ["/app//", "/app//", "/app/", "/app/"]),
    ("/app/%2f", ["/app/%2f", "/app/%2f", "/app/%2f", "/app/"]),
    ("/app%2f/", ["/app%2f/", "/app%2f/", "/app%2f/", "/app/"]),
    ("/xyz%30..//abc", ["/xyz%30..//abc", "/xyz0..//abc", "/xyz0../abc", "/xyz0../abc"]),
    ("/app/%2E./admin", ["/app/%2E./admin", "/admin", "/admin", "/admin"]),
    (r"/app\admin", [r"/app\admin", "/app/admin", "/app/admin", "/app/admin"]),
    (r"/app/\/\/\admin", [r"/app/\/\/\admin", "/app//////admin", "/app/admin", "/app/admin"]),
    (
        "/%2Fapp%5cadmin%5Cabc",
        ["/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/app/admin/abc"],
    ),
    (
        r"/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\abc",
        [
            r"/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\abc",
            "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
            "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
            "/app/admin/abc",
        ],
    ),
    ("/app//../admin", ["/app//../admin", "/app/admin", "/app/admin", "/app/admin"]),
    ("/app//../../admin", ["/app//../../admin", "/admin", "/admin", "/admin"]),
];

#[test]
fn each_normalization_does_what_istios_does() {
    for (target, expected) in TABLE {
        for (n, expected) in [None, Base, MergeSlashes, DecodeAndMergeSlashes].into_iter().zip(expected) {
            check(n, target, expected);
        }
    }
    check(DecodeAndMergeSlashes, "/%c0%2e%c0%2e/admin", "/%c0.%c0./admin");
    check(DecodeAndMergeSlashes, "/%c0%2fadmin", "/%c0/admin");
}

#[test]
fn what_only_looks_like_dots_and_slashes_stays() {
    for target in [
        "/0x2e0x2e/admin",
        "/0x2e0x2e0x2fadmin",
        "/0x2e0x2e0x5cadmin",
        "/0x2f0x2fadmin",
        "/0x5c0x5cadmin",
        "/%25c0%25ae%25c1%259cadmin",
        "/%25c0%25ae%25c0%25ae/admin",
        "/%25c0%25afadmin",
        "/%25c1%259cadmin",
        "/%252e%252e/admin",
        "/%252e%252e%252fadmin",
        "/%c1%9cadmin",
        "/%c0%ae%c0%ae/admin",
        "/%c0%afadmin",
        "/.../admin",
        "/..../admin",
        "/..;/admin",
        "/;/admin",
        "/admin;a=b",
        "/admin;a=b/xyz",
        "/admin,a=b/xyz",
        "/Admin",
        "/ADMIN",
    ] {
        check(DecodeAndMergeSlashes, target, target);
    }
}

#[test]
fn only_unreserved_characters_and_slashes_are_decoded() {
    for byte in 1..=u8::MAX {
        let target = format!("/admin%{byte:02x}");
        let expected = match byte {
            b'/' | b'\\' => "/admin/".to_owned(),
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => format!("/admin{}", byte as char),
            _ => target.clone(),
        };
        check(DecodeAndMergeSlashes, &target, &expected);
        let kept = matches!(byte, b'/' | b'\\');
        check(Base, &target, if kept { &target } else { &expected });
    }
}

#[test]
fn dots_at_the_ends_are_resolved() {
    for (target, expected) in [
        ("/.", "/"),
        ("/..", "/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/../../a", "/a"),
        ("/./a/./b", "/a/b"),
        ("//..", "/"),
        ("/a/..//b", "//b"),
        ("/.well-known/x", "/.well-known/x"),
    ] {
        check(Base, target, expected);
    }
    check(MergeSlashes, "/a/..//b", "/b");
}

#[test]
fn the_query_stays_and_the_fragment_goes() {
    check(Base, "/a/../b?x=/../%2e//#f", "/b?x=/../%2e//");
    check(DecodeAndMergeSlashes, "/a?", "/a?");
    check(Base, "/a?x#y?z", "/a?x");
    check(Base, "/a%23b", "/a%23b");
    check(Base, "/#%00", "/");
    assert_eq!(without_query("/a?b?c"), "/a");
    assert_eq!(without_query("/a"), "/a");
}

#[test]
fn decoding_never_makes_a_new_escape() {
    for target in ["/%2%65%2%65/admin", "/%%32e", "/%2%66", "/%5%43", "/a%", "/a%2", "/%zz", "/%%"] {
        check(DecodeAndMergeSlashes, target, target);
    }
    check(Base, "/%2%2e", "/%2.");
    check(Base, "/%25%41", "/%25A");
    check(Base, "/%%32%65", "/%%32e");
}

#[test]
fn a_nul_is_refused_wherever_the_path_is_read() {
    for n in [Base, MergeSlashes, DecodeAndMergeSlashes] {
        assert_eq!(normalize("/admin%00", n), Err(PathError::Nul));
    }
    assert_eq!(normalize("/a\0", None), Err(PathError::Nul));
    check(None, "/admin%00", "/admin%00");
    check(Base, "/admin%2500", "/admin%2500");
    check(Base, "/admin?%00", "/admin?%00");
}

#[test]
fn other_forms_pass_or_are_refused() {
    check(Base, "*", "*");
    check(Base, "shop.example:443", "shop.example:443");
    check(Base, "[::1]:443", "[::1]:443");
    for target in ["", "#a", "?a", r"\admin", "a/../b", "http://shop/", "%2fadmin"] {
        assert!(matches!(normalize(target, Base), Err(PathError::Form(_))), "{target}");
    }
}

#[test]
fn a_plain_path_is_borrowed() {
    for n in [None, Base, MergeSlashes, DecodeAndMergeSlashes] {
        assert!(matches!(normalize("/shop/cart?id=1#top", n), Ok(Cow::Borrowed("/shop/cart?id=1"))));
    }
}
