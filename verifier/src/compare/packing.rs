//! How a tar archive was packed: what its headers tell about the program and the options that wrote
//! them. Whoever wants to pack the same bytes again has to know.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

use super::container::{Container, Visitor};
use super::desk::sort_key;
use super::limits::{Meter, Stop};
use super::member::{Member, Metadata};
use super::source::{Inner, Peeled, Source};

/// Where the files lie that type checkers need, below the top directory.
const MYPY: &str = "Misc/mypy";
/// Different times that are told apart. A release made by hand has three or four.
const TIMES_MAX: usize = 1_000;

/// What the headers of all members tell together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    /// Members that were read.
    pub members: u64,
    /// What wrote the headers.
    pub tar: TarWriter,
    /// Whether every member belongs to user 0 and group 0.
    pub root_owned: bool,
    /// How many modification times there are; counted up to a thousand.
    pub times: u64,
    /// Whether the members are in the order of `tar --sort=name`.
    pub sorted: bool,
    /// Whether Misc/mypy is among them.
    pub mypy: bool,
    /// Why the above is not the whole archive, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What wrote the headers of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TarWriter {
    /// The old GNU format: magic `ustar` and two blanks.
    #[serde(rename = "gnu format")]
    GnuFormat,
    /// GNU tar 1.34 and before: POSIX format, device numbers of files written as zeros.
    #[serde(rename = "1.34")]
    Tar134,
    /// GNU tar 1.35 and later: POSIX format, device numbers of files left empty.
    #[serde(rename = "1.35")]
    Tar135,
    /// Anything else, or a mixture.
    #[serde(rename = "other")]
    Other,
}

impl TarWriter {
    /// As records write it.
    pub fn as_str(self) -> &'static str {
        match self {
            TarWriter::GnuFormat => "gnu format",
            TarWriter::Tar134 => "1.34",
            TarWriter::Tar135 => "1.35",
            TarWriter::Other => "other",
        }
    }
}

impl Packing {
    fn unreadable(note: String) -> Packing {
        Packing {
            members: 0,
            tar: TarWriter::Other,
            root_owned: false,
            times: 0,
            sorted: false,
            mypy: false,
            note: Some(note),
        }
    }
}

/// Reads the headers of `published`, compressed or not.
pub(super) fn read(published: &Source, meter: &Meter) -> io::Result<Packing> {
    match Peeled::open(published, meter) {
        Ok(Peeled { inner: Inner::Tar, .. }) => {}
        Ok(_) => return Ok(Packing::unreadable("it is no tar archive".to_owned())),
        Err(error) => return Ok(Packing::unreadable(Stop::of(error)?.to_string())),
    }
    let mut headers = Headers { sorted: true, root_owned: true, ..Headers::default() };
    let walked = Container::Tar(published.clone()).walk(meter, &mut headers)?;
    let note = walked.stop.map(|stop| stop.to_string());
    Ok(headers.packing(note))
}

/// Collects what [`Packing`] tells; a few bytes an archive.
#[derive(Default)]
struct Headers {
    members: u64,
    tar: Option<TarWriter>,
    root_owned: bool,
    times: BTreeSet<(i64, u32)>,
    sorted: bool,
    mypy: bool,
    last_path: String,
}

impl Visitor for Headers {
    fn wants(&self, _index: u64, _size: u64) -> bool {
        false
    }

    fn member(&mut self, index: u64, member: Member, _body: Option<Vec<u8>>) -> Result<(), Stop> {
        let Metadata::Tar(fields) = &member.metadata else {
            return Err(Stop::Corrupt("a member without a tar header".to_owned()));
        };
        self.members = index + 1;
        let written_by = fields.written_by();
        self.tar = match self.tar {
            Some(other) if other != written_by => Some(TarWriter::Other),
            _ => Some(written_by),
        };
        self.root_owned &= fields.is_owned_by_root();
        if self.times.len() < TIMES_MAX {
            self.times.insert(fields.mtime());
        }
        self.sorted &= sort_key(&self.last_path) <= sort_key(&member.path);
        let inside = member.path.split_once('/').map_or("", |(_, inside)| inside);
        let below = inside.strip_prefix(MYPY);
        self.mypy |= below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.last_path = member.path;
        Ok(())
    }
}

impl Headers {
    fn packing(self, note: Option<String>) -> Packing {
        Packing {
            members: self.members,
            tar: self.tar.unwrap_or(TarWriter::Other),
            root_owned: self.root_owned,
            times: self.times.len() as u64,
            sorted: self.sorted,
            mypy: self.mypy,
            note,
        }
    }
}
