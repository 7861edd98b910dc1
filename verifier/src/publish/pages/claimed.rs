//! What python.org claims of a release's files, for the page of a release that no record is about.

use super::files::FILES_MAX;
use crate::compare::report::grouped;
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

/// The files that python.org claims, and how many more there are.
pub fn claimed(release: Option<&Release>) -> (Vec<ClaimedFile>, usize) {
    let files = release.map(|release| release.files.as_slice()).unwrap_or_default();
    let shown = files.iter().take(FILES_MAX).map(file).collect();
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
