//! Where bytes come from: a file, memory, or a member of another archive that is opened again. And
//! how compressions are peeled off until something is left that has members or is plain content.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::difference::Format;
use super::limits::{Meter, Stop};
use super::stream::{Framing, Unpacker};
use super::tar::{self, TarReader};
use super::zip::{self, Directory};

/// Bytes that tell a format: one tar header.
const HEAD_BYTES: usize = 512;
/// A zip inside a stream is read from its end, so it is held in memory; a larger one is not opened.
const SPOOL_BYTES_MAX: u64 = 32 << 20;

/// Something that can be read from its start any number of times.
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Bytes(Arc<Vec<u8>>),
    /// The member number `index` of the tar that `outer` is or unpacks to.
    InTar {
        outer: Box<Source>,
        index: u64,
    },
    /// The entry number `index` of the zip that `outer` is.
    InZip {
        outer: Box<Source>,
        index: u64,
    },
}

/// A reader that can be positioned.
pub(super) trait ReadSeek: Read + io::Seek + Send {}
impl<T: Read + io::Seek + Send> ReadSeek for T {}

type Reader<'a> = Box<dyn Read + Send + 'a>;

impl Source {
    /// Reads from the start.
    pub(super) fn open<'a>(&self, meter: &'a Meter<'a>) -> io::Result<Reader<'a>> {
        match self {
            Source::File(path) => Ok(Box::new(File::open(path)?)),
            Source::Bytes(bytes) => Ok(Box::new(Cursor::new(Shared(Arc::clone(bytes))))),
            Source::InTar { outer, index } => {
                let mut reader = TarReader::new(Peeled::open(outer, meter)?.reader, meter);
                let mut position = 0;
                while let Some(entry) = reader.next_entry()? {
                    if position == *index {
                        let content = reader.into_content(&entry);
                        return content.ok_or_else(|| {
                            Stop::Limit("a large sparse member is not opened".into()).into_io()
                        });
                    }
                    reader.skip_content(&entry)?;
                    position += 1;
                }
                Err(Stop::Corrupt("a member is not there any more".into()).into_io())
            }
            Source::InZip { outer, index } => {
                let mut input = outer.open_seekable(meter)?;
                let directory = Directory::read(&mut *input, meter)?;
                directory.open(input, *index, meter)
            }
        }
    }

    /// Reads from anywhere.
    pub(super) fn open_seekable(&self, meter: &Meter) -> io::Result<Box<dyn ReadSeek>> {
        match self {
            Source::File(path) => Ok(Box::new(BufReader::new(File::open(path)?))),
            Source::Bytes(bytes) => Ok(Box::new(Cursor::new(Shared(Arc::clone(bytes))))),
            Source::InTar { .. } | Source::InZip { .. } => spool(self.open(meter)?),
        }
    }
}

/// Holds the rest of a stream in memory.
fn spool(reader: Reader) -> io::Result<Box<dyn ReadSeek>> {
    let (bytes, more) = super::limits::read_bounded(reader, SPOOL_BYTES_MAX)?;
    if more {
        let text = format!("a nested zip is larger than {SPOOL_BYTES_MAX} bytes");
        return Err(Stop::Limit(text).into_io());
    }
    Ok(Box::new(Cursor::new(bytes)))
}

/// Lets a cursor read bytes that others hold too.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A source with every compression taken off.
pub(super) struct Peeled<'a> {
    /// The compressions, from the outside in.
    pub(super) layers: Vec<Layer>,
    /// What is left: tar, zip, or anything else.
    pub(super) inner: Inner,
    /// Gives the unpacked bytes, from the first one.
    pub(super) reader: Reader<'a>,
}

/// One compression that was taken off.
pub(super) struct Layer {
    pub(super) format: Format,
    framing: Arc<Mutex<Framing>>,
}

impl Layer {
    /// How the stream is framed, as far as it was read.
    pub(super) fn framing(&self) -> Framing {
        self.framing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a source is under its compressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inner {
    Tar,
    Zip,
    Plain,
}

impl<'a> Peeled<'a> {
    /// Opens `source` and looks at its first bytes. Damage behind them shows up while reading.
    pub(super) fn open(source: &Source, meter: &'a Meter<'a>) -> io::Result<Peeled<'a>> {
        let mut reader = source.open(meter)?;
        let mut layers = Vec::new();
        loop {
            let (head, rest) = behead(reader)?;
            reader = rest;
            let Some(format) = compression(&head) else {
                let inner = match () {
                    () if tar::is_tar(&head) => Inner::Tar,
                    () if zip::is_zip(&head) => Inner::Zip,
                    () => Inner::Plain,
                };
                return Ok(Peeled { layers, inner, reader });
            };
            if layers.len() as u64 >= u64::from(meter.limits.depth_max) {
                let bound = meter.limits.depth_max;
                let text = format!("more than {bound} compressions inside each other");
                return Err(Stop::Limit(text).into_io());
            }
            let (unpacker, framing) = Unpacker::new(reader, format, meter);
            layers.push(Layer { format, framing });
            reader = Box::new(unpacker);
        }
    }
}

/// The first bytes, and a reader that gives them again.
fn behead(mut reader: Reader) -> io::Result<(Vec<u8>, Reader)> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let result = reader.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head);
    // Damage right after the head is met again by whoever reads on; until then the head counts.
    match result {
        Err(error) if head.is_empty() => Err(error),
        _ => Ok((head.clone(), Box::new(Cursor::new(head).chain(reader)))),
    }
}

fn compression(head: &[u8]) -> Option<Format> {
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Format::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Format::Xz),
        // The block and the end-of-stream magic number: "BZh" alone begins texts.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
            Some(Format::Bzip2)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zstd),
        _ => None,
    }
}
