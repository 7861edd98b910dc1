//! A zip against the fuzzer's bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::check(&fuzz::seed::genuine_zip(), bytes));
