//! Asks the archives for the suite's index and checks every step of the way to it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, anyhow, ensure};
use jiff::Timestamp;
use rebuilder::Digest;
use url::Url;

use crate::http::{Client, HttpError, bare};

use super::definition::{EnvironmentSpec, Word};
use super::fetch::{self, Meter};
use super::index::{self, IndexFile, Package, Release};
use super::signature::SignedText;
use super::{EnvironmentError, Progress, Settings, Stage, blocking, signature};
use crate::openpgp;

/// Longest InRelease file; Debian's has 140 kB.
const RELEASE_BYTES_MAX: u64 = 4 << 20;
/// Longest keyring; Debian's has 55 kB.
const KEYRING_BYTES_MAX: u64 = 4 << 20;
/// Longest Packages.xz; Debian's main has 10 MB.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// Every package of the spec's suite, and the date of the index.
pub async fn packages(
    spec: &EnvironmentSpec,
    settings: &Settings,
    client: &Client,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Timestamp, BTreeMap<Word, Package>), EnvironmentError> {
    let EnvironmentSpec { suite, architecture, components, .. } = spec;
    let paths: Vec<String> = components
        .iter()
        .map(|component| format!("{component}/binary-{architecture}/Packages.xz"))
        .collect();
    let (archive, release) = release(suite, &paths, settings, client).await?;
    let total = release.indexes.iter().map(|file| file.size).sum();
    let meter = Meter::new(Stage::Index, total, progress);
    let mut packages = BTreeMap::new();
    for file in &release.indexes {
        let bytes = index_file(file, &archive, suite, release.by_hash, client).await?;
        meter.add(file.size);
        packages = blocking(move || {
            index::read_packages(&bytes, &mut packages)?;
            Ok(packages)
        })
        .await?;
    }
    Ok((release.date, packages))
}

/// The date of the suite's signed index, and its Sources.xz, which that index vouches for.
pub async fn sources(
    suite: &Word,
    component: &Word,
    settings: &Settings,
    client: &Client,
) -> Result<(Timestamp, Vec<u8>), EnvironmentError> {
    let paths = [format!("{component}/source/Sources.xz")];
    let (archive, release) = release(suite, &paths, settings, client).await?;
    let file = release.indexes.first().context("the index names no Sources.xz")?;
    let bytes = index_file(file, &archive, suite, release.by_hash, client).await?;
    Ok((release.date, bytes))
}

/// The archive that has the suite, and what its signed index says of the files at `paths`.
async fn release(
    suite: &Word,
    paths: &[String],
    settings: &Settings,
    client: &Client,
) -> Result<(Url, Release), EnvironmentError> {
    let (archive, url, text) = release_file(suite, settings, client).await?;
    let signed = verified(&text, &url, settings, Timestamp::now())?;
    let release = Release::parse(&signed, suite, paths, Timestamp::now())
        .with_context(|| format!("{} is refused", bare(&url)))?;
    Ok((archive, release))
}

/// The InRelease file of the first archive that has the suite. One that cannot be reached is
/// passed over only if another one answers.
async fn release_file(
    suite: &Word,
    settings: &Settings,
    client: &Client,
) -> Result<(Url, Url, Vec<u8>), EnvironmentError> {
    let mut trouble = None;
    for archive in &settings.archives {
        let url = fetch::join(archive, &format!("dists/{suite}/InRelease"))?;
        match client.bytes(&fetch::get(url.clone(), RELEASE_BYTES_MAX)).await {
            Ok(text) => return Ok((archive.clone(), url, text)),
            Err(HttpError::NotFound { .. }) => {}
            Err(error) => {
                trouble.get_or_insert(error);
            }
        }
    }
    match trouble {
        Some(error) => Err(anyhow!(error).context("fetch the archive's index").into()),
        None => Err(EnvironmentError::NoSuite {
            suite: suite.clone(),
            archives: settings.archives.clone(),
        }),
    }
}

fn verified(
    text: &[u8],
    url: &Url,
    settings: &Settings,
    now: Timestamp,
) -> Result<SignedText, EnvironmentError> {
    let path = &settings.keyring;
    let refuse =
        |reason| EnvironmentError::BadSignature { url: bare(url), reason, keyring: path.clone() };
    let keyring = read_keyring(path)
        .with_context(|| format!("read the archive's keyring {}", path.display()))?;
    let keyring = openpgp::read_keyring(&keyring).map_err(refuse)?;
    signature::verify(text, &keyring, now).map_err(refuse)
}

fn read_keyring(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    ensure!(size <= KEYRING_BYTES_MAX, "it has more than {KEYRING_BYTES_MAX} bytes");
    Ok(fs::read(path)?)
}

/// By its digest where the archive offers that, so that an archive that is being updated is no
/// trouble.
async fn index_file(
    file: &IndexFile,
    archive: &Url,
    suite: &Word,
    by_hash: bool,
    client: &Client,
) -> anyhow::Result<Vec<u8>> {
    let IndexFile { path, size, sha256 } = file;
    ensure!(*size <= INDEX_BYTES_MAX, "{path} has {size} bytes, more than {INDEX_BYTES_MAX}");
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let hashed = format!("dists/{suite}/{directory}/by-hash/SHA256/{sha256}");
    let plain = format!("dists/{suite}/{path}");
    let get = |path: &str| anyhow::Ok(fetch::get(fetch::join(archive, path)?, *size));
    let first = get(if by_hash { &hashed } else { &plain })?;
    let bytes = match client.bytes(&first).await {
        Err(HttpError::NotFound { .. }) if by_hash => client.bytes(&get(&plain)?).await,
        other => other,
    };
    let bytes = bytes.context("fetch the archive's index")?;
    let found = Digest::of(&bytes);
    ensure!(
        found == *sha256,
        "{} sends a {path} with SHA-256 {found}, but {sha256} is signed",
        bare(archive)
    );
    Ok(bytes)
}
