//! The small files beside a published file: fetched with limits, read from disk, never judged here.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use url::Url;

use crate::http::{Client, Get, HttpError, Transport};
use crate::release::Sidecars;

/// Signatures have 1 to 20 kB.
const SIGNATURE_BYTES_MAX: u64 = 1 << 20;
/// SPDX documents have 3 MB.
const SBOM_BYTES_MAX: u64 = 64 << 20;
const SECONDS_MAX: u64 = 300;

/// What was found where a sidecar may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sidecar {
    /// None is announced; or beside a local file: none lies there.
    #[default]
    None,
    /// Announced, but nothing is served there.
    Gone,
    /// Longer than anything of its kind, so it is none.
    TooLarge,
    /// Its bytes.
    Bytes(Vec<u8>),
}

/// All sidecars of one file.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// `.asc`.
    pub asc: Sidecar,
    /// `.sigstore`.
    pub bundle: Sidecar,
    /// `.sig`.
    pub signature: Sidecar,
    /// `.crt`.
    pub certificate: Sidecar,
    /// `.spdx.json`.
    pub sbom: Sidecar,
}

impl Fetched {
    /// How many were found.
    pub fn count(&self) -> usize {
        let all = [&self.asc, &self.bundle, &self.signature, &self.certificate, &self.sbom];
        all.into_iter().filter(|one| matches!(one, Sidecar::Bytes(_))).count()
    }
}

/// Fetches what is announced.
pub async fn fetch(client: &Client, announced: &Sidecars) -> anyhow::Result<Fetched> {
    let one = |url: &Option<Url>, size_bytes_max| get(client, url.clone(), size_bytes_max);
    Ok(Fetched {
        asc: one(&announced.asc, SIGNATURE_BYTES_MAX).await?,
        bundle: one(&announced.bundle, SIGNATURE_BYTES_MAX).await?,
        signature: one(&announced.signature, SIGNATURE_BYTES_MAX).await?,
        certificate: one(&announced.certificate, SIGNATURE_BYTES_MAX).await?,
        sbom: one(&announced.sbom, SBOM_BYTES_MAX).await?,
    })
}

async fn get(client: &Client, url: Option<Url>, size_bytes_max: u64) -> anyhow::Result<Sidecar> {
    let Some(url) = url else { return Ok(Sidecar::None) };
    let get = Get { url, size_bytes_max, seconds_max: SECONDS_MAX, transport: Transport::Secure };
    match client.bytes(&get).await {
        Ok(bytes) => Ok(Sidecar::Bytes(bytes)),
        Err(HttpError::NotFound { .. }) => Ok(Sidecar::Gone),
        Err(HttpError::TooLarge { .. }) => Ok(Sidecar::TooLarge),
        Err(error) => Err(error).context("fetch a file beside a published one"),
    }
}

/// Reads what lies beside the file at `path`, under the usual names.
pub fn beside(path: &Path) -> anyhow::Result<Fetched> {
    let named = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let bundle = match signature(&named(".sigstore"))? {
        Sidecar::None => signature(&named(".sigstore.json"))?,
        found => found,
    };
    Ok(Fetched {
        asc: signature(&named(".asc"))?,
        bundle,
        signature: signature(&named(".sig"))?,
        certificate: signature(&named(".crt"))?,
        sbom: read(&named(".spdx.json"), SBOM_BYTES_MAX)?,
    })
}

/// Reads one signature file; none if it is not there.
pub fn signature(path: &Path) -> anyhow::Result<Sidecar> {
    read(path, SIGNATURE_BYTES_MAX)
}

fn read(path: &Path, size_bytes_max: u64) -> anyhow::Result<Sidecar> {
    let about = || format!("read {}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Sidecar::None),
        Err(error) => return Err(error).with_context(about),
    };
    let mut bytes = Vec::new();
    file.take(size_bytes_max + 1).read_to_end(&mut bytes).with_context(about)?;
    if bytes.len() as u64 > size_bytes_max {
        return Ok(Sidecar::TooLarge);
    }
    Ok(Sidecar::Bytes(bytes))
}
