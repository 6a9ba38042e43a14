//! What must hold of each parser that meets the network or a user's file, whatever the bytes are.
//!
//! A body is a plain function that panics when a promise is broken: not only "no panic", but that
//! what was read can be written and read again, that splits change nothing, that damage opens
//! nothing. The tests replay and mutate `fuzz/corpus` and `fuzz/crashes` through every body on
//! stable Rust; the programs in `fuzz/fuzz_targets` hand the same bodies to libFuzzer.

#![forbid(unsafe_code)]

mod capture_resolv;
mod http_authority;
mod http_body;
mod http_bridge;
mod http_detect;
mod http_forwarded;
mod http_request;
mod http_response;
mod http_tls_hello;
mod identity_authority;
mod identity_certificate;
mod identity_chain;
mod identity_csr;
mod identity_protection;
mod kube_manifest;
mod kube_review;
mod kube_setting;
mod mesh_name;
mod mesh_path;
mod mesh_template;
mod resources_object;
mod resources_policy;
mod resources_value;
mod support;
mod wire_answer;
mod wire_bootstrap;
mod wire_frame;
mod wire_head;
mod wire_maker;
mod wire_record;

pub use capture_resolv::capture_resolv;
pub use http_authority::http_authority;
pub use http_body::http_body;
pub use http_bridge::http_bridge;
pub use http_detect::http_detect;
pub use http_forwarded::http_forwarded;
pub use http_request::http_request;
pub use http_response::http_response;
pub use http_tls_hello::http_tls_hello;
pub use identity_authority::identity_authority;
pub use identity_certificate::identity_certificate;
pub use identity_chain::identity_chain;
pub use identity_csr::identity_csr;
pub use identity_protection::identity_protection;
pub use kube_manifest::kube_manifest;
pub use kube_review::kube_review;
pub use kube_setting::kube_setting;
pub use mesh_name::mesh_name;
pub use mesh_path::mesh_path;
pub use mesh_template::mesh_template;
pub use resources_object::resources_object;
pub use resources_policy::resources_policy;
pub use resources_value::resources_value;
pub use wire_answer::wire_answer;
pub use wire_bootstrap::wire_bootstrap;
pub use wire_frame::wire_frame;
pub use wire_head::wire_head;
pub use wire_maker::wire_maker;
pub use wire_record::wire_record;

/// A body: panics when `data` breaks a promise of its parser.
pub type Body = fn(data: &[u8]);

/// Every body by its name, which is also that of its file, its libFuzzer target and its seeds.
pub const TARGETS: [(&str, Body); 29] = [
    ("capture_resolv", capture_resolv),
    ("http_authority", http_authority),
    ("http_body", http_body),
    ("http_bridge", http_bridge),
    ("http_detect", http_detect),
    ("http_forwarded", http_forwarded),
    ("http_request", http_request),
    ("http_response", http_response),
    ("http_tls_hello", http_tls_hello),
    ("identity_authority", identity_authority),
    ("identity_certificate", identity_certificate),
    ("identity_chain", identity_chain),
    ("identity_csr", identity_csr),
    ("identity_protection", identity_protection),
    ("kube_manifest", kube_manifest),
    ("kube_review", kube_review),
    ("kube_setting", kube_setting),
    ("mesh_name", mesh_name),
    ("mesh_path", mesh_path),
    ("mesh_template", mesh_template),
    ("resources_object", resources_object),
    ("resources_policy", resources_policy),
    ("resources_value", resources_value),
    ("wire_answer", wire_answer),
    ("wire_bootstrap", wire_bootstrap),
    ("wire_frame", wire_frame),
    ("wire_head", wire_head),
    ("wire_maker", wire_maker),
    ("wire_record", wire_record),
];
