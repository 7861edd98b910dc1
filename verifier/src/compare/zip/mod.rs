//! Zip archives (APPNOTE 6.3.10) and what is one (wheels, epubs), as they are written. The `zip`
//! crate keeps one entry a name and hides what this room has to explain: duplicates, entries that
//! overlap, bytes between them, local headers that differ from the central ones.

pub(super) mod fields;
mod record;

use std::io::{self, Read, Seek, SeekFrom};

use rebuilder::Digest;
use sha2::{Digest as _, Sha256};

use super::container::hash;
use super::limits::{Meter, Stop};
use super::member::{Member, Metadata, name_of};
use super::source::ReadSeek;
use super::tar::Kind;
pub(super) use fields::{Frame, ZipFields};
use record::{Central, END_BYTES, u16_at, u32_at, u64_at};

/// The central directory is held in memory; CPython's largest zip has 40 KB of it.
const DIRECTORY_BYTES_MAX: u64 = 32 << 20;

/// Whether `head` begins a zip.
pub(super) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// A zip's central directory.
pub(super) struct Directory {
    entries: Vec<Central>,
    frame: Frame,
}

impl Directory {
    /// Finds and reads the central directory.
    pub(super) fn read(input: &mut dyn ReadSeek, meter: &Meter) -> io::Result<Directory> {
        let end = End::find(input)?;
        if end.directory_bytes > DIRECTORY_BYTES_MAX {
            let text = format!("a zip directory is larger than {DIRECTORY_BYTES_MAX} bytes");
            return Err(Stop::Limit(text).into_io());
        }
        let Some(start) = end.offset.checked_sub(end.directory_bytes) else {
            return Err(corrupt("the zip directory begins before the file"));
        };
        // What was put in front of a zip, as self-extracting archives do, shifts every offset.
        let Some(shift) = start.checked_sub(end.directory_offset) else {
            return Err(corrupt("the zip directory is not where the file says"));
        };
        input.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        input.take(end.directory_bytes).read_to_end(&mut bytes)?;
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            if entries.len() as u64 > meter.limits.members_max {
                break;
            }
            let (entry, length) = Central::parse(rest, shift)
                .ok_or_else(|| corrupt("a central header of the zip is damaged"))?;
            if entry.name.len() as u64 > meter.limits.name_bytes_max {
                return Err(Stop::Limit("a zip entry's name is too long".into()).into_io());
            }
            entries.push(entry);
            rest = rest.get(length..).unwrap_or_default();
        }
        let mut directory = Directory { entries, frame: end.frame };
        directory.read_local_headers(input)?;
        directory.check_ranges(start)?;
        directory.hash_prefix(input)?;
        Ok(directory)
    }

    fn read_local_headers(&mut self, input: &mut dyn ReadSeek) -> io::Result<()> {
        for entry in &mut self.entries {
            input.seek(SeekFrom::Start(entry.header_offset))?;
            let mut fixed = [0; 30];
            input.read_exact(&mut fixed)?;
            if !fixed.starts_with(b"PK\x03\x04") {
                return Err(corrupt("a local header of the zip is not where it should be"));
            }
            let name_bytes = u16_at(&fixed, 26);
            let extra_bytes = u16_at(&fixed, 28);
            let mut variable = vec![0; usize::from(name_bytes) + usize::from(extra_bytes)];
            input.read_exact(&mut variable)?;
            entry.data_offset = entry.header_offset + 30 + variable.len() as u64;
            let mut local = Sha256::new();
            local.update(&fixed[4..26]);
            local.update(&variable);
            entry.local = local.finalize().into();
            entry.local_name_differs = variable.get(..usize::from(name_bytes)) != Some(&entry.name);
        }
        Ok(())
    }

    /// Entries that share bytes make bombs out of small files; nothing honest writes them.
    fn check_ranges(&mut self, directory_start: u64) -> io::Result<()> {
        let mut ranges: Vec<(u64, u64)> = self
            .entries
            .iter()
            .map(|entry| {
                (entry.header_offset, entry.data_offset.saturating_add(entry.packed_bytes))
            })
            .collect();
        ranges.sort_unstable();
        let mut position = 0;
        for (index, (start, end)) in ranges.iter().enumerate() {
            if index == 0 {
                self.frame.prefix_bytes = *start;
                position = *start;
            }
            let Some(gap) = start.checked_sub(position) else {
                return Err(corrupt("entries of the zip overlap"));
            };
            self.frame.gap_bytes += gap;
            position = *end;
        }
        let Some(gap) = directory_start.checked_sub(position) else {
            return Err(corrupt("entries of the zip overlap its directory"));
        };
        self.frame.gap_bytes += gap;
        Ok(())
    }

    /// What nobody looks at: the bytes before the first entry; those after the end are in already.
    fn hash_prefix(&mut self, input: &mut dyn ReadSeek) -> io::Result<()> {
        input.seek(SeekFrom::Start(0))?;
        let (prefix, _) = Digest::of_reader(input.take(self.frame.prefix_bytes))?;
        self.frame.prefix = Some(prefix);
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn into_frame(self) -> Frame {
        self.frame
    }

    /// Entry number `index`, hashed; its bytes if `wants` says so about their size.
    pub(super) fn member(
        &self,
        input: &mut dyn ReadSeek,
        index: u64,
        meter: &Meter,
        wants: &dyn Fn(u64) -> bool,
    ) -> io::Result<(Member, Option<Vec<u8>>)> {
        let Some(entry) = usize::try_from(index).ok().and_then(|index| self.entries.get(index))
        else {
            return Err(corrupt("an entry of the zip is not there any more"));
        };
        input.seek(SeekFrom::Start(entry.data_offset))?;
        let mut packed = Sha256::new();
        let mut raw = Tee { inner: input.take(entry.packed_bytes), hasher: &mut packed };
        let (sha256, size, body) = {
            let mut reader = record::unpack(&mut raw, entry, meter)?;
            hash(&mut *reader, wants(entry.unpacked_bytes), meter)?
        };
        io::copy(&mut raw, &mut io::sink())?;
        let name = name_of(&entry.name);
        let fields = entry.fields(packed.finalize().into());
        let kind = match fields.file_type() {
            _ if name.ends_with('/') => Kind::Directory,
            0o120000 => Kind::Symlink,
            _ => Kind::File,
        };
        let path = match name.trim_end_matches('/') {
            "" => name,
            trimmed => trimmed.to_owned(),
        };
        let metadata = Metadata::Zip(Box::new(fields));
        Ok((Member { path, kind, link: String::new(), size, sha256, metadata }, body))
    }

    /// The content of entry number `index`.
    pub(super) fn open<'a>(
        &self,
        mut input: Box<dyn ReadSeek>,
        index: u64,
        meter: &'a Meter<'a>,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let Some(entry) = usize::try_from(index).ok().and_then(|index| self.entries.get(index))
        else {
            return Err(corrupt("an entry of the zip is not there any more"));
        };
        input.seek(SeekFrom::Start(entry.data_offset))?;
        let raw = input.take(entry.packed_bytes);
        record::unpack(raw, entry, meter)
    }
}

/// Hashes compressed bytes on their way to the decoder.
struct Tee<'a, R> {
    inner: R,
    hasher: &'a mut Sha256,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// The end of central directory record (section 4.3.16), and its zip64 form.
struct End {
    /// Where the record, or the zip64 one in front of it, begins.
    offset: u64,
    directory_bytes: u64,
    directory_offset: u64,
    frame: Frame,
}

impl End {
    fn find(input: &mut dyn ReadSeek) -> io::Result<End> {
        let file_bytes = input.seek(SeekFrom::End(0))?;
        let window = file_bytes.min(END_BYTES + 0xffff + 20);
        input.seek(SeekFrom::Start(file_bytes - window))?;
        let mut tail = Vec::new();
        input.take(window).read_to_end(&mut tail)?;
        let found = tail.windows(4).rposition(|four| four == b"PK\x05\x06");
        let Some(position) = found.filter(|position| tail.len() - position >= 22) else {
            return Err(corrupt("the zip has no end of central directory record"));
        };
        let record = &tail[position..];
        let comment_bytes = usize::from(u16_at(record, 20));
        let comment = record.get(22..22 + comment_bytes).unwrap_or_default().to_vec();
        let after = record.get(22 + comment_bytes..).unwrap_or_default();
        let trailing_bytes = after.len() as u64;
        let trailing = Some(Digest::of(after));
        let mut end = End {
            offset: file_bytes - window + position as u64,
            directory_bytes: u64::from(u32_at(record, 12)),
            directory_offset: u64::from(u32_at(record, 16)),
            frame: Frame { comment, trailing_bytes, trailing, ..Frame::default() },
        };
        let locator = position.checked_sub(20).and_then(|start| tail.get(start..position));
        if let Some(locator) = locator.filter(|locator| locator.starts_with(b"PK\x06\x07")) {
            end.read_zip64(input, u64_at(locator, 8))?;
        }
        Ok(end)
    }

    fn read_zip64(&mut self, input: &mut dyn ReadSeek, offset: u64) -> io::Result<()> {
        input.seek(SeekFrom::Start(offset))?;
        let mut record = [0; 56];
        input.read_exact(&mut record)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Err(corrupt("the zip64 end record is not where it should be"));
        }
        self.offset = offset;
        self.directory_bytes = u64_at(&record, 40);
        self.directory_offset = u64_at(&record, 48);
        self.frame.zip64 = true;
        Ok(())
    }
}

fn corrupt(what: &str) -> io::Error {
    Stop::Corrupt(what.into()).into_io()
}
