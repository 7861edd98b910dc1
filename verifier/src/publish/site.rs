//! What is published, by URL: pages, badges, feeds, reports. A pure rendering of what the store
//! holds: the same records give the same bytes, whether they are served or exported, and there is
//! no clock in them.

use std::path::PathBuf;

use jiff::Timestamp;
use url::Url;

use super::{atom, badge, pages, stored};
use crate::store::Store;

/// The longest path that is looked at, in bytes.
const PATH_BYTES_MAX: usize = 512;
/// Nothing may run, load or frame.
pub const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// What is to be published.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where everything is read from.
    pub store: Store,
    /// Where people reach the site. Links in pages begin with its path.
    pub public_url: Url,
    /// Directory with one directory of reports a record.
    pub reports: PathBuf,
    /// Directory with one journal a job.
    pub journals: PathBuf,
    /// What a command that repeats a verdict needs to look where this service looks: environment
    /// variables with their values; none for python.org and the usual repository.
    pub elsewhere: Vec<(&'static str, String)>,
}

impl Shown {
    /// The URL of `path`, which begins with a slash, as people reach it.
    pub fn public(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// What one URL gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its bytes.
    pub body: Vec<u8>,
    /// As `Content-Type` has it.
    pub media_type: &'static str,
    /// How long others may keep it.
    pub caching: Caching,
    /// When the newest fact in it came to be; the beginning of 1970 if there is none in it.
    pub modified: Timestamp,
    /// Its Content-Security-Policy.
    pub policy: &'static str,
}

/// How long a resource may be kept by whoever got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Badges and feeds: shown in many places, rarely of another content. A copy that is a day old
    /// is better than a broken image.
    Minutes,
    /// Pages: a browser asks each time whether its copy is still the one; a proxy may answer for a
    /// minute.
    Page,
    /// What shows something that happens right now.
    Live,
    /// Never of another content at this URL.
    Forever,
}

impl Caching {
    /// The value of `Cache-Control`.
    pub fn header(self) -> &'static str {
        match self {
            Caching::Minutes => {
                "public, max-age=300, stale-while-revalidate=3600, stale-if-error=86400"
            }
            Caching::Page => {
                "public, max-age=0, s-maxage=60, stale-while-revalidate=600, stale-if-error=86400"
            }
            Caching::Live => "no-cache",
            Caching::Forever => "public, max-age=31536000, immutable",
        }
    }
}

/// What is at `path`, which begins with a slash and is not decoded: no URL of ours needs `%`. None
/// if nothing is.
pub async fn resource(shown: &Shown, path: &str) -> anyhow::Result<Option<Resource>> {
    let Some(inner) = path.strip_prefix('/').filter(|inner| inner.len() < PATH_BYTES_MAX) else {
        return Ok(None);
    };
    let parts: Vec<&str> = inner.split('/').collect();
    match parts.as_slice() {
        ["badge", "cpython", name @ ..] => badge::resource(&shown.store, name).await,
        ["feed.atom"] => atom::resource(shown, None).await,
        ["feed", name] => match name.strip_suffix(".atom") {
            Some(series) => atom::resource(shown, Some(series)).await,
            None => Ok(None),
        },
        ["records", id, "reports", name] => stored::resource(shown, id, name).await,
        parts => pages::resource(shown, parts).await,
    }
}
