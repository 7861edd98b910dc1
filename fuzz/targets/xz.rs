//! A tar in xz against the fuzzer's bytes.
#![no_main]

use std::sync::LazyLock;

/// The encoder takes megabytes, so it runs once.
static GENUINE: LazyLock<Vec<u8>> = LazyLock::new(|| fuzz::make::xz(&fuzz::seed::genuine_tar(), 0));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::check(&GENUINE, bytes));
