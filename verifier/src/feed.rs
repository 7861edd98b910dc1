//! Room 1, feed: asks python.org's downloads API what is out.
//!
//! Takes nothing but the settings and the question which versions matter; gives releases as
//! announced. It keeps no state and does not decide what is new. The API is described in
//! pythondotorg, `downloads/api.py`; the parts that are read here are the structs below.

pub mod announcements;
pub mod listing;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::config;
use crate::http::{Client, Get, Transport, bare};
use crate::release::{FileName, PublishedFile, Release, Sidecars};
use crate::version::Version;

/// The whole release list is about 0.4 MB.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const ANSWER_SECONDS_MAX: u64 = 120;
const RELEASES_MAX: usize = 20_000;
const FILES_MAX: usize = 1_000;
/// `version` of an API release that is not a Python: the Windows install manager.
const INSTALL_MANAGER: u32 = 100;

#[derive(Deserialize)]
struct ApiRelease {
    name: String,
    version: u32,
    is_published: bool,
    release_date: Timestamp,
    resource_uri: String,
}

#[derive(Deserialize)]
struct ApiFile {
    name: String,
    is_source: bool,
    url: String,
    #[serde(default)]
    md5_sum: String,
    #[serde(default)]
    sha256_sum: String,
    #[serde(default)]
    filesize: u64,
    #[serde(default)]
    gpg_signature_file: Option<String>,
    #[serde(default)]
    sigstore_bundle_file: Option<String>,
    #[serde(default)]
    sigstore_signature_file: Option<String>,
    #[serde(default)]
    sigstore_cert_file: Option<String>,
    #[serde(default)]
    sbom_spdx2_file: Option<String>,
}

/// A release of python.org's list: its files have not been asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Which version.
    pub version: Version,
    /// `release_date`.
    pub date: Timestamp,
    /// Its primary key at python.org.
    pub key: u64,
}

/// The downloads API is asked no more today. Nothing follows from it for any release.
#[derive(Debug, thiserror::Error)]
#[error("the day's requests to python.org's API are used up")]
pub struct AllowanceUsedUp;

impl AllowanceUsedUp {
    /// Whether a job waits because of this: its release lacks nothing then.
    pub fn is(reason: &str) -> bool {
        reason == AllowanceUsedUp.to_string()
    }
}

/// The published releases among `wanted`, with their files: one request for the list and one for
/// each release. A version that is not announced is not in the answer.
pub async fn announced(
    client: &Client,
    feed: &config::Feed,
    wanted: &(dyn Fn(&Version) -> bool + Sync),
) -> anyhow::Result<Vec<Release>> {
    let mut releases = Vec::new();
    for (version, row) in rows(client, feed).await? {
        if wanted(&version) {
            let announced = announcement(&version, &row)?;
            releases.push(with_files(client, feed, &announced).await?);
        }
    }
    Ok(releases)
}

/// Every published release, without its files: one request.
pub async fn releases(client: &Client, feed: &config::Feed) -> anyhow::Result<Vec<Announced>> {
    let rows = rows(client, feed).await?;
    let announced = rows.iter().map(|(version, row)| announcement(version, row));
    // One odd row must not hide every other release.
    let mut announced: Vec<Announced> = announced.filter_map(Result::ok).collect();
    announced.sort_by(|a, b| a.version.cmp(&b.version));
    if announced.is_empty() {
        let api = bare(&feed.api);
        bail!("{api}/release/ lists no release that is understood: it is not believed");
    }
    if announced.windows(2).any(|pair| pair[0].version == pair[1].version) {
        let api = bare(&feed.api);
        bail!("{api}/release/ announces one version twice: the answer is not believed");
    }
    Ok(announced)
}

async fn rows(client: &Client, feed: &config::Feed) -> anyhow::Result<Vec<(Version, ApiRelease)>> {
    let mut rows = list(client, feed, "release/").await?;
    if rows.is_empty() {
        let api = bare(&feed.api);
        bail!("{api}/release/ lists no release at all: the answer is not believed");
    }
    rows.truncate(RELEASES_MAX);
    let mut releases = Vec::new();
    for row in rows {
        // One odd row must not hide every other release.
        let Ok(row) = serde_json::from_value::<ApiRelease>(row) else { continue };
        let Some(version) = published_version(&row) else { continue };
        releases.push((version, row));
    }
    Ok(releases)
}

fn announcement(version: &Version, row: &ApiRelease) -> anyhow::Result<Announced> {
    let key = primary_key(&row.resource_uri)
        .with_context(|| format!("read the primary key of release {version}"))?;
    Ok(Announced { version: version.clone(), date: row.release_date, key })
}

/// The version that a row announces; none for drafts, the install manager and unknown names.
fn published_version(row: &ApiRelease) -> Option<Version> {
    if row.version == INSTALL_MANAGER || !row.is_published {
        return None;
    }
    row.name.strip_prefix("Python ")?.parse().ok()
}

/// A release with its files: one request.
pub async fn with_files(
    client: &Client,
    feed: &config::Feed,
    release: &Announced,
) -> anyhow::Result<Release> {
    let Announced { version, date, key } = release.clone();
    let rows = list(client, feed, &format!("release_file/?release={key}")).await?;
    if rows.len() > FILES_MAX {
        bail!("release {version} announces more than {FILES_MAX} files: the answer is refused");
    }
    let known = [format!("Python-{version}.tgz"), format!("Python-{version}.tar.xz")];
    let mut files = Vec::new();
    let mut ignored = Vec::new();
    for row in rows {
        let row: ApiFile = serde_json::from_value(row)
            .with_context(|| format!("read a file row of release {version}"))?;
        let about = || format!("read the file {:?} of release {version}", shown(&row.name));
        if !row.is_source {
            ignored.push(shown(&row.name));
            continue;
        }
        let file = published_file(feed, &row).with_context(about)?;
        if known.contains(&file.name.to_string()) {
            files.push(file);
        } else {
            ignored.push(file.name.to_string());
        }
    }
    files.sort_by_key(|file| file.name.as_str().len());
    if files.windows(2).any(|pair| pair[0].name == pair[1].name) {
        bail!("release {version} announces one source file twice");
    }
    Ok(Release { version, announced: date, files, ignored })
}

/// A name of the API as it may be shown: bounded, control characters escaped.
fn shown(name: &str) -> String {
    name.chars().take(100).flat_map(char::escape_default).collect()
}

/// `…/release/1059/` → 1059: the key stands nowhere else (UPSTREAM: python/pythondotorg).
fn primary_key(resource_uri: &str) -> anyhow::Result<u64> {
    let last = resource_uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    last.parse().with_context(|| format!("{:?} does not end in a number", shown(resource_uri)))
}

fn published_file(feed: &config::Feed, row: &ApiFile) -> anyhow::Result<PublishedFile> {
    let url = file_url(feed, &row.url)?;
    let name: FileName = url.as_str().rsplit('/').next().unwrap_or_default().parse()?;
    // An empty field is no claim.
    let claim = |text: &str| (!text.is_empty()).then(|| text.to_ascii_lowercase());
    let sidecar = |field: &Option<String>| match field.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => file_url(feed, text).map(Some),
    };
    Ok(PublishedFile {
        name,
        url,
        size: (row.filesize > 0).then_some(row.filesize),
        sha256: claim(&row.sha256_sum).map(|text| text.parse()).transpose()?,
        md5: claim(&row.md5_sum).map(|text| text.parse()).transpose()?,
        sidecars: Sidecars {
            asc: sidecar(&row.gpg_signature_file)?,
            bundle: sidecar(&row.sigstore_bundle_file)?,
            signature: sidecar(&row.sigstore_signature_file)?,
            certificate: sidecar(&row.sigstore_cert_file)?,
            sbom: sidecar(&row.sbom_spdx2_file)?,
        },
    })
}

/// The URL of a file of python.org itself, with a name that is harmless.
fn file_url(feed: &config::Feed, text: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse().with_context(|| format!("{:?} is no URL", shown(text)))?;
    let base = format!("{}/", feed.files);
    let Some(path) = url.as_str().strip_prefix(&base) else {
        let url = bare(&url);
        bail!("{url} does not lie below {base}: only files of python.org itself are fetched");
    };
    let _: FileName = path.rsplit('/').next().unwrap_or_default().parse()?;
    if url.query().is_some() || url.fragment().is_some() || text != url.as_str() {
        bail!("{:?} is not the plain URL of a file", shown(text));
    }
    Ok(url)
}

async fn list(
    client: &Client,
    feed: &config::Feed,
    path: &str,
) -> anyhow::Result<Vec<serde_json::Value>> {
    let url: Url = format!("{}/{path}", feed.api).parse().context("make the API's URL")?;
    let get = Get {
        url: url.clone(),
        size_bytes_max: ANSWER_BYTES_MAX,
        seconds_max: ANSWER_SECONDS_MAX,
        transport: Transport::Secure,
    };
    let body = client.bytes(&get).await.context("ask python.org what is released")?;
    serde_json::from_slice(&body).with_context(|| {
        format!("the answer of {} is not the list that the API documents", bare(&url))
    })
}
