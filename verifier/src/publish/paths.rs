//! Every path that an export writes: what is published and of which there is a finite number. Jobs
//! and alarms are shown live: a copy has none of them, although its pages link to them. Lists go on
//! by cursors and are narrowed by queries: a copy has the first part of the whole list.

use super::site::Shown;
use super::{pages, stored};
use crate::store::Standing;
use crate::version::Version;

/// Rows that are read at once.
const ROWS: u32 = 1_000;

/// The paths, in the order in which they are written: what is linked to before what links to it.
/// Somebody who copies the files meanwhile lacks nothing that the whole copy would have.
pub async fn paths(shown: &Shown) -> anyhow::Result<Vec<String>> {
    let assets = pages::assets().iter().map(|asset| format!("/assets/{}", asset.name));
    let mut paths: Vec<String> = assets.collect();
    records(shown, &mut paths).await?;
    files(shown, &mut paths).await?;
    let mut below: Option<String> = None;
    loop {
        let rows = shown.store.releases(None, below.as_deref(), ROWS).await?;
        for row in &rows {
            release(shown, &row.version, &mut paths).await?;
        }
        match rows.last() {
            Some(last) => below = Some(last.sort_key.clone()),
            None => break,
        }
    }
    let series = shown.store.series().await?;
    for series in &series {
        badges(&mut paths, series);
        paths.push(format!("/feed/{series}.atom"));
    }
    if !series.is_empty() {
        badges(&mut paths, "latest");
    }
    let fixed = ["/api/openapi.json", "/api/v1/releases", "/api/v1/records", "/feed.atom"];
    let pages = ["/about", "/api", "/embed", "/queue", "/"];
    paths.extend(fixed.map(str::to_owned));
    paths.extend(pages.map(str::to_owned));
    Ok(paths)
}

async fn records(shown: &Shown, paths: &mut Vec<String>) -> anyhow::Result<()> {
    let mut before = None;
    loop {
        let rows = shown.store.records(None, before, ROWS).await?;
        for row in &rows {
            let names = stored::names(&shown.reports, &row.id)?;
            let id = &row.id;
            paths.extend(names.iter().map(|name| format!("/records/{id}/reports/{name}")));
            paths.push(format!("/api/v1/records/{id}/reports"));
            paths.push(format!("/api/v1/records/{id}"));
            paths.push(format!("/records/{id}/definition.json"));
            paths.push(format!("/records/{id}/steps.sh"));
            paths.push(format!("/records/{id}"));
        }
        match rows.last() {
            Some(last) => before = Some(last.seq),
            None => return Ok(()),
        }
    }
}

async fn files(shown: &Shown, paths: &mut Vec<String>) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let digests = shown.store.published(&after, ROWS).await?;
        paths.extend(digests.iter().map(|sha256| format!("/api/v1/artifacts/{sha256}")));
        match digests.into_iter().next_back() {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

async fn release(shown: &Shown, version: &Version, paths: &mut Vec<String>) -> anyhow::Result<()> {
    paths.push(format!("/api/v1/releases/{version}"));
    paths.push(format!("/releases/{version}"));
    // Two numbers name a series, whose badge is the newest release's.
    if version.to_string() != version.series() {
        badges(paths, &version.to_string());
    }
    let standing = shown.store.standing(version).await?;
    let files = standing.map(|Standing { files, .. }| files).unwrap_or_default();
    let mut names: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    if names.is_empty() {
        names = usual_files(version).to_vec();
    }
    for name in names {
        badges(paths, &format!("{version}/{name}"));
    }
    Ok(())
}

/// The files of a release that python.org was not asked about yet: they have badges already.
pub fn usual_files(version: &Version) -> [String; 2] {
    ["tar.xz", "tgz"].map(|kind| format!("Python-{version}.{kind}"))
}

fn badges(paths: &mut Vec<String>, name: &str) {
    paths.extend(["svg", "json"].map(|form| format!("/badge/cpython/{name}.{form}")));
}
