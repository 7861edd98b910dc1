//! What python.org claims of a release's files that no record is about.

use super::files::FILES_MAX;
use crate::compare::report::grouped;
use crate::record::Record;
use crate::release::{PublishedFile, Release};

/// A file that nobody has judged.
pub struct ClaimedFile {
    pub name: String,
    /// Where it is served, if a browser should go there.
    pub url: Option<String>,
    pub size: Option<String>,
    pub sha256: Option<String>,
    pub md5: Option<String>,
}

/// The files that python.org claims and `record` does not judge, and how many more there are.
pub fn claimed(release: Option<&Release>, record: Option<&Record>) -> (Vec<ClaimedFile>, usize) {
    let files = release.map(|release| release.files.as_slice()).unwrap_or_default();
    let judged = record.map(|record| record.artifacts.as_slice()).unwrap_or_default();
    let is_judged = |name: &str| judged.iter().any(|artifact| artifact.name == name);
    let mut files: Vec<&PublishedFile> = files.iter().collect();
    files.retain(|file| !is_judged(file.name.as_str()));
    let shown = files.iter().take(FILES_MAX).map(|claimed| file(claimed)).collect();
    (shown, files.len().saturating_sub(FILES_MAX))
}

fn file(file: &PublishedFile) -> ClaimedFile {
    ClaimedFile {
        name: file.name.to_string(),
        url: matches!(file.url.scheme(), "http" | "https").then(|| file.url.to_string()),
        size: file.size.map(grouped),
        sha256: file.sha256.map(|digest| digest.to_string()),
        md5: file.md5.map(|digest| digest.to_string()),
    }
}
