//! The stream inside a compressed file, and what its frame tells of the compressor.

use std::io;

use rebuilder::Digest;

use super::limits::{Meter, Stop};
use super::source::{Peeled, Source};
use super::stream::{Frame, Framing};

/// What is inside a compressed file, and how it was compressed as far as headers tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Of the unpacked stream; or why it cannot be read to its end.
    pub sha256: Result<Digest, String>,
    /// XFL of the first gzip header (RFC 1952, 2.3.1).
    pub gzip_flags: Option<u8>,
    /// The dictionary of the first xz block, in bytes.
    pub xz_dictionary_bytes: Option<u64>,
    /// Whether the header of the first xz block says its sizes: only encoders with several threads
    /// know them by then.
    pub xz_sizes_stated: Option<bool>,
}

/// Takes every compression off.
pub(super) fn read(published: &Source, meter: &Meter) -> io::Result<Unpacked> {
    let mut unpacked = Unpacked {
        sha256: Err(String::new()),
        gzip_flags: None,
        xz_dictionary_bytes: None,
        xz_sizes_stated: None,
    };
    let peeled = match Peeled::open(published, meter) {
        Ok(peeled) => peeled,
        Err(error) => {
            unpacked.sha256 = Err(Stop::of(error)?.to_string());
            return Ok(unpacked);
        }
    };
    if peeled.layers.is_empty() {
        unpacked.sha256 = Err("it is not compressed".to_owned());
        return Ok(unpacked);
    }
    unpacked.sha256 = match Digest::of_reader(peeled.reader) {
        Ok((sha256, _)) => Ok(sha256),
        Err(error) => Err(Stop::of(error)?.to_string()),
    };
    if let Some(layer) = peeled.layers.first() {
        unpacked.tell(&layer.framing());
    }
    Ok(unpacked)
}

impl Unpacked {
    fn tell(&mut self, framing: &Framing) {
        match framing.first() {
            Some(Frame::Gzip(header)) => self.gzip_flags = Some(header.level()),
            Some(Frame::Xz(layout)) => {
                self.xz_dictionary_bytes = layout.dictionary_bytes();
                self.xz_sizes_stated = Some(layout.sizes_stated());
            }
            Some(Frame::Bzip2 { .. } | Frame::Zstd(_)) | None => {}
        }
    }
}
