//! The early word: is the archive before compression the published one?
//!
//! The compressors take most of a rebuild's time. While they run, the published archive is
//! decompressed and hashed, and compared with the digest that the rebuild reports of its own. It is
//! shown to whoever waits; the verdict is still made from the files themselves.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rebuilder::{Artifact, Digest};

use crate::authenticate::AuthenticFile;
use crate::progress::Progress;

/// No CPython archive is a tenth of this.
const PAYLOAD_BYTES_MAX: u64 = 2 << 30;

/// The published files whose decompressed stream can be hashed.
#[derive(Clone, Debug)]
pub struct PublishedPayload {
    files: Vec<(String, PathBuf)>,
}

impl PublishedPayload {
    /// Of these published files.
    pub fn of(files: &[AuthenticFile]) -> PublishedPayload {
        let named = |file: &AuthenticFile| (file.announced.name.to_string(), file.path.clone());
        PublishedPayload { files: files.iter().map(named).collect() }
    }

    /// Says, from a thread of its own, how the rebuilt `payload` compares.
    pub fn announce(&self, progress: &Progress, payload: Artifact) {
        let files = self.files.clone();
        let progress = progress.clone();
        std::thread::spawn(move || {
            for (name, path) in files {
                // A file that does not decompress is the compare room's to explain.
                let Ok((digest, _)) = digest(&name, &path) else { continue };
                let word = if digest == payload.sha256 { "is" } else { "is NOT" };
                let rebuilt = &payload.name;
                progress.say(&format!(
                    "  the archive inside {name} {word} the rebuilt {rebuilt}, byte for byte"
                ));
            }
        });
    }
}

/// The stream inside a published file, told by its name.
pub fn decompressed<'a>(name: &str, file: impl BufRead + 'a) -> Box<dyn Read + 'a> {
    if name.ends_with(".tgz") {
        return Box::new(flate2::bufread::MultiGzDecoder::new(file).take(PAYLOAD_BYTES_MAX));
    }
    Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file).take(PAYLOAD_BYTES_MAX))
}

fn digest(name: &str, path: &Path) -> std::io::Result<(Digest, u64)> {
    Digest::of_reader(decompressed(name, BufReader::new(File::open(path)?)))
}
