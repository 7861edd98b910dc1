//! A tar in gzip against the fuzzer's bytes. What does not begin like gzip is packed first: what
//! lies under a right CRC32 is met too.
#![no_main]

use fuzz::{make, seed};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let genuine = make::gzip(&seed::genuine_tar());
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => fuzz::check(&genuine, bytes),
        false => fuzz::check(&genuine, &make::gzip_with(&seed::with_checksums(bytes), 1, |_| {})),
    }
});
