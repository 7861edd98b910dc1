//! The content-addressed cache below the state directory: `cache/sha256/<aa>/<hex>`.
//!
//! Nothing in it is believed: an entry is hashed each time it is used, and one that does not hash
//! to its name is removed and counts as missing. Entries appear by rename, so two processes that
//! fetch the same thing at once each find a whole file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rebuilder::Digest;

use crate::scratch::{self, Scratch};

/// The cache of one state directory.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache in the state directory `state`.
    pub fn new(state: &Path) -> Cache {
        Cache { directory: state.join("cache") }
    }

    /// A directory on the cache's file system for downloads that are under way.
    pub fn scratch(&self) -> io::Result<Scratch> {
        Scratch::new(&self.directory, "download")
    }

    /// Removes downloads of processes that died.
    pub fn sweep(&self) -> io::Result<()> {
        scratch::sweep(&self.directory)
    }

    /// The bytes whose digest is `sha256`, if they are here and still are what they were. A size
    /// that is known, or else the caller's bound, keeps a swapped entry from filling the memory.
    pub fn load(&self, sha256: Digest, size_bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(sha256);
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if size <= size_bytes_max {
            let bytes = fs::read(&path)?;
            if Digest::of(&bytes) == sha256 {
                return Ok(Some(bytes));
            }
        }
        tracing::warn!("{} is corrupt: fetching it again", path.display());
        fs::remove_file(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        Ok(None)
    }

    /// Takes over a finished, synced file whose digest the caller has computed.
    pub fn admit(&self, file: &Path, sha256: Digest) -> io::Result<()> {
        let path = self.path(sha256);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::rename(file, path)
    }

    fn path(&self, sha256: Digest) -> PathBuf {
        let hex = sha256.to_string();
        self.directory.join("sha256").join(&hex[..2]).join(hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corrupt_entry_counts_as_missing_and_can_be_replaced() {
        let state = tempfile::tempdir().unwrap();
        let cache = Cache::new(state.path());
        let sha256 = Digest::of(b"bytes");
        assert_eq!(cache.load(sha256, 5).unwrap(), None);
        for damage in [&b"bytez"[..], b"", b"bytes and more"] {
            let scratch = cache.scratch().unwrap();
            let file = scratch.path().join("x");
            fs::write(&file, b"bytes").unwrap();
            cache.admit(&file, sha256).unwrap();
            assert_eq!(cache.load(sha256, 5).unwrap().as_deref(), Some(&b"bytes"[..]));
            fs::write(cache.path(sha256), damage).unwrap();
            assert_eq!(cache.load(sha256, 5).unwrap(), None);
            assert!(!cache.path(sha256).exists());
        }
    }
}
