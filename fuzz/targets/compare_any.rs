//! Two inputs, both the fuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (published, rebuilt) = fuzz::seed::split(bytes);
    fuzz::check(published, rebuilt);
});
