//! How a release was packed, in words.

use crate::compare::TarWriter;
use crate::compare::report::grouped;
use crate::era::{EraFinding, PackedFile};

/// The era of a release and what it was read from.
pub struct PackedShown {
    /// `as in E1 or E5; E5 by its date`.
    pub era: String,
    pub agrees: bool,
    /// File name and sentence.
    pub files: Vec<(String, String)>,
}

const FILES_MAX: usize = 16;

pub fn packed(finding: &EraFinding) -> PackedShown {
    let shown = finding.files.iter().take(FILES_MAX);
    PackedShown {
        era: finding.to_string(),
        agrees: finding.agrees,
        files: shown.map(|file| (file.name.clone(), sentence(file))).collect(),
    }
}

fn sentence(file: &PackedFile) -> String {
    let packing = &file.packing;
    if let Some(note) = &packing.note {
        return format!("not all of it could be read: {note}");
    }
    let tar = match packing.tar {
        TarWriter::GnuFormat => "the old GNU format",
        TarWriter::Tar134 => "headers of GNU tar 1.34",
        TarWriter::Tar135 => "headers of GNU tar 1.35",
        TarWriter::Other => "headers of no known tar",
    };
    let owner = if packing.root_owned { "all of user 0" } else { "owners of a machine" };
    let times = match packing.times {
        1 => "one time".to_owned(),
        times => format!("{} different times", grouped(times)),
    };
    let order = if packing.sorted { "sorted" } else { "not sorted" };
    let mypy = if packing.mypy { ", with Misc/mypy" } else { "" };
    format!("{} members, {tar}, {owner}, {times}, {order}{mypy}", grouped(packing.members))
}
