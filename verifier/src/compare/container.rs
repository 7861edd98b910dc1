//! Walks the members of a tar, a zip or a directory in one pass, hashing each.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rebuilder::Digest;
use sha2::{Digest as _, Sha256};

use super::limits::{Meter, Stop};
use super::member::{Member, Metadata, name_of};
use super::source::{Peeled, ReadSeek, Source};
use super::tar::{End, Kind, TarReader};
use super::zip;

/// Bytes that are reserved because a header says so; headers may lie.
const RESERVE_BYTES_MAX: u64 = 1 << 20;

/// Something with members.
#[derive(Clone)]
pub(super) enum Container {
    /// The tar that this source is or unpacks to.
    Tar(Source),
    /// The zip that this source is.
    Zip(Source),
    /// A directory on disk.
    Directory(PathBuf),
}

/// Takes the members of one side as they come.
pub(super) trait Visitor {
    /// Whether the bytes of member number `index`, `size` bytes long, should be kept for
    /// [`Visitor::member`].
    fn wants(&self, index: u64, size: u64) -> bool;
    /// The next member.
    fn member(&mut self, index: u64, member: Member, body: Option<Vec<u8>>) -> Result<(), Stop>;
}

/// What a walk has found besides members.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Stands for every byte of the archive; `None` where there is no such thing.
    pub(super) identity: Option<[u8; 32]>,
    /// What follows the last member of a tar.
    pub(super) end: End,
    /// What a zip holds besides entries.
    pub(super) zip: Option<zip::Frame>,
    /// Why the walk ended early.
    pub(super) stop: Option<Stop>,
}

impl Walked {
    fn stopped(stop: Stop) -> Walked {
        Walked { stop: Some(stop), ..Walked::default() }
    }
}

impl Container {
    /// Shows every member to `visitor`.
    pub(super) fn walk(&self, meter: &Meter, visitor: &mut dyn Visitor) -> io::Result<Walked> {
        match self {
            Container::Tar(source) => match Peeled::open(source, meter) {
                Ok(peeled) => walk_tar(peeled.reader, meter, visitor),
                Err(error) => Ok(Walked::stopped(Stop::of(error)?)),
            },
            Container::Zip(source) => match source.open_seekable(meter) {
                Ok(mut input) => walk_zip(&mut *input, meter, visitor),
                Err(error) => Ok(Walked::stopped(Stop::of(error)?)),
            },
            Container::Directory(root) => {
                let mut walk = DirectoryWalk { root, meter, visitor, index: 0 };
                let stop = stop_of(walk.directory(Path::new(""), 0))?;
                Ok(Walked { stop, ..Walked::default() })
            }
        }
    }

    /// Member number `index`, to be opened again; `path` is its path.
    pub(super) fn source_of(&self, index: u64, path: &str) -> Source {
        match self {
            Container::Tar(source) => Source::InTar { outer: Box::new(source.clone()), index },
            Container::Zip(source) => Source::InZip { outer: Box::new(source.clone()), index },
            Container::Directory(root) => Source::File(root.join(path)),
        }
    }
}

/// Separates what stopped a walk from trouble of the machine.
fn stop_of(result: io::Result<()>) -> io::Result<Option<Stop>> {
    match result {
        Ok(()) => Ok(None),
        Err(error) => Stop::of(error).map(Some),
    }
}

/// Walks a tar whose bytes `input` gives.
pub(super) fn walk_tar<'a>(
    input: Box<dyn Read + Send + 'a>,
    meter: &'a Meter<'a>,
    visitor: &mut dyn Visitor,
) -> io::Result<Walked> {
    let mut reader = TarReader::new(input, meter);
    let mut walked = Walked::default();
    walked.stop = stop_of(tar_members(&mut reader, visitor, &mut walked.end))?;
    match walked.stop {
        None => walked.identity = Some(reader.identity()),
        // Damage of the tar itself leaves its stream whole, and two streams may still be equal.
        Some(Stop::Corrupt(_)) => match stop_of(reader.drain())? {
            None => walked.identity = Some(reader.identity()),
            Some(stop) => walked.stop = Some(stop),
        },
        Some(Stop::Limit(_)) => {}
    }
    Ok(walked)
}

fn tar_members(reader: &mut TarReader, visitor: &mut dyn Visitor, end: &mut End) -> io::Result<()> {
    let mut index = 0;
    while let Some(mut entry) = reader.next_entry()? {
        // The visitor wants only what its limit allows, so the stated size is safe to reserve once
        // it is small; growing by doubling would copy every byte once more.
        let size = entry.size();
        let reserve = usize::try_from(size.min(RESERVE_BYTES_MAX)).unwrap_or(0);
        let mut body = visitor.wants(index, size).then(|| Vec::with_capacity(reserve));
        let (sha256, size) = reader.content(&mut entry, &mut |bytes| {
            if let Some(body) = &mut body {
                body.extend_from_slice(bytes);
            }
        })?;
        let member = Member {
            path: entry.path,
            kind: entry.kind,
            link: entry.link,
            size,
            sha256,
            metadata: Metadata::Tar(entry.fields),
        };
        visitor.member(index, member, body).map_err(Stop::into_io)?;
        index += 1;
    }
    *end = reader.end()?;
    Ok(())
}

fn walk_zip(
    input: &mut dyn ReadSeek,
    meter: &Meter,
    visitor: &mut dyn Visitor,
) -> io::Result<Walked> {
    let mut walked = Walked::default();
    let directory = match zip::Directory::read(input, meter) {
        Ok(directory) => directory,
        Err(error) => {
            walked.stop = Some(Stop::of(error)?);
            return Ok(walked);
        }
    };
    for index in 0..directory.len() {
        let result = directory.member(input, index, meter, &|size| visitor.wants(index, size));
        let visited = match result {
            Ok((member, body)) => visitor.member(index, member, body),
            Err(error) => Err(Stop::of(error)?),
        };
        if let Err(stop) = visited {
            walked.stop = Some(stop);
            break;
        }
    }
    walked.zip = Some(directory.into_frame());
    Ok(walked)
}

struct DirectoryWalk<'a> {
    root: &'a Path,
    meter: &'a Meter<'a>,
    visitor: &'a mut dyn Visitor,
    index: u64,
}

impl DirectoryWalk<'_> {
    /// Symbolic links are never followed, so a loop of them cannot trap the walk.
    fn directory(&mut self, relative: &Path, depth: u32) -> io::Result<()> {
        const DIRECTORY_DEPTH_MAX: u32 = 256;
        if depth > DIRECTORY_DEPTH_MAX {
            let text = format!("directories are nested deeper than {DIRECTORY_DEPTH_MAX}");
            return Err(Stop::Limit(text).into_io());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(relative))? {
            names.push(entry?.file_name());
        }
        names.sort();
        for name in names {
            let path = relative.join(&name);
            let kind = self.member(&path)?;
            if kind == Kind::Directory {
                self.directory(&path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn member(&mut self, relative: &Path) -> io::Result<Kind> {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::FileTypeExt;
        self.meter.check_time().map_err(Stop::into_io)?;
        let path = self.root.join(relative);
        let metadata = fs::symlink_metadata(&path)?;
        let file_type = metadata.file_type();
        let kind = match () {
            () if file_type.is_file() => Kind::File,
            () if file_type.is_dir() => Kind::Directory,
            () if file_type.is_symlink() => Kind::Symlink,
            () if file_type.is_char_device() => Kind::CharacterDevice,
            () if file_type.is_block_device() => Kind::BlockDevice,
            () if file_type.is_fifo() => Kind::Fifo,
            () => Kind::Other(b's'),
        };
        let mut link = String::new();
        let (mut sha256, mut size, mut body) = (Digest::of(b""), 0, None);
        match kind {
            Kind::Symlink => link = name_of(fs::read_link(&path)?.as_os_str().as_bytes()),
            Kind::File => {
                let wanted = self.visitor.wants(self.index, metadata.len());
                (sha256, size, body) = hash(&mut fs::File::open(&path)?, wanted, self.meter)?;
            }
            _ => {}
        }
        let mode = metadata.permissions().mode() & 0o7777;
        // A link has no permissions of its own.
        let mode = if kind == Kind::Symlink { 0o777 } else { mode };
        let member = Member {
            path: name_of(relative.as_os_str().as_bytes()),
            kind,
            link,
            size,
            sha256,
            metadata: Metadata::File { mode },
        };
        self.visitor.member(self.index, member, body).map_err(Stop::into_io)?;
        self.index += 1;
        Ok(kind)
    }
}

/// Hashes the rest of `reader`; keeps the bytes if they are wanted.
pub(super) fn hash(
    reader: &mut dyn Read,
    wanted: bool,
    meter: &Meter,
) -> io::Result<(Digest, u64, Option<Vec<u8>>)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut body = wanted.then(Vec::new);
    let mut size = 0;
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok((Digest::from_hasher(hasher), size, body));
        }
        meter.check_time().map_err(Stop::into_io)?;
        hasher.update(&buffer[..count]);
        size += count as u64;
        if let Some(kept) = &mut body {
            kept.extend_from_slice(&buffer[..count]);
            // The size that a header states may be a lie.
            if kept.len() as u64 > meter.limits.member_bytes_max {
                body = None;
            }
        }
    }
}

/// Digests what a walk shows: the digest of a directory.
#[derive(Default)]
pub(super) struct Listing {
    hasher: Sha256,
    bytes: u64,
}

impl Listing {
    /// Adds a line.
    pub(super) fn note(&mut self, line: &str) {
        self.hasher.update((line.len() as u64).to_le_bytes());
        self.hasher.update(line);
    }

    /// The digest, and the bytes of all files.
    pub(super) fn finish(self) -> (Digest, u64) {
        (Digest::from_hasher(self.hasher), self.bytes)
    }
}

impl Visitor for Listing {
    fn wants(&self, _index: u64, _size: u64) -> bool {
        false
    }

    fn member(&mut self, _index: u64, member: Member, _body: Option<Vec<u8>>) -> Result<(), Stop> {
        self.bytes += member.size;
        self.note(&member.path);
        self.note(&member.link);
        self.note(&format!("{} {:o} {}", member.kind.name(), member.mode(), member.sha256));
        Ok(())
    }
}
