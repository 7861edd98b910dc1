//! `/records/ID/reports/NAME`: the files that are stored with a record, as they are.

use std::path::Path;

use anyhow::Context;
use uuid::Uuid;

use super::HTML;
use super::files::REPORT_BYTES_MAX;
use crate::publish::site::{Caching, POLICY, Resource};
use crate::release::FileName;
use crate::store::Store;

/// A report is one document with its style in it; it is shown as if it came from nowhere.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A stored file of a record's report; none if there is no such record, or the file is not kept.
pub async fn report(
    store: &Store,
    directory: &Path,
    id: &str,
    name: &str,
) -> anyhow::Result<Option<Resource>> {
    // What names a file of ours is an id that the store made and a name without a directory.
    if Uuid::try_parse(id).is_err() || name.parse::<FileName>().is_err() {
        return Ok(None);
    }
    // A report without a record is never looked at: nothing was promised about it.
    let Some(modified) = store.record_finished(id).await? else { return Ok(None) };
    let path = directory.join(id).join(name);
    let metadata = tokio::fs::symlink_metadata(&path).await;
    if !metadata.is_ok_and(|found| found.is_file() && found.len() <= REPORT_BYTES_MAX) {
        return Ok(None);
    }
    let body = tokio::fs::read(&path).await.with_context(|| format!("read {}", path.display()))?;
    let (media_type, policy) = match name.rsplit_once('.') {
        Some((_, "html")) => (HTML, REPORT_POLICY),
        Some((_, "json")) => ("application/json", POLICY),
        Some((_, "txt" | "log")) => ("text/plain; charset=utf-8", POLICY),
        _ => ("application/octet-stream", POLICY),
    };
    Ok(Some(Resource { body, media_type, caching: Caching::Forever, modified, policy }))
}
