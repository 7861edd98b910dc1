//! The compare room: two files or directories in, a verdict and its explanation out.
//!
//! The door is [`compare`]; [`explain`] is its second half on its own, for when there is no rebuilt
//! side; [`packing`] and [`unpacked`] read how an archive was packed and compressed; [`replay`]
//! packs the rebuilt one again with the order, times and owners of the published one. The verdict
//! comes from bytes: equal digests are [`Tier::Bitwise`] and nothing is opened. Only what is
//! unequal is opened, both sides at once, in one streaming pass that hashes members and drops the
//! identical ones unseen. The tree of [`Difference`]s only explains.
//!
//! This room never uses the network, a process, a database or the clock (a deadline is given with
//! the [`Limits`]; one text difference also stops trying to be small after five seconds). It never
//! writes to disk by itself, follows no link, and reads hostile bytes: everything has a limit, and
//! reaching one is in the tree, never silence and never a pass.
//!
//! Everything is read from published to rebuilt: `0644 → 0755` is what became of a published 0644,
//! `+3600 s` means that the rebuilt side is later, `member.added` is only on the rebuilt side.

mod archive;
mod bytes;
mod cause;
mod container;
mod content;
mod desk;
mod differ;
mod difference;
mod frame;
mod json;
mod kept;
mod leftover;
mod limits;
mod listing;
mod member;
mod packing;
mod replay;
pub mod report;
mod source;
mod stream;
mod tally;
mod tar;
mod text;
mod trace;
mod unpacked;
mod zip;

use std::io;
use std::path::{Path, PathBuf};

use rebuilder::{Artifact, Digest, Trace};

pub use cause::{Cause, CauseId};
pub use difference::{
    Change, Comparison, Content, Detail, Difference, Explanation, Format, Hunk, Line, Note, Origin,
    Side, Tier, Window,
};
pub use limits::Limits;
pub use listing::{Listed, ListedContent, Listing, members};
pub use packing::{Packing, TarWriter};
pub use replay::{Owner, ReplayError, Taken, TakenOwner, TakenTime, replay};
pub use unpacked::Unpacked;

use archive::Archive;
use container::Container;
use differ::{Differ, Found, empty_node, note_stop};
use limits::{Meter, Stop};
use source::Source;

/// Unexplained members that a comparison lists.
const UNEXPLAINED_MAX: usize = 1_000;

/// Trouble of the machine or the caller. Damaged archives are no trouble but a difference.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A side cannot be read.
    #[error("read {path}: {error}")]
    Read {
        /// The path as it was given.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A side is a device, socket or pipe.
    #[error("{0} is neither a regular file nor a directory")]
    NotAFile(PathBuf),
}

/// Compares two files or two directories. With the `origin` of the rebuilt side, every published
/// member is traced as well.
pub fn compare(
    published: &Path,
    rebuilt: &Path,
    origin: Option<&Trace>,
    limits: &Limits,
) -> Result<Comparison, CompareError> {
    let (input_a, input_b) = std::thread::scope(|scope| {
        let published = scope.spawn(|| Input::read(published, limits));
        let rebuilt = Input::read(rebuilt, limits);
        // The thread only reads; a panic there is a bug here.
        (published.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), rebuilt)
    });
    let (input_a, input_b) = (input_a?, input_b?);
    if input_a.is_directory == input_b.is_directory
        && input_a.artifact.sha256 == input_b.artifact.sha256
        && input_a.artifact.size == input_b.artifact.size
    {
        return Ok(bitwise(input_a.artifact, input_b.artifact));
    }
    let meter = Meter::new(limits);
    let differ = Differ { meter: &meter };
    let name = input_a.artifact.name.clone();
    let found = match (input_a.is_directory, input_b.is_directory) {
        (false, false) => {
            let sources = (Source::File(published.into()), Source::File(rebuilt.into()));
            differ.compare(&name, &sources.0, &sources.1, 0)
        }
        (true, true) => {
            let containers =
                [Container::Directory(published.into()), Container::Directory(rebuilt.into())];
            let node = empty_node(&name, Change::Changed);
            Archive::new(differ, 0, containers).compare(node, None)
        }
        (published_is_directory, _) => Ok(file_and_directory(&name, published_is_directory)),
    };
    let read = |error| CompareError::Read { path: published.to_owned(), error };
    let found = match found.map_err(Stop::of) {
        Ok(found) => found,
        // A limit that was reached where nothing could be said about one member is said about all.
        Err(Ok(stop)) => stopped(&name, &stop),
        Err(Err(error)) => return Err(read(error)),
    };
    let explanation = match origin {
        Some(trace) => Some(explain(published, trace, limits)?),
        None => None,
    };
    Ok(conclude(input_a.artifact, input_b.artifact, found, explanation))
}

/// Where every member of `published` comes from.
pub fn explain(
    published: &Path,
    trace: &Trace,
    limits: &Limits,
) -> Result<Explanation, CompareError> {
    let meter = Meter::new(limits);
    let read = |error| CompareError::Read { path: published.to_owned(), error };
    let metadata = std::fs::metadata(published).map_err(read)?;
    let directory = metadata.is_dir().then(|| Container::Directory(published.into()));
    let source = Source::File(published.into());
    trace::explain(&source, directory.as_ref(), trace, &meter).map_err(read)
}

/// How the archive `published` was packed, as far as its headers tell.
pub fn packing(published: &Path, limits: &Limits) -> Result<Packing, CompareError> {
    let meter = Meter::new(limits);
    let read = |error| CompareError::Read { path: published.to_owned(), error };
    packing::read(&Source::File(published.into()), &meter).map_err(read)
}

/// The stream inside the compressed file `published`, and what its frame tells of the compressor.
pub fn unpacked(published: &Path, limits: &Limits) -> Result<Unpacked, CompareError> {
    let meter = Meter::new(limits);
    let read = |error| CompareError::Read { path: published.to_owned(), error };
    unpacked::read(&Source::File(published.into()), &meter).map_err(read)
}

/// One side, hashed.
struct Input {
    artifact: Artifact,
    is_directory: bool,
}

impl Input {
    fn read(path: &Path, limits: &Limits) -> Result<Input, CompareError> {
        let read = |error| CompareError::Read { path: path.to_owned(), error };
        let metadata = std::fs::metadata(path).map_err(read)?;
        let name = match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => ".".into(),
        };
        if metadata.is_dir() {
            let artifact = directory_artifact(name, path, limits).map_err(read)?;
            return Ok(Input { artifact, is_directory: true });
        }
        if !metadata.is_file() {
            return Err(CompareError::NotAFile(path.to_owned()));
        }
        let (sha256, size) = Digest::of_file(path).map_err(read)?;
        Ok(Input { artifact: Artifact { name, size, sha256 }, is_directory: false })
    }
}

/// A directory has no bytes of its own: its digest is that of a list of its members.
fn directory_artifact(name: String, path: &Path, limits: &Limits) -> io::Result<Artifact> {
    let meter = Meter::new(limits);
    let mut listing = container::Listing::default();
    let walked = Container::Directory(path.into()).walk(&meter, &mut listing)?;
    if let Some(stop) = walked.stop {
        // Two lists that were cut must not agree by chance.
        listing.note(&format!("{stop} {name} {}", path.display()));
    }
    let (sha256, size) = listing.finish();
    Ok(Artifact { name, size, sha256 })
}

fn file_and_directory(name: &str, published_is_directory: bool) -> Found {
    let mut node = empty_node(name, Change::Changed);
    let detail = match published_is_directory {
        true => "directory → file",
        false => "file → directory",
    };
    node.causes.push(Cause::whole(CauseId::MemberType, detail));
    Found { tier: Tier::Different, node, unexplained: Vec::new(), members: 0 }
}

fn stopped(name: &str, stop: &Stop) -> Found {
    let mut node = empty_node(name, Change::Changed);
    note_stop(&mut node, Side::Published, stop);
    Found { tier: Tier::Different, node, unexplained: Vec::new(), members: 0 }
}

fn bitwise(published: Artifact, rebuilt: Artifact) -> Comparison {
    let summary = format!("identical, {} bytes", cause::grouped(published.size));
    Comparison {
        published,
        rebuilt,
        tier: Tier::Bitwise,
        summary,
        causes: Vec::new(),
        unexplained: Vec::new(),
        unexplained_omitted: 0,
        explanation: None,
        difference: None,
    }
}

fn conclude(
    published: Artifact,
    rebuilt: Artifact,
    found: Found,
    explanation: Option<Explanation>,
) -> Comparison {
    let mut node = found.node;
    node.published = differ::content_of(published.size, published.sha256);
    node.rebuilt = differ::content_of(rebuilt.size, rebuilt.sha256);
    let mut unexplained = match &explanation {
        Some(explanation) => trace::unexplained(explanation),
        None => found.unexplained,
    };
    unexplained.sort();
    trace::mark(&mut node.children, explanation.as_ref(), &unexplained);
    let unexplained_omitted = unexplained.len().saturating_sub(UNEXPLAINED_MAX) as u64;
    unexplained.truncate(UNEXPLAINED_MAX);
    let causes = node.causes.clone();
    let summary = report::summary(found.tier, &causes, found.members);
    Comparison {
        published,
        rebuilt,
        tier: found.tier,
        summary,
        causes,
        unexplained,
        unexplained_omitted,
        explanation,
        difference: Some(node),
    }
}
