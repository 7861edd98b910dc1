//! Fetches what is not in the cache, from the first archive that has it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use rebuilder::Digest;
use url::Url;

use crate::http::{Client, Get, HttpError, Transport, bare};

use super::cache::Cache;
use super::definition::{LockedPackage, Word};
use super::{EnvironmentError, Progress, Stage};

/// Longest time for one file, in seconds.
const FILE_SECONDS_MAX: u64 = 900;

/// Adds up what parallel downloads have received and reports it.
pub struct Meter<'a> {
    stage: Stage,
    done: AtomicU64,
    total: u64,
    report: &'a (dyn Fn(Progress) + Sync),
}

impl<'a> Meter<'a> {
    /// Reports the stage's first, empty step.
    pub fn new(stage: Stage, total: u64, report: &'a (dyn Fn(Progress) + Sync)) -> Meter<'a> {
        let meter = Meter { stage, done: AtomicU64::new(0), total, report };
        meter.add(0);
        meter
    }

    /// Counts `bytes` more.
    pub fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.say(done);
    }

    /// Takes back bytes that were counted and turned out to be useless.
    fn take_back(&self, bytes: u64) {
        let done = self.done.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        self.say(done);
    }

    fn say(&self, done: u64) {
        (self.report)(Progress { stage: self.stage, done_bytes: done, total_bytes: self.total });
    }
}

/// `path` below the archive `base`, whether or not that ends with a slash.
pub fn join(base: &Url, path: &str) -> anyhow::Result<Url> {
    let mut url = base.clone();
    let segments = url.path_segments_mut();
    let mut segments =
        segments.map_err(|()| anyhow::anyhow!("{} is not a base URL", bare(base)))?;
    segments.pop_if_empty().extend(path.split('/'));
    drop(segments);
    Ok(url)
}

/// A file of a known size, whose bytes are checked by the caller.
pub fn get(url: Url, size_bytes_max: u64) -> Get {
    Get {
        url,
        size_bytes_max,
        seconds_max: FILE_SECONDS_MAX,
        transport: Transport::CheckedByDigest,
    }
}

/// The bytes of a locked package: from the cache, or else from the archives, by hash.
pub async fn package(
    package: &LockedPackage,
    environment: &Word,
    archives: &[Url],
    client: &Client,
    cache: &Cache,
    scratch: &Path,
    meter: &Meter<'_>,
) -> Result<Vec<u8>, EnvironmentError> {
    let load = || cache.load(package.sha256, package.size).context("read the cache");
    if let Some(bytes) = load()? {
        meter.add(package.size);
        return Ok(bytes);
    }
    let file = scratch.join(package.sha256.to_string());
    let mut trouble = None;
    for archive in archives {
        let url = join(archive, package.path.as_str())?;
        let before = AtomicU64::new(0);
        let count = |received: u64| meter.add(received - before.swap(received, Ordering::Relaxed));
        match client.download(&get(url.clone(), package.size), &file, &count).await {
            Ok((sha256, size)) if sha256 == package.sha256 && size == package.size => {
                cache.admit(&file, sha256).context("write the cache")?;
                let bytes = load()?;
                return bytes.context("the cache loses what it is given").map_err(Into::into);
            }
            Ok((sha256, size)) => {
                trouble.get_or_insert(other_bytes(&url, package, sha256, size));
            }
            Err(HttpError::NotFound { .. }) => {}
            Err(error) => {
                trouble.get_or_insert(anyhow::Error::new(error));
            }
        }
        meter.take_back(before.into_inner());
    }
    let (name, version) = (package.name.clone(), package.version.clone());
    match trouble {
        Some(error) => Err(error.context(format!("fetch package {name} {version}")).into()),
        None => Err(EnvironmentError::Gone { name, version, environment: environment.clone() }),
    }
}

fn other_bytes(url: &Url, package: &LockedPackage, sha256: Digest, size: u64) -> anyhow::Error {
    anyhow::anyhow!(
        "{} sends {size} bytes with SHA-256 {sha256}, but {} bytes with SHA-256 {} are locked",
        bare(url),
        package.size,
        package.sha256
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_below_the_base_and_escaped() {
        let cases = [
            ("http://a.example/debian", "pool/x", "http://a.example/debian/pool/x"),
            (
                "http://a.example/debian/",
                "pool/g++_1~2.deb",
                "http://a.example/debian/pool/g++_1~2.deb",
            ),
            (
                "http://a.example",
                "dists/trixie/InRelease",
                "http://a.example/dists/trixie/InRelease",
            ),
        ];
        for (base, path, expected) in cases {
            assert_eq!(join(&base.parse().unwrap(), path).unwrap().as_str(), expected);
        }
        assert!(join(&"data:x".parse().unwrap(), "pool").is_err());
    }
}
