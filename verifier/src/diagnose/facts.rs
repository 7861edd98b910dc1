//! What a published file shows about how it was made, before anything is tried.

use std::collections::BTreeMap;

use anyhow::Context;
use rebuilder::Digest;
use serde::{Deserialize, Serialize};

use super::variations::Part;
use crate::authenticate::AuthenticFile;
use crate::compare::{self, Limits};
use crate::era::PackedFile;

/// Something that bytes show. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Who wrote the headers of the tar.
    Tar,
    /// Whether the members are in the order of their names.
    Sorted,
    /// Whether Misc/mypy is among them.
    Mypy,
    /// The field XFL of the gzip header.
    GzipFlags,
    /// The size of the dictionary in the first xz block's header.
    XzDictionary,
    /// Whether that header says the sizes of the block.
    XzSizes,
}

/// Each fact that could be read, as variations.toml writes it.
pub type Facts = BTreeMap<Fact, String>;

/// A published file that is to be explained.
#[derive(Clone, Debug)]
pub struct Subject {
    /// File name.
    pub name: String,
    /// The bytes that are wanted.
    pub sha256: Digest,
    /// The archive inside; or why there is nothing to look for.
    pub payload: Result<Digest, String>,
    /// What it shows.
    pub facts: Facts,
    /// The part that compresses it.
    pub part: Part,
}

/// Reads a published file, and what is known of how it was packed.
pub fn read(file: &AuthenticFile, packed: Option<&PackedFile>) -> anyhow::Result<Subject> {
    let name = file.announced.name.to_string();
    let unpacked = compare::unpacked(&file.path, &Limits::default())
        .with_context(|| format!("unpack {name}"))?;
    let mut facts = Facts::new();
    let mut add = |fact, value: Option<String>| facts.extend(value.map(|value| (fact, value)));
    add(Fact::GzipFlags, unpacked.gzip_flags.map(|flags| flags.to_string()));
    add(Fact::XzDictionary, unpacked.xz_dictionary_bytes.map(|bytes| bytes.to_string()));
    add(Fact::XzSizes, unpacked.xz_sizes_stated.map(|stated| stated.to_string()));
    let packing = packed.map(|file| &file.packing).filter(|packing| packing.note.is_none());
    if let Some(packing) = packing {
        add(Fact::Tar, Some(packing.tar.as_str().to_owned()));
        add(Fact::Sorted, Some(packing.sorted.to_string()));
        add(Fact::Mypy, Some(packing.mypy.to_string()));
    }
    let by_hand = packing.filter(|packing| packing.times > 1 || !packing.root_owned);
    let payload = match (unpacked.sha256, by_hand) {
        (Err(stop), _) => Err(format!("it cannot be unpacked: {stop}")),
        (Ok(_), Some(packing)) => Err(format!(
            "it was packed by hand ({} times of modification, {}): no recipe can vary that",
            packing.times,
            if packing.root_owned { "owned by root" } else { "not owned by root" },
        )),
        (Ok(sha256), None) => Ok(sha256),
    };
    let part = if name.ends_with(".tgz") { Part::Gzip } else { Part::Xz };
    Ok(Subject { name, sha256: file.sha256, payload, facts, part })
}
