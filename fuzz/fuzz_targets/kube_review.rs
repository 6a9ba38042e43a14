//! Hands `weft_fuzz_bodies::kube_review` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weft_fuzz_bodies::kube_review(data));
