//! What is inside a compressed file, and what its frame tells of the compressor.

use rebuilder::Digest;
use verifier::compare::{Limits, Unpacked, unpacked};

use crate::Pair;
use crate::make::{bzip2, gzip, gzip_with, xz};

fn read(bytes: &[u8]) -> Unpacked {
    let pair = Pair::new(bytes, b"");
    unpacked(&pair.published(), &Limits::default()).unwrap()
}

#[test]
fn the_stream_is_hashed_and_the_frame_tells_level_and_dictionary() {
    let plain = b"the archive inside".as_slice();
    let slowest = gzip_with(plain, 9, |_| {});
    for (bytes, flags, dictionary) in [
        (slowest, Some(2), None),
        (gzip_with(plain, 6, |_| {}), Some(0), None),
        (gzip_with(plain, 1, |_| {}), Some(4), None),
        (xz(plain, 6), None, Some(8 << 20)),
        (xz(plain, 9), None, Some(64 << 20)),
        (bzip2(plain, 9), None, None),
    ] {
        let sizes = dictionary.map(|_| false);
        let expected = Unpacked {
            sha256: Ok(Digest::of(plain)),
            gzip_flags: flags,
            xz_dictionary_bytes: dictionary,
            xz_sizes_stated: sizes,
        };
        assert_eq!(read(&bytes), expected);
    }
}

#[test]
fn what_cannot_be_read_to_its_end_has_no_digest() {
    let plain = "the archive inside ".repeat(5000);
    let whole = gzip(plain.as_bytes());
    let cut = read(&whole[..whole.len() - 10]);
    assert!(cut.sha256.is_err(), "{cut:?}");
    for bytes in [b"no archive".as_slice(), b""] {
        assert_eq!(read(bytes).sha256, Err("it is not compressed".to_owned()));
    }
    let pair = Pair::new(&whole, b"");
    let few = Limits { stream_bytes_max: 100, ..Limits::default() };
    assert!(unpacked(&pair.published(), &few).unwrap().sha256.is_err());
}
