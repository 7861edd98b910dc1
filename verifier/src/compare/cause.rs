//! Causes: why two files differ, one line each, with an id that programs can rely on.

use serde::{Deserialize, Serialize};

/// One reason why the sides differ. Arrows and signs run from published to rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Machine-readable id.
    pub cause: CauseId,
    /// How many members it concerns.
    pub members: u64,
    /// Out of how many that are on both sides; 0 where that means nothing.
    pub of: u64,
    /// The rest of the line, for people: `+3600 s`, `0755 → 0644: configure`.
    pub detail: String,
    /// The first few of those members, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

impl Cause {
    /// A cause that concerns the file as a whole.
    pub(super) fn whole(cause: CauseId, detail: impl Into<String>) -> Cause {
        Cause { cause, members: 1, of: 0, detail: detail.into(), examples: Vec::new() }
    }
}

macro_rules! causes {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// Ids of causes. Published: an id never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum CauseId { $(#[doc = $doc] #[serde(rename = $name)] $variant,)* }

        impl CauseId {
            /// Every id, in the order in which reports list them.
            pub const ALL: &[CauseId] = &[$(CauseId::$variant,)*];

            /// As reports write it.
            pub fn as_str(self) -> &'static str {
                match self { $(CauseId::$variant => $name,)* }
            }

            /// What it means, one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(CauseId::$variant => $doc,)* }
            }
        }
    };
}

causes! {
    FormatChanged = "format", "The sides are files of different formats.";
    Corrupt = "archive.corrupt", "A side does not follow its format.";
    Limit = "limit", "A bound of the comparison was reached, so a part was not looked at.";
    MemberRemoved = "member.removed", "Members that only the published side has.";
    MemberAdded = "member.added", "Members that only the rebuilt side has.";
    MemberRenamed = "member.renamed", "Members that have another path on each side.";
    MemberChanged = "member.changed", "Members of the same path with other content.";
    MemberType = "member.type", "Members that are, say, a file here and a link there.";
    MemberLink = "member.link", "Links that point elsewhere.";
    ArchiveTrailing = "archive.trailing", "Bytes after the archive's end.";
    ArchivePrefix = "archive.prefix", "Bytes before the archive's start, or between its members.";
    TopDirectory = "archive.top_directory", "The one directory around it all has another name.";
    CompressionFormat = "compression.format", "The same stream in another compression format.";
    CompressionData = "compression.data", "Compressed by another implementation or other options.";
    GzipLevel = "gzip.level", "The gzip header's XFL field, which tells the level.";
    GzipMtime = "gzip.mtime", "The gzip header's MTIME field.";
    GzipName = "gzip.name", "The gzip header's file name.";
    GzipComment = "gzip.comment", "The gzip header's comment.";
    GzipOs = "gzip.os", "The gzip header's operating system.";
    GzipFlags = "gzip.flags", "The gzip header's flags or extra field.";
    GzipMembers = "gzip.members", "How many gzip members follow each other.";
    XzBlocks = "xz.blocks", "How the stream is cut into xz blocks.";
    XzDictionary = "xz.dictionary", "The dictionary of the xz filter, which tells the preset.";
    XzCheck = "xz.check", "The integrity check of the xz stream.";
    XzFilters = "xz.filters", "The filter chain of the xz blocks, or its properties.";
    XzSizes = "xz.sizes", "Whether xz block headers state sizes.";
    XzStreams = "xz.streams", "How many xz streams follow each other, or the padding between them.";
    Bzip2Level = "bzip2.level", "The block size of the bzip2 stream.";
    Bzip2Streams = "bzip2.streams", "How many bzip2 streams follow each other.";
    ZstdFrame = "zstd.frame", "Fields of the zstd frame header.";
    ZstdFrames = "zstd.frames", "How many zstd frames follow each other.";
    TarMtime = "tar.mtime", "Modification times of tar members.";
    TarOwner = "tar.owner", "User and group of tar members.";
    TarMode = "tar.mode", "Permissions of tar members.";
    TarOrder = "tar.order", "The same members in another order.";
    TarFormat = "tar.format", "The tar dialect: ustar, gnu, pax.";
    TarDevmajor = "tar.devmajor", "How device numbers of members that are no devices are written.";
    TarDevice = "tar.device", "Device numbers of tar members.";
    TarPax = "tar.pax", "Records of pax extended headers.";
    TarPaxName = "tar.pax_name", "Names and fields that the pax extended headers themselves carry.";
    TarLongName = "tar.long_name", "Which mechanism carries long names.";
    TarSparse = "tar.sparse", "Whether holes are stored.";
    TarEncoding = "tar.encoding", "The same values written differently in tar headers.";
    TarPadding = "tar.padding", "Zeros at the end of the tar, or what fills its last blocks.";
    ZipOrder = "zip.order", "The same zip entries in another order.";
    ZipMtime = "zip.mtime", "Modification times of zip entries.";
    ZipMode = "zip.mode", "External attributes of zip entries, which hold the permissions.";
    ZipCompression = "zip.compression", "Method, level or data of the compression of zip entries.";
    ZipFlags = "zip.flags", "General purpose flags of zip entries.";
    ZipVersion = "zip.version", "Version made by or needed of zip entries.";
    ZipExtra = "zip.extra", "Extra fields of zip entries.";
    ZipComment = "zip.comment", "Comments of zip entries or of the archive.";
    ZipHeaders = "zip.headers", "Local headers or internal attributes of zip entries.";
    DirectoryMode = "directory.mode", "Permissions of files on disk.";
    TextLineEndings = "text.line_endings", "Line endings.";
    TextOrder = "text.order", "The same lines in another order.";
    TextFinalNewline = "text.final_newline", "A newline at the end of the file.";
    TextEncoding = "text.encoding", "Encoding or byte order mark of a text.";
    TextWhitespace = "text.whitespace", "Blanks at the end of lines.";
    JsonFormatting = "json.formatting", "The same JSON value, written differently.";
    JsonValues = "json.values", "Values of a JSON document.";
}

/// 22856016 as `22,856,016`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
