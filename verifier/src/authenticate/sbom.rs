//! The SPDX document beside a published archive: is it of this file, and does it list exactly what
//! is inside?
//!
//! How the release managers make it decides what is expected (python/release-tools, sbom.py,
//! `create_sbom_for_source_tarball`): the packages and files of Misc/sbom.spdx.json, then the
//! package CPython with the SHA-256 of the archive, pip and what pip carries, then every other
//! file of the archive. Each regular file is listed once, by its path without the top directory
//! `Python-V/`, with SHA-1 and SHA-256. Directories are passed over; symbolic links are not files
//! either, and are left out (release-tools, pull request 232).
//!
//! It reads the archive and the document, and nothing else. Nothing here turns a difference of
//! bytes into a pass.

mod document;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use pep440_rs::VersionSpecifiers;
use rebuilder::Digest;

use crate::compare::report::{grouped, printable};
use crate::compare::{self, CompareError, Limits, Listed, ListedContent, Listing};
use crate::evidence::{Check, CheckOutcome, Evidence};
use crate::version::Version;

use document::{Document, DocumentError, FileDigests};

/// Longest document that is read, in bytes; 3.13.5's would have 2.9 MB.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// Mismatches that are named; the rest is counted.
const NAMED_MAX: usize = 20;
/// Characters of a name that are shown.
const NAME_CHARS_MAX: usize = 120;

/// The releases that have one, by PEP 440 specifiers: they began in the middle of 3.12.
const PUBLISHED_FOR: [&str; 2] = [">=3.12.2,<3.13", ">=3.13.0a4"];

/// Whether the source archives of `version` should have an SPDX document beside them.
pub fn is_expected(version: &Version) -> bool {
    PUBLISHED_FOR.iter().any(|range| {
        // Invariant: the ranges are the literals above.
        let range = VersionSpecifiers::from_str(range).expect("a built-in range parses");
        range.contains(version.as_pep440())
    })
}

/// Checks the SPDX `document` of the archive `artifact`, which lies at `archive` and whose digest
/// is `sha256`. An error is trouble of this machine; whatever the bytes hold is an outcome.
pub fn check(
    document: &[u8],
    artifact: &str,
    sha256: Digest,
    archive: &Path,
    limits: &Limits,
) -> Result<Evidence, CompareError> {
    let evidence = |outcome, detail| Evidence::new(Check::Sbom, artifact, outcome, detail);
    let document = match Document::parse(document, DOCUMENT_BYTES_MAX) {
        Ok(document) => document,
        // What is published under the name of an SBOM and is none makes a claim that is not true.
        // A bound of ours, or a later version of SPDX, says nothing about the release.
        Err(DocumentError::Malformed(reason)) => {
            return Ok(evidence(CheckOutcome::Disagrees, reason));
        }
        Err(DocumentError::NotRead(reason)) => {
            return Ok(evidence(CheckOutcome::CannotCheck, reason));
        }
    };
    let mut mismatches = Mismatches::default();
    mismatches.package(&document, artifact, sha256);
    let listing = compare::members(archive, limits)?;
    let compared = mismatches.members(&document, artifact, &listing);
    if mismatches.count > 0 {
        return Ok(evidence(CheckOutcome::Disagrees, mismatches.describe()));
    }
    if let Some(stop) = listing.stop {
        let detail = format!("the members of {artifact} cannot be listed: {stop}");
        return Ok(evidence(CheckOutcome::CannotCheck, detail));
    }
    let created = shown(&document.created);
    let detail = format!("lists this archive and its {} files; made {created}", grouped(compared));
    Ok(evidence(CheckOutcome::Agrees, detail))
}

/// What it comes to if the document of `artifact` is too long to be read: that is a bound of ours,
/// which says nothing about the release.
pub fn too_large(artifact: &str) -> Evidence {
    let detail = format!("its SPDX document is longer than {DOCUMENT_BYTES_MAX} bytes");
    Evidence::new(Check::Sbom, artifact, CheckOutcome::CannotCheck, detail)
}

/// What the document says otherwise than the archive.
#[derive(Debug, Default)]
struct Mismatches {
    count: u64,
    /// The first of each kind, in the order of [`Kind`].
    named: BTreeMap<Kind, Vec<String>>,
    named_count: usize,
}

/// Kinds of mismatch, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Package,
    Digest,
    Unlisted,
    Absent,
    Twice,
    NoFile,
}

impl Kind {
    fn describe(self) -> &'static str {
        match self {
            Kind::Package => "",
            Kind::Digest => "other bytes than listed: ",
            Kind::Unlisted => "in the archive but not listed: ",
            Kind::Absent => "listed but not in the archive: ",
            Kind::Twice => "more than once: ",
            Kind::NoFile => "listed but no regular file: ",
        }
    }
}

impl Mismatches {
    fn add(&mut self, kind: Kind, name: String) {
        self.count += 1;
        if self.named_count < NAMED_MAX {
            self.named_count += 1;
            self.named.entry(kind).or_default().push(name);
        }
    }

    /// SPDX 2.3, 7.4 and 7.10: the described package is this file.
    fn package(&mut self, document: &Document, artifact: &str, sha256: Digest) {
        let described = &document.described;
        if described.name != "CPython" {
            let name = shown(&described.name);
            self.add(Kind::Package, format!("it describes {name}, not CPython"));
        }
        if let Some(name) = described.file_name.as_deref().filter(|name| *name != artifact) {
            self.add(Kind::Package, format!("it is of the file {}", shown(name)));
        }
        match described.sha256 {
            None => self.add(Kind::Package, "it names no SHA-256 of the archive".to_owned()),
            Some(listed) if listed != sha256 => self.add(
                Kind::Package,
                format!("it is of an archive with SHA-256 {listed}, and this one has {sha256}"),
            ),
            Some(_) => {}
        }
    }

    /// SPDX 2.3, 8.1 and 8.4: the listed files are the members. Gives how many are as listed.
    fn members(&mut self, document: &Document, artifact: &str, listing: &Listing) -> u64 {
        for name in &document.repeated {
            self.add(Kind::Twice, format!("{} in the document", shown(name)));
        }
        let top = top_directory(artifact);
        let mut seen = BTreeSet::new();
        let mut same = 0;
        for Listed { path, content } in &listing.members {
            let name = path.strip_prefix(&top).unwrap_or(path);
            if !seen.insert(name) {
                self.add(Kind::Twice, format!("{} in the archive", shown(name)));
                continue;
            }
            match (document.files.get(name), content) {
                (Some(listed), ListedContent::File { sha256, sha1 }) => {
                    match difference(listed, *sha256, *sha1) {
                        Some(what) => self.add(Kind::Digest, format!("{} ({what})", shown(name))),
                        None => same += 1,
                    }
                }
                (None, ListedContent::Symlink) => {}
                (None, ListedContent::File { .. } | ListedContent::Special) => {
                    self.add(Kind::Unlisted, shown(name));
                }
                (Some(_), ListedContent::Symlink | ListedContent::Special) => {
                    self.add(Kind::NoFile, shown(name));
                }
            }
        }
        // Of an archive that could not be read to its end, nobody knows what is not there.
        if listing.stop.is_none() {
            for name in document.files.keys().filter(|name| !seen.contains(name.as_str())) {
                self.add(Kind::Absent, shown(name));
            }
        }
        same
    }

    fn describe(&self) -> String {
        let kinds = self.named.iter();
        let mut parts: Vec<String> =
            kinds.map(|(kind, names)| format!("{}{}", kind.describe(), names.join(", "))).collect();
        let more = self.count - self.named_count as u64;
        if more > 0 {
            parts.push(format!("and {} more", grouped(more)));
        }
        let word = if self.count == 1 { "mismatch" } else { "mismatches" };
        format!("{} {word}: {}", grouped(self.count), parts.join("; "))
    }
}

/// `Python-3.13.5/` for `Python-3.13.5.tar.xz`.
fn top_directory(artifact: &str) -> String {
    let kinds = [".tgz", ".tar.gz", ".tar.xz"];
    let name = kinds.iter().find_map(|kind| artifact.strip_suffix(kind)).unwrap_or(artifact);
    format!("{name}/")
}

/// Which digest is another one.
fn difference(
    listed: &FileDigests,
    sha256: Digest,
    sha1: Option<[u8; 20]>,
) -> Option<&'static str> {
    match (listed.sha256, sha1) {
        (None, _) => Some("no SHA-256 is listed"),
        (Some(listed), _) if listed != sha256 => Some("SHA-256"),
        (Some(_), Some(sha1)) if listed.sha1 != sha1 => Some("SHA-1"),
        (Some(_), _) => None,
    }
}

/// Foreign text, short and harmless.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(NAME_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    printable(&short).to_string()
}
