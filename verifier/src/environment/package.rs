//! Unpacks the data member of a Debian package (deb(5)) and runs nothing of it.
//!
//! The bytes have been checked against the lock, but a package is still foreign: device nodes,
//! paths that leave the tree and sizes beyond all bounds are errors.

use std::io::{self, Read};

use anyhow::{Context, bail, ensure};
use tar::EntryType;

use super::assembly::Assembly;
use super::definition::TreePath;

/// Most bytes of one package's data after decompression.
const DATA_BYTES_MAX: u64 = 1 << 30;
/// Most members of one package.
const MEMBERS_MAX: usize = 100_000;
/// Memory that a decoder may use; `xz -9` needs 65 MiB.
const DECODER_BYTES_MAX: u64 = 128 << 20;
/// Largest window of a zstd stream, as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Unpacks `deb` into the tree; `rank` is the package's place in the lock.
pub fn unpack(deb: &[u8], assembly: &Assembly, rank: usize) -> anyhow::Result<()> {
    let mut archive = ar::Archive::new(deb);
    let mut unpacked = false;
    while let Some(member) = archive.next_entry() {
        let member = member.context("read the ar archive")?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        let Some(compression) = name.strip_prefix("data.tar") else { continue };
        ensure!(!unpacked, "it has two data members");
        unpacked = true;
        let data = decoder(compression, member)?;
        unpack_data(data.take(DATA_BYTES_MAX), assembly, rank)?;
    }
    ensure!(unpacked, "it has no data member");
    Ok(())
}

fn decoder<'a>(compression: &str, data: impl Read + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
    match compression {
        "" => Ok(Box::new(data)),
        ".gz" => Ok(Box::new(flate2::read::GzDecoder::new(data))),
        ".xz" => {
            let stream = liblzma::stream::Stream::new_stream_decoder(DECODER_BYTES_MAX, 0)?;
            Ok(Box::new(liblzma::read::XzDecoder::new_stream(data, stream)))
        }
        ".zst" => {
            let mut decoder = zstd::stream::read::Decoder::new(data)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Ok(Box::new(decoder))
        }
        other => bail!("its data member is compressed as {other:?}, which is not known here"),
    }
}

fn unpack_data(data: impl Read, assembly: &Assembly, rank: usize) -> anyhow::Result<()> {
    let mut data = data;
    let mut archive = tar::Archive::new(&mut data);
    for (count, entry) in archive.entries()?.enumerate() {
        ensure!(count < MEMBERS_MAX, "it has more than {MEMBERS_MAX} members");
        let mut entry = entry.context("read the data member")?;
        let name = text(entry.path_bytes().into_owned())?;
        let Some(path) = tree_path(&name)? else {
            ensure!(entry.header().entry_type().is_dir(), "its root is not a directory");
            continue;
        };
        if assembly.excludes(&path) {
            continue;
        }
        add(&mut entry, &path, assembly, rank).with_context(|| format!("unpack {path}"))?;
    }
    // To the end: only there does the decoder compare its checksum, and a stream that goes on
    // beyond the bound is one that we have not wholly seen.
    let rest = io::copy(&mut data, &mut io::sink()).context("read the data member to its end")?;
    ensure!(rest < DATA_BYTES_MAX, "it has more than {DATA_BYTES_MAX} bytes of data");
    Ok(())
}

fn add(
    entry: &mut tar::Entry<'_, impl Read>,
    path: &TreePath,
    assembly: &Assembly,
    rank: usize,
) -> anyhow::Result<()> {
    let mode = entry.header().mode()?;
    let target = entry.link_name_bytes().map(|target| text(target.into_owned())).transpose()?;
    match entry.header().entry_type() {
        EntryType::Directory => assembly.directory(path, mode, rank),
        EntryType::Regular | EntryType::Continuous => {
            let size = entry.size();
            let mut content = CountingReader { inner: entry, bytes: 0 };
            assembly.file(path, mode, rank, &mut content)?;
            ensure!(content.bytes == size, "it ends early");
            Ok(())
        }
        EntryType::Symlink => assembly.link(path, &target.context("it links to nothing")?),
        EntryType::Link => {
            let original = tree_path(&target.context("it links to nothing")?)?;
            assembly.hard_link(path, rank, &original.context("it links to the root")?)
        }
        other => bail!("members of type {other:?} are not allowed in a package"),
    }
}

struct CountingReader<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

fn text(bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!("{:?} is not UTF-8", String::from_utf8_lossy(error.as_bytes()))
    })
}

/// `./usr/bin/` as `usr/bin`; nothing for the root itself.
fn tree_path(name: &str) -> anyhow::Result<Option<TreePath>> {
    let name = name.strip_suffix('/').unwrap_or(name);
    match name.strip_prefix("./").unwrap_or(name) {
        "." | "" => Ok(None),
        path => Ok(Some(path.parse()?)),
    }
}
