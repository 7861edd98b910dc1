//! Room 2, authenticate: fetches the published bytes and the tag, and checks what is claimed.
//!
//! Takes a release as announced; gives an [`AuthenticRelease`], which only this room can make. How
//! each check ended is evidence in it, also where a claim disagrees with the bytes: that blocks a
//! pass, and is the record's to conclude. It never builds and never compares.

pub mod checks;
mod crypto;
pub mod sbom;
pub mod sidecars;
pub mod signed;
pub mod sigstore;
pub mod testimony;
pub mod trust;
pub mod witness;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use rebuilder::Digest;

use self::checks::Court;
use self::sidecars::Fetched;
use self::trust::Trust;
use crate::evidence::Evidence;
use crate::http::{Client, Get, Transport};
use crate::progress::Progress;
use crate::release::{PublishedFile, Release};
use crate::scratch::Scratch;
use crate::source::{self, Source};

/// Ten times today's .tgz.
const FILE_BYTES_MAX: u64 = 300 << 20;
const FILE_SECONDS_MAX: u64 = 1800;

/// A release whose bytes were fetched and whose claims were checked.
#[derive(Debug)]
pub struct AuthenticRelease {
    release: Release,
    files: Vec<AuthenticFile>,
    source: Source,
    repository: PathBuf,
    evidence: Vec<Evidence>,
}

/// A published file as it was fetched.
#[derive(Clone, Debug)]
pub struct AuthenticFile {
    /// What was announced.
    pub announced: PublishedFile,
    /// Where the bytes are.
    pub path: PathBuf,
    /// Their SHA-256.
    pub sha256: Digest,
    /// Their number.
    pub size: u64,
    /// The files beside it, as they were fetched.
    pub sidecars: Fetched,
}

impl AuthenticRelease {
    /// What was announced.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The published files as fetched.
    pub fn files(&self) -> &[AuthenticFile] {
        &self.files
    }

    /// The tagged commit.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The bare repository that holds only that commit.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// Every check that was made.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }
}

/// Fetches the files and the tag of `release`, at the same time, and checks the claims; `earlier`
/// are the sources on record, oldest first.
pub async fn authenticate(
    release: Release,
    client: &Client,
    wanted: source::Wanted<'_>,
    trust: Trust,
    earlier: Vec<Source>,
    scratch: &Scratch,
    progress: &Progress,
) -> anyhow::Result<AuthenticRelease> {
    if release.files.is_empty() {
        bail!("python.org announces no source file for {} (yet)", release.version);
    }
    let directory = scratch.directory("published")?;
    let downloads = async {
        let mut files = Vec::new();
        for file in &release.files {
            files.push(download(client, file, &directory, progress).await?);
        }
        anyhow::Ok(files)
    };
    let tag = async {
        let stage = progress.stage(&format!("fetch tag {}", wanted.tag));
        let fetched = source::fetch(wanted, scratch).await?;
        stage.done(&format!("commit {}", &fetched.source.commit));
        anyhow::Ok(fetched)
    };
    let (files, tag) = tokio::try_join!(downloads, tag)?;
    // Each check reads the file once more: not on a thread of the runtime.
    let checked = tokio::task::spawn_blocking(move || {
        let court = Court { release: &release, trust: &trust, now: Timestamp::now() };
        let mut evidence = Vec::new();
        for file in &files {
            evidence.extend(court.of_file(file)?);
        }
        evidence.extend(court.of_tag(&tag.source, tag.tag.as_deref(), &earlier)?);
        let (source, repository) = (tag.source, tag.repository);
        anyhow::Ok(AuthenticRelease { release, files, source, repository, evidence })
    });
    checked.await.context("check the claims")?
}

async fn download(
    client: &Client,
    file: &PublishedFile,
    directory: &Path,
    progress: &Progress,
) -> anyhow::Result<AuthenticFile> {
    let stage = progress.stage(&format!("fetch {}", file.name));
    if let Some(size) = file.size {
        stage.total(size);
    }
    let path = directory.join(file.name.as_str());
    let get = Get {
        url: file.url.clone(),
        size_bytes_max: FILE_BYTES_MAX,
        seconds_max: FILE_SECONDS_MAX,
        transport: Transport::Secure,
    };
    let (sha256, size) = client
        .download(&get, &path, &|received| stage.bytes(received))
        .await
        .with_context(|| format!("fetch {}", file.name))?;
    if size == 0 {
        bail!("fetch {}: {} is empty, so nothing is judged", file.name, file.url);
    }
    let sidecars = sidecars::fetch(client, &file.sidecars).await?;
    let beside = match sidecars.count() {
        0 => String::new(),
        count => format!(", and {count} beside it"),
    };
    stage.done(&format!("{} bytes{beside}", crate::compare::report::grouped(size)));
    Ok(AuthenticFile { announced: file.clone(), path, sha256, size, sidecars })
}

#[cfg(test)]
mod tests;
