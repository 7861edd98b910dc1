//! Replay: the rebuilt archive once more, with the order, the modification times and the owners of
//! the published one.
//!
//! Releases that were packed by hand carry what their manager's machine left in them, which no tag
//! knows. Exactly three things are taken from the published archive, as values that its headers
//! were parsed to: which member comes when, each member's modification time in seconds, and its
//! user and group by number and name. Every byte besides is copied from the rebuilt archive: names,
//! types, permissions, link targets, sizes and contents. What has other members, or fields that
//! mean more than these three, is refused.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CompareError;
use super::cause::grouped;
use super::container::{Container, Visitor};
use super::limits::{Limits, Meter, Stop};
use super::member::{Member, Metadata};
use super::packing::TarWriter;
use super::source::Source;
use super::tar::{BLOCK, Kind, TarReader};

/// Different times that are replayed. A machine leaves three or four; more could carry a message.
const TIMES_MAX: usize = 16;
/// Different owners that are replayed.
const OWNERS_MAX: usize = 4;

/// What a replay took from the published archive. All else is the rebuilt one's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Members of the archive, which are in the published order.
    pub members: u64,
    /// Modification times, oldest first.
    pub times: Vec<TakenTime>,
    /// Users and groups.
    pub owners: Vec<TakenOwner>,
}

/// A modification time of the published archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenTime {
    pub time: Timestamp,
    /// How many members have it.
    pub members: u64,
}

/// An owner of the published archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOwner {
    #[serde(flatten)]
    pub owner: Owner,
    /// How many members have it.
    pub members: u64,
}

/// User and group of a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    pub uid: i64,
    pub gid: i64,
    /// Name of the user; may be empty.
    pub user: String,
    /// Name of the group; may be empty.
    pub group: String,
}

/// Why there is no replayed archive.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The two archives differ in more than is replayed. A result, not trouble.
    #[error("{0}")]
    Refused(String),
    /// A side cannot be read.
    #[error(transparent)]
    Read(CompareError),
    /// The replayed archive cannot be written.
    #[error("write the replayed archive: {0}")]
    Write(io::Error),
}

impl fmt::Display for Taken {
    /// `the order of its 4,770 members, 4 modification times and the owner ambv:ambv (1000:1000)`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let times = match self.times.as_slice() {
            [one] => format!("the modification time {}", one.time),
            many => format!("{} modification times", many.len()),
        };
        let owners = match self.owners.as_slice() {
            [one] => format!("the owner {}", one.owner),
            many => format!("{} owners", many.len()),
        };
        write!(f, "the order of its {} members, {times} and {owners}", grouped(self.members))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Owner { uid, gid, user, group } = self;
        match user.is_empty() && group.is_empty() {
            true => write!(f, "{uid}:{gid}"),
            false => write!(f, "{user}:{group} ({uid}:{gid})"),
        }
    }
}

/// Writes the tar `rebuilt`, which is not compressed, to `output` with order, times and owners of
/// `published`, compressed or not.
pub fn replay(
    published: &Path,
    rebuilt: &Path,
    output: &mut dyn Write,
    limits: &Limits,
) -> Result<Taken, ReplayError> {
    let meter = Meter::new(limits);
    let index = Index::read(rebuilt, &meter).map_err(|error| stopped(rebuilt, error))?;
    let unseen = index.members.iter().map(|(path, piece)| (path.as_str(), piece)).collect();
    let mut plan = Plan { unseen, pieces: Vec::new(), refused: None };
    let container = Container::Tar(Source::File(published.to_owned()));
    let walked = container.walk(&meter, &mut plan).map_err(|error| stopped(published, error))?;
    if let Some(reason) = plan.refused.or(walked.stop.map(|stop| stop.to_string())) {
        return Err(ReplayError::Refused(reason));
    }
    if let Some(path) = plan.unseen.keys().min() {
        return Err(ReplayError::Refused(format!("{path} is only rebuilt")));
    }
    let taken = taken(&plan.pieces)?;
    let mut input = File::open(rebuilt).map_err(|error| stopped(rebuilt, error))?;
    for (piece, stamp) in plan.pieces {
        let bytes = read_piece(&mut input, piece).map_err(|error| stopped(rebuilt, error))?;
        let (before, rest) = bytes;
        output.write_all(&before).map_err(ReplayError::Write)?;
        let mut header = piece.header;
        stamp.put_on(&mut header)?;
        output.write_all(&header).map_err(ReplayError::Write)?;
        io::copy(&mut (&mut input).take(rest), output).map_err(ReplayError::Write)?;
    }
    // The zeros at the end: their number follows from the size of the members.
    input.seek(SeekFrom::Start(index.end)).map_err(|error| stopped(rebuilt, error))?;
    io::copy(&mut input, output).map_err(ReplayError::Write)?;
    Ok(taken)
}

/// Damage and limits refuse the replay; trouble of the machine stays trouble.
fn stopped(path: &Path, error: io::Error) -> ReplayError {
    match Stop::of(error) {
        Ok(stop) => ReplayError::Refused(stop.to_string()),
        Err(error) => {
            let path = path.to_owned();
            ReplayError::Read(CompareError::Read { path, error })
        }
    }
}

/// Where the members of the rebuilt tar lie.
struct Index {
    members: HashMap<String, Piece>,
    /// Where the last one ends.
    end: u64,
}

/// One member of the rebuilt tar.
struct Piece {
    kind: Kind,
    /// Where it begins, with the headers of a long name if it has one.
    start: u64,
    /// Its own header, which lies in front of its content.
    header: [u8; BLOCK],
    /// Where its content begins.
    content: u64,
    /// Where its content and the padding end.
    end: u64,
}

impl Index {
    fn read(rebuilt: &Path, meter: &Meter) -> io::Result<Index> {
        let mut reader = TarReader::new(Box::new(File::open(rebuilt)?), meter);
        let mut headers = File::open(rebuilt)?;
        let mut index = Index { members: HashMap::new(), end: 0 };
        let refused = |path: &str, why: &str| {
            Err(Stop::Corrupt(format!("the rebuilt {path} {why}")).into_io())
        };
        loop {
            let start = reader.offset();
            let Some(entry) = reader.next_entry()? else { return Ok(index) };
            if entry.fields.written_by() != TarWriter::GnuFormat {
                return refused(&entry.path, "is not in the old GNU format");
            }
            if !is_replayed(entry.kind) || entry.fields.sparse {
                return refused(&entry.path, "is no plain file, directory or symbolic link");
            }
            let content = reader.offset();
            reader.skip_content(&entry)?;
            let mut header = [0; BLOCK];
            headers.seek(SeekFrom::Start(content - BLOCK as u64))?;
            headers.read_exact(&mut header)?;
            index.end = reader.offset();
            let piece = Piece { kind: entry.kind, start, header, content, end: index.end };
            if index.members.len() as u64 >= meter.limits.members_max {
                let bound = meter.limits.members_max;
                return Err(Stop::Limit(format!("more than {bound} members")).into_io());
            }
            let path = entry.path;
            if index.members.insert(path.clone(), piece).is_some() {
                return refused(&path, "is there twice");
            }
        }
    }
}

/// A hard link would have to follow what it names, and devices are in no release.
fn is_replayed(kind: Kind) -> bool {
    matches!(kind, Kind::File | Kind::Directory | Kind::Symlink)
}

/// The headers of a long name, as they are; then how many bytes follow the member's own header. The
/// position is there afterwards.
fn read_piece(input: &mut File, piece: &Piece) -> io::Result<(Vec<u8>, u64)> {
    let before_bytes = piece.content - BLOCK as u64 - piece.start;
    input.seek(SeekFrom::Start(piece.start))?;
    let mut before = Vec::new();
    input.take(before_bytes).read_to_end(&mut before)?;
    input.seek(SeekFrom::Start(piece.content))?;
    Ok((before, piece.end - piece.content))
}

/// What is taken from one published member.
struct Stamp {
    mtime_seconds: i64,
    owner: Owner,
}

/// Takes the published members in their order, each with the rebuilt piece that goes there.
struct Plan<'a> {
    unseen: HashMap<&'a str, &'a Piece>,
    pieces: Vec<(&'a Piece, Stamp)>,
    refused: Option<String>,
}

impl Visitor for Plan<'_> {
    fn wants(&self, _index: u64, _size: u64) -> bool {
        false
    }

    fn member(&mut self, _index: u64, member: Member, _body: Option<Vec<u8>>) -> Result<(), Stop> {
        self.place(&member).map_err(|reason| {
            self.refused = Some(reason.clone());
            Stop::Corrupt(reason)
        })
    }
}

impl Plan<'_> {
    fn place(&mut self, member: &Member) -> Result<(), String> {
        let path = &member.path;
        let Metadata::Tar(fields) = &member.metadata else {
            return Err(format!("the published {path} has no tar header"));
        };
        let Some(piece) = self.unseen.remove(path.as_str()) else {
            return Err(format!("{path} is only published, or is published twice"));
        };
        if piece.kind != member.kind {
            let (published, rebuilt) = (member.kind.name(), piece.kind.name());
            return Err(format!("{path} is a {published} published and a {rebuilt} rebuilt"));
        }
        let (mtime_seconds, nanoseconds) = fields.mtime();
        if nanoseconds != 0 {
            return Err(format!("the published {path} has a time with a fraction of a second"));
        }
        self.pieces.push((piece, Stamp { mtime_seconds, owner: fields.owner() }));
        Ok(())
    }
}

fn taken(pieces: &[(&Piece, Stamp)]) -> Result<Taken, ReplayError> {
    let mut times: BTreeMap<i64, u64> = BTreeMap::new();
    let mut owners: BTreeMap<&Owner, u64> = BTreeMap::new();
    for (_, stamp) in pieces {
        *times.entry(stamp.mtime_seconds).or_default() += 1;
        *owners.entry(&stamp.owner).or_default() += 1;
        for (what, count, max) in
            [("times", times.len(), TIMES_MAX), ("owners", owners.len(), OWNERS_MAX)]
        {
            if count > max {
                let text = format!("the published archive has more than {max} {what}");
                return Err(ReplayError::Refused(text));
            }
        }
    }
    let time = |(seconds, members): (i64, u64)| match Timestamp::from_second(seconds) {
        Ok(time) => Ok(TakenTime { time, members }),
        Err(_) => Err(ReplayError::Refused(format!("{seconds} s is no time"))),
    };
    let owner = |(owner, members): (&Owner, u64)| TakenOwner { owner: owner.clone(), members };
    Ok(Taken {
        members: pieces.len() as u64,
        times: times.into_iter().map(time).collect::<Result<_, _>>()?,
        owners: owners.into_iter().map(owner).collect(),
    })
}

impl Stamp {
    /// GNU tar manual, "Basic Tar Format": numbers are octal digits and a NUL.
    fn put_on(&self, header: &mut [u8; BLOCK]) -> Result<(), ReplayError> {
        let Owner { uid, gid, user, group } = &self.owner;
        put_number(&mut header[108..116], *uid)?;
        put_number(&mut header[116..124], *gid)?;
        put_number(&mut header[136..148], self.mtime_seconds)?;
        put_name(&mut header[265..297], user)?;
        put_name(&mut header[297..329], group)?;
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        // The sum of 512 bytes has at most six octal digits.
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        Ok(())
    }
}

fn put_number(field: &mut [u8], value: i64) -> Result<(), ReplayError> {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}\0");
    if value < 0 || text.len() != field.len() {
        let text = format!("the published number {value} does not fit {digits} octal digits");
        return Err(ReplayError::Refused(text));
    }
    field.copy_from_slice(text.as_bytes());
    Ok(())
}

fn put_name(field: &mut [u8], name: &str) -> Result<(), ReplayError> {
    let fits = name.len() < field.len() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits {
        let text = format!("the published owner {name:?} is no plain name");
        return Err(ReplayError::Refused(text));
    }
    field.fill(0);
    field[..name.len()].copy_from_slice(name.as_bytes());
    Ok(())
}
