//! Members: what tar, zip and directories have in common, and the fields in which two of them
//! differ although their bytes do not.

use rebuilder::Digest;

use super::cause::CauseId;
use super::tar::Kind;
use super::tar::fields::TarFields;
use super::zip::ZipFields;

/// One member of an archive or directory, its content hashed.
#[derive(Debug)]
pub(super) struct Member {
    /// Full path inside the archive, without a trailing slash.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Target of a link.
    pub(super) link: String,
    pub(super) size: u64,
    pub(super) sha256: Digest,
    pub(super) metadata: Metadata,
}

/// Metadata by kind of container.
#[derive(Debug)]
pub(super) enum Metadata {
    Tar(Box<TarFields>),
    Zip(Box<ZipFields>),
    /// Permissions of a file on disk.
    File {
        mode: u32,
    },
}

/// A field with another value on each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) cause: CauseId,
    pub(super) field: &'static str,
    pub(super) published: Value,
    pub(super) rebuilt: Value,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Value {
    /// Seconds; differences between two are worth saying.
    Seconds(i64),
    /// A bare number.
    Number(i64),
    /// Permissions.
    Mode(u32),
    /// Anything else.
    Text(String),
}

impl Value {
    pub(super) fn describe(&self) -> String {
        match self {
            Value::Seconds(seconds) => match jiff::Timestamp::from_second(*seconds) {
                Ok(time) => time.to_string(),
                Err(_) => seconds.to_string(),
            },
            Value::Number(number) => number.to_string(),
            Value::Mode(mode) => format!("{mode:04o}"),
            Value::Text(text) => text.clone(),
        }
    }
}

impl Member {
    /// Whether `other` has the same type, content and link target.
    pub(super) fn has_same_content(&self, other: &Member) -> bool {
        self.kind == other.kind && self.sha256 == other.sha256 && self.link == other.link
    }

    /// The fields that differ; permissions first.
    pub(super) fn deltas(&self, rebuilt: &Member) -> Vec<Delta> {
        let same_name = self.path == rebuilt.path && self.link == rebuilt.link;
        match (&self.metadata, &rebuilt.metadata) {
            (Metadata::Tar(a), Metadata::Tar(b)) => {
                let same_shape = self.kind == rebuilt.kind && self.size == rebuilt.size;
                a.deltas(b, same_name && same_shape)
            }
            (Metadata::Zip(a), Metadata::Zip(b)) => {
                a.deltas(b, same_name && self.sha256 == rebuilt.sha256)
            }
            (Metadata::File { mode: a }, Metadata::File { mode: b }) => {
                let mut deltas = Vec::new();
                add(&mut deltas, CauseId::DirectoryMode, "mode", Value::Mode(*a), Value::Mode(*b));
                deltas
            }
            // Two archives of different kinds are never paired.
            _ => Vec::new(),
        }
    }

    /// The permissions, which belong to what a member is rather than to how it was packed.
    pub(super) fn mode(&self) -> u32 {
        match &self.metadata {
            Metadata::Tar(fields) => fields.mode,
            Metadata::Zip(fields) => fields.mode(),
            Metadata::File { mode } => *mode,
        }
    }
}

/// Adds a delta if the values differ.
pub(super) fn add(
    deltas: &mut Vec<Delta>,
    cause: CauseId,
    field: &'static str,
    published: Value,
    rebuilt: Value,
) {
    if published != rebuilt {
        deltas.push(Delta { cause, field, published, rebuilt });
    }
}

/// Bytes as a name: UTF-8 where they are, `\xNN` where they are not.
pub(super) fn name_of(bytes: &[u8]) -> String {
    let mut name = String::new();
    for chunk in bytes.utf8_chunks() {
        name.push_str(chunk.valid());
        for byte in chunk.invalid() {
            name.push_str(&format!("\\x{byte:02x}"));
        }
    }
    name
}
