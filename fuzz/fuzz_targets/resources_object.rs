//! Hands `weft_fuzz_bodies::resources_object` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weft_fuzz_bodies::resources_object(data));
