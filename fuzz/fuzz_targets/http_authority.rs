//! Hands `weft_fuzz_bodies::http_authority` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weft_fuzz_bodies::http_authority(data));
