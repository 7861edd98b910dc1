//! What the line stored beside a record: its report, its log. Byproducts: they may be gone one day,
//! and then nothing is at their URLs.

use std::io::Read;
use std::path::Path;

use anyhow::Context;

use super::site::{Caching, POLICY, Resource, Shown};
use crate::release::FileName;
use crate::retention::{self, COMPRESSED, UNFINISHED};

/// A larger file is not served.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// More files of one record are not listed.
const FILES_MAX: usize = 1_000;
/// A stored difference report is one document with its style sheet inside. Nothing of it may run or
/// load, and it has no origin, whatever an archive managed to smuggle in.
const REPORT_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";

/// The file `name` of the report of the record `id`; none if the record or the file is not there.
pub async fn resource(shown: &Shown, id: &str, name: &str) -> anyhow::Result<Option<Resource>> {
    if !is_name(name) {
        return Ok(None);
    }
    // Before a record is durable its report is nobody's business.
    let Some(modified) = shown.store.record_finished(id).await? else { return Ok(None) };
    let path = shown.reports.join(id).join(name);
    let body = tokio::task::spawn_blocking(move || read(&path)).await??;
    let (media_type, policy) = kind(name);
    Ok(body.map(|body| Resource { body, media_type, caching: Caching::Forever, modified, policy }))
}

/// The media type and the Content-Security-Policy of a file of a report.
pub fn kind(name: &str) -> (&'static str, &'static str) {
    match name.rsplit_once('.').map(|(_, kind)| kind) {
        Some("json") => ("application/json", POLICY),
        Some("html") => ("text/html; charset=utf-8", REPORT_POLICY),
        _ => ("text/plain; charset=utf-8", POLICY),
    }
}

/// Whether a report may have a file of this name. How it is kept is nobody's business.
pub fn is_name(name: &str) -> bool {
    let is_form = name.ends_with(COMPRESSED) || name.ends_with(UNFINISHED);
    name.parse::<FileName>().is_ok() && !is_form
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let opening = || format!("open {}", path.display());
    let Some(kept) = retention::open(path).with_context(opening)? else { return Ok(None) };
    let mut body = Vec::new();
    let reader = kept.reader().with_context(opening)?;
    reader
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut body)
        .with_context(|| format!("read {}", path.display()))?;
    Ok((body.len() as u64 <= FILE_BYTES_MAX).then_some(body))
}

/// The names of the files of a record's report, in their order.
pub fn names(reports: &Path, id: &str) -> anyhow::Result<Vec<String>> {
    let directory = reports.join(id);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", directory.display())),
    };
    let mut names = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let entry = entry.with_context(|| format!("list {}", directory.display()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = name.strip_suffix(COMPRESSED).unwrap_or(&name);
        // Temporary files of a report that is being written begin with a dot.
        if is_name(name) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    // Both forms are there for a moment.
    names.dedup();
    Ok(names)
}
