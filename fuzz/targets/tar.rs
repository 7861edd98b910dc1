//! A tar against the fuzzer's bytes, the checksums of whose headers are made right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::check(&fuzz::seed::genuine_tar(), &fuzz::seed::with_checksums(bytes));
});
