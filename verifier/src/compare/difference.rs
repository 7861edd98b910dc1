//! The nouns that this room gives: a [`Comparison`] with its [`Tier`], and the tree that explains
//! it. The tree is data; nothing is decided from it.

use rebuilder::{Artifact, Digest};
use serde::{Deserialize, Serialize};

use super::cause::Cause;

/// What came out of comparing two files or directories. The `tier` comes from bytes; the rest
/// explains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The published side.
    pub published: Artifact,
    /// The rebuilt side.
    pub rebuilt: Artifact,
    /// How close they are.
    pub tier: Tier,
    /// One line for people.
    pub summary: String,
    /// Why they differ, whole tree, in the order of [`super::CauseId`].
    pub causes: Vec<Cause>,
    /// Published members that nothing accounts for, relative to the top directory, sorted.
    pub unexplained: Vec<String>,
    /// How many more of them there are than `unexplained` lists.
    pub unexplained_omitted: u64,
    /// Where every published member comes from, if a trace was given and the file was opened.
    pub explanation: Option<Explanation>,
    /// The tree; `None` if and only if the bytes are the same.
    pub difference: Option<Difference>,
}

/// How close two artifacts are, closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The same bytes.
    Bitwise,
    /// The same bytes once decompressed.
    Payload,
    /// The same bytes once order, times and owners are taken from the published archive; given by
    /// the caller that replays, never by comparing two files.
    Replayed,
    /// The same members, types, modes and bytes; other archive metadata or order.
    Contents,
    /// Anything else.
    Different,
}

impl Tier {
    /// As documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Bitwise => "bitwise",
            Tier::Payload => "payload",
            Tier::Replayed => "replayed",
            Tier::Contents => "contents",
            Tier::Different => "different",
        }
    }
}

/// One file, member or directory that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Path inside the containing node: relative to its top directory, never absolute on disk.
    pub path: String,
    /// What happened to it.
    pub change: Change,
    /// From the outside in: `["xz", "tar"]`, `["text"]`.
    pub formats: Vec<Format>,
    /// What the published side has.
    pub published: Option<Content>,
    /// What the rebuilt side has.
    pub rebuilt: Option<Content>,
    /// Where a published member comes from.
    pub origin: Option<Origin>,
    /// Why this node differs.
    pub causes: Vec<Cause>,
    /// The lines or bytes themselves, bounded.
    pub detail: Option<Detail>,
    /// Members that differ: only published, only rebuilt, renamed, then changed; by path.
    pub children: Vec<Difference>,
    /// Members that differ and have no node because of a limit.
    pub children_omitted: u64,
    /// Limits reached and damage met while reading this node.
    pub notes: Vec<Note>,
}

impl Difference {
    /// Whether this node itself shows lines or bytes.
    pub(super) fn has_content(&self) -> bool {
        !matches!(self.detail, None | Some(Detail::Omitted { .. }))
    }
}

/// What happened to a member between published and rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// On both sides, with other bytes.
    Changed,
    /// The same bytes under other metadata.
    Metadata,
    /// Only on the published side.
    OnlyPublished,
    /// Only on the rebuilt side.
    OnlyRebuilt,
    /// On the rebuilt side it has this path.
    Renamed(String),
}

/// Size and digest of one side of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes, where they were all read.
    pub sha256: Option<Digest>,
}

/// Formats that this room knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Gzip,
    Xz,
    Bzip2,
    Zstd,
    Tar,
    Zip,
    Json,
    Text,
    Bytes,
    Directory,
    Symlink,
    Special,
    Empty,
}

impl Format {
    /// As reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Gzip => "gzip",
            Format::Xz => "xz",
            Format::Bzip2 => "bzip2",
            Format::Zstd => "zstd",
            Format::Tar => "tar",
            Format::Zip => "zip",
            Format::Json => "json",
            Format::Text => "text",
            Format::Bytes => "bytes",
            Format::Directory => "directory",
            Format::Symlink => "symlink",
            Format::Special => "special",
            Format::Empty => "empty",
        }
    }
}

/// A limit that was reached, or damage that was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Where: both sides alike when `None`.
    pub side: Option<Side>,
    /// One sentence.
    pub text: String,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Published,
    Rebuilt,
}

impl Side {
    /// As reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Published => "published",
            Side::Rebuilt => "rebuilt",
        }
    }
}

/// The lines or bytes of a difference, bounded; counts are always exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Detail {
    /// Changed lines.
    Lines {
        /// Lines only in the published text.
        removed: u64,
        /// Lines only in the rebuilt text.
        added: u64,
        /// The first changes with their surroundings.
        hunks: Vec<Hunk>,
        /// Changed lines that `hunks` does not show.
        omitted: u64,
    },
    /// Changed bytes.
    Bytes {
        /// Positions at which both sides have a byte and the bytes differ.
        changed: u64,
        /// Bytes that are equal at the start.
        common_prefix: u64,
        /// Bytes that are equal at the end, not counting the prefix.
        common_suffix: u64,
        /// Windows around the first differences.
        windows: Vec<Window>,
        /// Differing positions that no window shows.
        omitted: u64,
    },
    /// The content of a member that only one side has, as text.
    Text {
        /// Its first lines.
        lines: Vec<String>,
        /// Lines that are not shown.
        omitted: u64,
    },
    /// The content of a member that only one side has, as bytes.
    Head {
        /// Its first bytes, in hexadecimal.
        hex: String,
        /// Bytes that are not shown.
        omitted: u64,
    },
    /// There was something to show, and a limit cut it.
    Omitted {
        /// Lines or bytes that would have been here.
        count: u64,
        /// `lines` or `bytes`.
        unit: String,
    },
}

/// Neighbouring changed lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// First line in the published text, from 1.
    pub published_line: u64,
    /// First line in the rebuilt text, from 1.
    pub rebuilt_line: u64,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line of a [`Hunk`], without its line ending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// On both sides.
    Same(String),
    /// Only in the published text.
    Published(String),
    /// Only in the rebuilt text.
    Rebuilt(String),
}

/// Bytes around a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Offset of the first byte.
    pub offset: u64,
    /// The published bytes, in hexadecimal.
    pub published: String,
    /// The rebuilt bytes, in hexadecimal.
    pub rebuilt: String,
}

/// Where a published member comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Equal to what the tag has at this path, after git's attribute conversions.
    Git,
    /// Equal to what this step of the recipe made at this path.
    Step(String),
    /// In git, removed by this step, and published all the same.
    RemovedBy(String),
    /// Nothing accounts for these bytes.
    Unexplained,
}

/// Where every byte of a published archive comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Files and links that were traced.
    pub files: u64,
    /// Directory entries, which git does not have.
    pub directories: u64,
    /// Files equal to the tag's.
    pub git: u64,
    /// Everything that is not plain git, by path.
    pub others: Vec<(String, Origin)>,
    /// How many of them are unexplained.
    pub unexplained: u64,
    /// In the tag, removed by a step, and rightly not published: path to step.
    pub removed: Vec<(String, String)>,
    /// In the tag or made by a step, but not published: path to step.
    pub missing: Vec<(String, String)>,
    /// What kept the map from being complete.
    pub notes: Vec<Note>,
}
