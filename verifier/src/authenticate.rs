//! Room 2, authenticate: fetches the published bytes and the tag, and checks what is claimed.
//!
//! Takes a release as announced; gives an [`AuthenticRelease`], which only this room can make. A
//! claim that disagrees with the bytes stops the line with both values. It never builds and never
//! compares.

pub mod sbom;
pub mod witness;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rebuilder::Digest;

use crate::evidence::{Check, CheckOutcome, Evidence};
use crate::http::{Client, Get, Transport};
use crate::progress::Progress;
use crate::release::{Md5, PublishedFile, Release};
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

/// Fetches the files and the tag of `release`, at the same time, and checks the claims.
pub async fn authenticate(
    release: Release,
    client: &Client,
    wanted: source::Wanted<'_>,
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
        stage.done(&format!("commit {}", &fetched.0.commit));
        anyhow::Ok(fetched)
    };
    let (files, (source, repository)) = tokio::try_join!(downloads, tag)?;
    let mut evidence = Vec::new();
    for file in &files {
        evidence.extend(check(file)?);
    }
    Ok(AuthenticRelease { release, files, source, repository, evidence })
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
    stage.done(&format!("{} bytes", crate::compare::report::grouped(size)));
    Ok(AuthenticFile { announced: file.clone(), path, sha256, size })
}

fn check(file: &AuthenticFile) -> anyhow::Result<Vec<Evidence>> {
    let AuthenticFile { announced, path, sha256, size } = file;
    let md5 = match announced.md5 {
        Some(_) => {
            let bytes = File::open(path).with_context(|| format!("read {}", path.display()))?;
            Some(Md5::of_reader(bytes).with_context(|| format!("read {}", path.display()))?)
        }
        None => None,
    };
    Ok(vec![
        agree(Check::Size, announced, announced.size, Some(*size))?,
        agree(Check::Sha256, announced, announced.sha256, Some(*sha256))?,
        agree(Check::Md5, announced, announced.md5, md5)?,
    ])
}

fn agree<T: PartialEq + std::fmt::Display>(
    check: Check,
    file: &PublishedFile,
    claimed: Option<T>,
    fetched: Option<T>,
) -> anyhow::Result<Evidence> {
    let outcome = match (claimed, fetched) {
        (Some(claimed), Some(fetched)) if claimed != fetched => {
            let what = match check {
                Check::Size => "size",
                Check::Sha256 => "SHA-256",
                _ => "MD5",
            };
            bail!(
                "the {what} of {} is {fetched}, but python.org's API claims {claimed}: the file or \
                 the claim is wrong, so nothing is judged",
                file.name
            );
        }
        (Some(_), _) => CheckOutcome::Agrees,
        (None, _) => CheckOutcome::Missing,
    };
    Ok(Evidence::new(check, file.name.as_str(), outcome, String::new()))
}
