//! The members of one archive, each with its digests, for whoever checks a list that somebody else
//! made of them.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use rebuilder::Digest;
use sha1::{Digest as _, Sha1};

use super::CompareError;
use super::container::{Container, Visitor};
use super::limits::{Limits, Meter, Stop};
use super::member::Member;
use super::source::{Inner, Peeled, Source};
use super::tar::Kind;

/// Members up to this size are held in memory, one at a time, for their SHA-1; CPython's largest
/// has 3 MB.
const SHA1_BYTES_MAX: u64 = 64 << 20;

/// The members of an archive, in its order.
#[derive(Debug, Default)]
pub struct Listing {
    /// Directories are left out.
    pub members: Vec<Listed>,
    /// Why there may be more: the archive is damaged or larger than the limits.
    pub stop: Option<String>,
}

/// One member that is no directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Full path inside the archive; bytes that are not UTF-8 are `\xNN`.
    pub path: String,
    /// What it holds.
    pub content: ListedContent,
}

/// What a member holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedContent {
    /// A file's bytes; those of a hard link are the linked member's.
    File {
        /// Their SHA-256.
        sha256: Digest,
        /// Their SHA-1, which SPDX names files by; `None` for a member over 64 MB.
        sha1: Option<[u8; 20]>,
    },
    /// Another path.
    Symlink,
    /// A device, a pipe, or a hard link to nothing.
    Special,
}

/// Lists the tar archive at `path`, whatever it is compressed with.
pub fn members(path: &Path, limits: &Limits) -> Result<Listing, CompareError> {
    let read = |error| CompareError::Read { path: path.to_owned(), error };
    list(&Source::File(path.into()), &Meter::new(limits)).map_err(read)
}

fn list(source: &Source, meter: &Meter) -> io::Result<Listing> {
    let stopped = |stop: String| Listing { members: Vec::new(), stop: Some(stop) };
    match Peeled::open(source, meter).map(|peeled| peeled.inner) {
        Ok(Inner::Tar) => {}
        Ok(Inner::Zip | Inner::Plain) => return Ok(stopped("it is no tar archive".to_owned())),
        Err(error) => return Ok(stopped(Stop::of(error)?.to_string())),
    }
    let mut lister =
        Lister { limits: meter.limits, seen: 0, members: Vec::new(), by_path: HashMap::new() };
    let walked = Container::Tar(source.clone()).walk(meter, &mut lister)?;
    Ok(Listing { members: lister.members, stop: walked.stop.map(|stop| stop.to_string()) })
}

/// Collects members; less than three hundred bytes each.
struct Lister<'a> {
    limits: &'a Limits,
    /// Directories too.
    seen: u64,
    members: Vec<Listed>,
    /// Positions of the files, for hard links.
    by_path: HashMap<String, usize>,
}

impl Visitor for Lister<'_> {
    fn wants(&self, _index: u64, size: u64) -> bool {
        size <= SHA1_BYTES_MAX
    }

    fn member(&mut self, _index: u64, member: Member, body: Option<Vec<u8>>) -> Result<(), Stop> {
        let bound = self.limits.members_max;
        if self.seen >= bound {
            return Err(Stop::Limit(format!("it has more than {bound} members")));
        }
        self.seen += 1;
        let content = match member.kind {
            Kind::Directory => return Ok(()),
            Kind::File => {
                let sha1 = body.map(|body| Sha1::digest(body).into());
                self.by_path.insert(member.path.clone(), self.members.len());
                ListedContent::File { sha256: member.sha256, sha1 }
            }
            Kind::Symlink => ListedContent::Symlink,
            Kind::Hardlink => {
                let linked = self.by_path.get(&member.link);
                let linked = linked.and_then(|position| self.members.get(*position));
                linked.map_or(ListedContent::Special, |listed| listed.content.clone())
            }
            Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo | Kind::Other(_) => {
                ListedContent::Special
            }
        };
        self.members.push(Listed { path: member.path, content });
        Ok(())
    }
}
