//! The listing of the published files: what appears first of a release, and costs no allowance.
//!
//! It is a page for people, so that nothing of it is believed but that a name is there: a reason to
//! ask the API early.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use url::Url;

use crate::config;
use crate::http::{Client, Get, Transport};
use crate::release::FileName;
use crate::version::Version;

/// The listing of all versions has 60 kB.
const LISTING_BYTES_MAX: u64 = 4 << 20;
const LISTING_SECONDS_MAX: u64 = 60;
/// A listing has a few hundred.
const NAMES_MAX: usize = 20_000;

/// The directories of versions, as they are named: `3.15.0`.
pub async fn directories(client: &Client, feed: &config::Feed) -> anyhow::Result<BTreeSet<String>> {
    let url = format!("{}/", feed.files);
    let mut names = names(client, &url).await?;
    names.retain(|name| name.parse::<Version>().is_ok());
    if names.is_empty() {
        bail!("{url} lists no version at all: the answer is not believed");
    }
    Ok(names)
}

/// The versions whose .tgz lies in the directory `base`.
pub async fn versions(
    client: &Client,
    feed: &config::Feed,
    base: &str,
) -> anyhow::Result<BTreeSet<String>> {
    let names = names(client, &format!("{}/{base}/", feed.files)).await?;
    let version = |name: &String| {
        let version = name.strip_prefix("Python-")?.strip_suffix(".tgz")?;
        version.parse::<Version>().ok().map(|version| version.to_string())
    };
    Ok(names.iter().filter_map(version).collect())
}

async fn names(client: &Client, url: &str) -> anyhow::Result<BTreeSet<String>> {
    let get = Get {
        url: Url::parse(url).with_context(|| format!("{url:?} is no URL"))?,
        size_bytes_max: LISTING_BYTES_MAX,
        seconds_max: LISTING_SECONDS_MAX,
        transport: Transport::Secure,
    };
    let page = client.bytes(&get).await.context("list the published files")?;
    Ok(linked(&String::from_utf8_lossy(&page)))
}

/// What a listing links to in its own directory; directories without their slash.
fn linked(page: &str) -> BTreeSet<String> {
    let targets = page.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    let names = targets.map(|(target, _)| target.strip_suffix('/').unwrap_or(target));
    let plain = names.filter(|name| name.parse::<FileName>().is_ok());
    plain.take(NAMES_MAX).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::linked;

    #[test]
    fn a_listing_gives_plain_names_only() {
        let page = "<a href=\"../\">../</a> <a href=\"3.13.5/\">3.13.5/</a> <a href=\"?C=M\">\
            <a href=\"/etc/passwd\"> <a href=\"https://example.org/3.14.0/\"> \
            <a href=\"Python-3.13.5.tgz\"> <a href=\"3.15.0";
        let names: Vec<String> = linked(page).into_iter().collect();
        assert_eq!(names, ["3.13.5", "Python-3.13.5.tgz"]);
    }
}
