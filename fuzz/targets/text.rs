//! A text against the fuzzer's bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::check(&fuzz::seed::genuine_text(), bytes));
