//! Tar archives as they are written: every header field raw, in one streaming pass, nothing
//! extracted. The `tar` crate hides what this room has to explain (how numbers are written, which
//! mechanism carries a long name, what follows the end), so headers are read here (POSIX.1-2017
//! pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").

mod extended;
pub(super) mod fields;
mod header;
mod sparse;

use std::io::{self, Read};

use rebuilder::Digest;
use sha2::{Digest as _, Sha256};

use super::limits::{Meter, Stop};
use super::stream::Trailing;
use extended::Extended;
use fields::TarFields;
use header::Header;

/// Bytes of a header, and what contents are padded to.
pub(super) const BLOCK: usize = 512;
const BUFFER_BYTES: usize = 64 << 10;

/// Whether `head` begins a tar: a block of zeros, or a header whose checksum is right.
pub(super) fn is_tar(head: &[u8]) -> bool {
    match head.first_chunk::<BLOCK>() {
        Some(block) => header::checksum_is_right(block),
        None => false,
    }
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    CharacterDevice,
    BlockDevice,
    Fifo,
    Other(u8),
}

impl Kind {
    pub(super) fn name(self) -> String {
        match self {
            Kind::File => "file".into(),
            Kind::Directory => "directory".into(),
            Kind::Symlink => "symbolic link".into(),
            Kind::Hardlink => "hard link".into(),
            Kind::CharacterDevice => "character device".into(),
            Kind::BlockDevice => "block device".into(),
            Kind::Fifo => "fifo".into(),
            Kind::Other(flag) => format!("type {:?}", char::from(flag)),
        }
    }
}

/// One member, without its content.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) link: String,
    /// Bytes that the content takes in the archive.
    stored_bytes: u64,
    /// Holes, if the content is stored sparsely.
    sparse: Option<sparse::Map>,
    pub(super) fields: Box<TarFields>,
}

impl Entry {
    /// Bytes of the content, holes included.
    pub(super) fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored_bytes, sparse::Map::real_bytes)
    }
}

/// What comes after the last member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Zeros that follow the last member; two blocks at least, if the archive is whole.
    pub(super) zero_bytes: u64,
    /// What follows the zeros.
    pub(super) trailing: Option<Trailing>,
    /// Bytes of the whole stream.
    total_bytes: u64,
}

impl End {
    /// Whether the zeros are what `tar` writes by itself: two blocks, then up to the next record of
    /// 10,240 bytes. Their number then only follows from the size of the members.
    pub(super) fn is_usual(&self) -> bool {
        const RECORD_BYTES: u64 = 20 * BLOCK as u64;
        let two_blocks = 2 * BLOCK as u64;
        let whole = self.total_bytes.is_multiple_of(RECORD_BYTES);
        whole && (two_blocks..two_blocks + RECORD_BYTES).contains(&self.zero_bytes)
    }
}

/// Reads a tar member by member.
pub(super) struct TarReader<'a> {
    input: Box<dyn Read + Send + 'a>,
    meter: &'a Meter<'a>,
    offset: u64,
    /// Takes every header, padding and trailing byte, and every content's digest and size. Two
    /// readers with the same value here have read the same bytes.
    identity: Sha256,
    /// The raw headers of the current entry.
    entry_headers: Sha256,
    global: Extended,
    buffer: Vec<u8>,
    ended_by_zeros: bool,
}

impl<'a> TarReader<'a> {
    pub(super) fn new(input: Box<dyn Read + Send + 'a>, meter: &'a Meter<'a>) -> TarReader<'a> {
        TarReader {
            input,
            meter,
            offset: 0,
            identity: Sha256::new(),
            entry_headers: Sha256::new(),
            global: Extended::default(),
            buffer: vec![0; BUFFER_BYTES],
            ended_by_zeros: false,
        }
    }

    /// The next member; its content must be read before the one after it. After `None`, call
    /// [`TarReader::end`].
    pub(super) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let mut extended = Extended::default();
        self.entry_headers = Sha256::new();
        loop {
            self.meter.check_time().map_err(Stop::into_io)?;
            let offset = self.offset;
            let Some(block) = self.block()? else { return Ok(None) };
            if block == [0; BLOCK] {
                return Ok(None);
            }
            let header = Header::parse(&block, offset)?;
            match header.typeflag {
                b'x' | b'g' | b'L' | b'K' => {
                    let body = self.extension(&header)?;
                    if header.typeflag == b'g' {
                        self.global.read_pax(&header, &body)?;
                        extended.note_header(&header);
                    } else if header.typeflag == b'x' {
                        extended.read_pax(&header, &body)?;
                    } else {
                        extended.read_gnu(&header, &body);
                    }
                    self.limit_name(extended.longest_name())?;
                }
                _ => return self.entry(header, extended).map(Some),
            }
        }
    }

    fn entry(&mut self, header: Header, extended: Extended) -> io::Result<Entry> {
        let (name, mut name_form) = header.name();
        let path = match extended.path(&self.global) {
            Some((path, form)) => {
                name_form = form;
                path
            }
            None => name,
        };
        self.limit_name(path.len())?;
        let kind = header.kind(&path);
        let has_data = matches!(kind, Kind::File | Kind::Other(_));
        let declared = extended.number("size", &self.global).unwrap_or(header.size);
        let mut stored_bytes = if has_data { declared } else { 0 };
        let mut map = None;
        if header.typeflag == b'S' {
            map = Some(self.old_sparse_map(&header)?);
        } else if extended.is_sparse() {
            map = Some(self.pax_sparse_map(&extended, &mut stored_bytes)?);
        }
        let path = extended.sparse_name().unwrap_or(path);
        let mut fields = Box::new(TarFields::new(&header, &extended, &self.global, name_form));
        fields.sparse = map.is_some();
        let link = extended.link(&self.global).unwrap_or_else(|| header.link());
        let path = match path.trim_end_matches('/') {
            "" => path,
            trimmed => trimmed.to_owned(),
        };
        Ok(Entry { path, kind, link, stored_bytes, sparse: map, fields })
    }

    fn limit_name(&self, bytes: usize) -> io::Result<()> {
        let bound = self.meter.limits.name_bytes_max;
        match bytes as u64 > bound {
            true => {
                Err(Stop::Limit(format!("a member's name is longer than {bound} bytes")).into_io())
            }
            false => Ok(()),
        }
    }

    /// How many bytes of the tar were read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes over the content of `entry`.
    pub(super) fn skip_content(&mut self, entry: &Entry) -> io::Result<()> {
        self.stored(entry.stored_bytes, &mut |_| {})?;
        self.padding(entry.stored_bytes)
    }

    /// Gives the content of `entry` to `sink`, holes as zeros; its digest and size.
    pub(super) fn content(
        &mut self,
        entry: &mut Entry,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<(Digest, u64)> {
        let mut hasher = Sha256::new();
        let mut size = 0;
        match entry.sparse.take() {
            None => {
                self.stored(entry.stored_bytes, &mut |bytes| {
                    hasher.update(bytes);
                    sink(bytes);
                })?;
                size = entry.stored_bytes;
            }
            Some(map) => {
                let mut left = entry.stored_bytes;
                for piece in map.pieces(self.meter)? {
                    let mut give = |bytes: &[u8]| {
                        hasher.update(bytes);
                        size += bytes.len() as u64;
                        sink(bytes);
                    };
                    match piece {
                        sparse::Piece::Hole(bytes) => sparse::zeros(bytes, &mut give),
                        sparse::Piece::Data(bytes) => {
                            let bytes = bytes.min(left);
                            left -= bytes;
                            self.stored(bytes, &mut give)?;
                        }
                    }
                }
                self.stored(left, &mut |bytes| hasher.update(bytes))?;
            }
        }
        self.padding(entry.stored_bytes)?;
        let digest = Digest::from_hasher(hasher);
        self.identity.update(digest.to_string());
        self.identity.update(size.to_le_bytes());
        entry.fields.raw = std::mem::take(&mut self.entry_headers).finalize().into();
        Ok((digest, size))
    }

    fn stored(&mut self, bytes: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_BYTES);
            let count = self.input.read(&mut self.buffer[..wanted])?;
            if count == 0 {
                return Err(self.corrupt("the tar ends within a member"));
            }
            sink(&self.buffer[..count]);
            left -= count as u64;
            self.offset += count as u64;
        }
        Ok(())
    }

    /// The rest of a content's last block; usually zeros, but bytes could hide there.
    fn padding(&mut self, content_bytes: u64) -> io::Result<()> {
        let rest = usize::try_from(content_bytes % BLOCK as u64).unwrap_or(0);
        if rest == 0 {
            return Ok(());
        }
        let mut padding = [0; BLOCK];
        let count = self.fill(&mut padding[rest..])?;
        if count < BLOCK - rest {
            return Err(self.corrupt("the tar ends within the padding of a member"));
        }
        self.identity.update(&padding[rest..]);
        self.entry_headers.update(&padding[rest..]);
        Ok(())
    }

    /// Reads what follows the last member, to the end of the stream.
    pub(super) fn end(&mut self) -> io::Result<End> {
        let mut end = End::default();
        // The block that `next_entry` took for the end, if there was one.
        if self.ended_by_zeros {
            end.zero_bytes = BLOCK as u64;
        }
        loop {
            let count = self.input.read(&mut self.buffer)?;
            if count == 0 {
                end.total_bytes = self.offset;
                return Ok(end);
            }
            self.meter.check_time().map_err(Stop::into_io)?;
            let bytes = &self.buffer[..count];
            self.identity.update(bytes);
            let zeros = bytes.iter().position(|byte| *byte != 0).unwrap_or(count) as u64;
            match &mut end.trailing {
                Some(trailing) => trailing.bytes += count as u64,
                None if zeros == count as u64 => end.zero_bytes += zeros,
                None => {
                    end.zero_bytes += zeros;
                    let offset = self.offset + zeros;
                    let bytes = count as u64 - zeros;
                    end.trailing = Some(Trailing { offset, bytes, zero: false });
                }
            }
            self.offset += count as u64;
        }
    }

    /// Consumes the rest after damage, so that the identity covers every byte.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        loop {
            let count = self.input.read(&mut self.buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.meter.check_time().map_err(Stop::into_io)?;
            self.identity.update(&self.buffer[..count]);
        }
    }

    /// Stands for every byte that was read.
    pub(super) fn identity(self) -> [u8; 32] {
        self.identity.finalize().into()
    }

    /// The content of the current entry as a reader; the archive cannot be read on after it.
    pub(super) fn into_content(self, entry: &Entry) -> Option<Box<dyn Read + Send + 'a>> {
        match entry.sparse {
            Some(_) => None,
            None => Some(Box::new(self.input.take(entry.stored_bytes))),
        }
    }

    /// The next block, `None` at the end of the stream.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let count = self.fill(&mut block)?;
        self.identity.update(&block[..count]);
        self.entry_headers.update(&block[..count]);
        match count {
            0 => Ok(None),
            BLOCK => {
                self.ended_by_zeros = block == [0; BLOCK];
                Ok(Some(block))
            }
            _ => Err(self.corrupt("the tar ends within a header")),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            let read = self.input.read(&mut buffer[count..])?;
            if read == 0 {
                break;
            }
            count += read;
        }
        self.offset += count as u64;
        Ok(count)
    }

    /// The body of an extension header, bounded: a pax record may claim to be of 1 GB.
    fn extension(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        const EXTENSION_BYTES_MAX: u64 = 1 << 20;
        if header.size > EXTENSION_BYTES_MAX {
            let text = format!("an extended tar header is larger than {EXTENSION_BYTES_MAX} bytes");
            return Err(Stop::Limit(text).into_io());
        }
        let mut body = Vec::new();
        self.stored(header.size, &mut |bytes| body.extend_from_slice(bytes))?;
        self.identity.update(&body);
        self.entry_headers.update(&body);
        self.padding(header.size)?;
        Ok(body)
    }

    fn old_sparse_map(&mut self, header: &Header) -> io::Result<sparse::Map> {
        let mut map = header.sparse_map();
        let mut extended = header.sparse_continues();
        while extended {
            let Some(block) = self.block()? else {
                return Err(self.corrupt("the tar ends within a sparse map"));
            };
            extended = map.extend_from_block(&block);
            map.limit()?;
        }
        Ok(map)
    }

    /// Format 1.0 keeps the map in front of the data, the older ones in the pax records.
    fn pax_sparse_map(
        &mut self,
        extended: &Extended,
        stored_bytes: &mut u64,
    ) -> io::Result<sparse::Map> {
        let mut map = extended.sparse_map();
        if !extended.sparse_map_in_data() {
            return Ok(map);
        }
        let mut text = Vec::new();
        while !map.extend_from_text(&text) {
            if *stored_bytes < BLOCK as u64 {
                return Err(self.corrupt("a sparse map is damaged"));
            }
            let Some(block) = self.block()? else {
                return Err(self.corrupt("the tar ends within a sparse map"));
            };
            *stored_bytes -= BLOCK as u64;
            text.extend_from_slice(&block);
            map.limit_text(text.len())?;
        }
        map.limit()?;
        Ok(map)
    }

    fn corrupt(&self, what: &str) -> io::Error {
        Stop::Corrupt(format!("{what}, at offset {}", self.offset)).into_io()
    }
}
