//! The compare room from outside: small archives made here, byte by byte where that matters.

#![allow(clippy::disallowed_methods, reason = "tests start programs and read the environment")]

mod causes;
mod command;
mod contents;
mod hostile;
mod make;
mod packing;
mod properties;
mod replay;
mod reports;
mod traces;
mod unpacked;

use std::fs;
use std::path::{Path, PathBuf};

use verifier::compare::{Change, Comparison, Difference, Limits, compare};

/// Two files in a directory of their own.
pub struct Pair {
    directory: tempfile::TempDir,
}

impl Pair {
    pub fn new(published: &[u8], rebuilt: &[u8]) -> Pair {
        let pair = Pair { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::write(pair.published(), published).expect("write published");
        fs::write(pair.rebuilt(), rebuilt).expect("write rebuilt");
        pair
    }

    pub fn published(&self) -> PathBuf {
        self.directory.path().join("published")
    }

    pub fn rebuilt(&self) -> PathBuf {
        self.directory.path().join("rebuilt")
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn compare(&self, limits: &Limits) -> Comparison {
        compare(&self.published(), &self.rebuilt(), None, limits).expect("no operating error")
    }
}

pub fn compared(published: &[u8], rebuilt: &[u8]) -> Comparison {
    Pair::new(published, rebuilt).compare(&Limits::default())
}

/// Tier, causes and nodes, a line each; what most tests look at.
pub fn outline(comparison: &Comparison) -> String {
    let mut lines = vec![comparison.tier.as_str().to_owned()];
    for cause in &comparison.causes {
        let of = if cause.of > 0 {
            format!(" ({} of {})", cause.members, cause.of)
        } else {
            String::new()
        };
        lines.push(format!("{}: {}{of}", cause.cause.as_str(), cause.detail));
    }
    if let Some(node) = &comparison.difference {
        outline_children(node, 0, &mut lines);
    }
    lines.join("\n")
}

fn outline_children(node: &Difference, depth: usize, lines: &mut Vec<String>) {
    for child in &node.children {
        let mark = match &child.change {
            Change::OnlyPublished => "-".to_owned(),
            Change::OnlyRebuilt => "+".to_owned(),
            Change::Renamed(to) => format!("→ {to}"),
            Change::Changed | Change::Metadata => "~".to_owned(),
        };
        let formats: Vec<&str> = child.formats.iter().map(|format| format.as_str()).collect();
        let indent = "  ".repeat(depth + 1);
        lines.push(format!("{indent}{mark} {} {}", child.path, formats.join(">")));
        for cause in &child.causes {
            lines.push(format!("{indent}  {}: {}", cause.cause.as_str(), cause.detail));
        }
        outline_children(child, depth + 1, lines);
    }
}

/// `compare(published, rebuilt)` must come to exactly this outline.
#[track_caller]
pub fn check(published: &[u8], rebuilt: &[u8], expect: &str) {
    let found = outline(&compared(published, rebuilt));
    let expect: Vec<&str> = expect.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let found: Vec<&str> = found.lines().map(str::trim).collect();
    assert_eq!(found, expect, "\nfound:\n{}\n", found.join("\n"));
}
