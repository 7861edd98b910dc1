//! How long byproducts are kept, and in which form: logs of jobs, reports of records. Records are
//! kept for ever, and nothing here can touch them.
//!
//! A file that is old enough is compressed: `build.log` becomes `build.log.zst`, with the same time
//! of modification. Whoever reads asks for the plain name, through [`open`]. At every moment at
//! least one of the two is there, whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use jiff::Timestamp;
use rebuilder::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::fault;

/// What a compressed file's name ends with.
pub const COMPRESSED: &str = ".zst";
/// What the name of a file ends with that is being written; a leftover if nobody does.
pub const UNFINISHED: &str = ".zst.part";
/// Beyond this level text gets hardly smaller.
const LEVEL: i32 = 9;
/// 128 KiB: whoever reads needs no more memory than that.
const WINDOW_LOG: u32 = 17;
const SECONDS_A_DAY: i64 = 24 * 3600;

/// The section `[retention]` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Logs and reports are compressed when they are so old; 0 for never.
    pub compress_after_days: u32,
    /// Logs of jobs are removed when they are so old; 0 for never.
    pub logs_days: u32,
    /// Reports of records are removed when they are so old; 0 for never.
    pub reports_days: u32,
}

/// What is to be done with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Keep,
    /// It stays, compressed.
    Compress,
    /// It goes.
    Remove,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { compress_after_days: 7, logs_days: 365, reports_days: 0 }
    }
}

impl Policy {
    /// What becomes of a job's log.
    pub fn log(self, modified: SystemTime, now: Timestamp) -> Fate {
        self.fate(self.logs_days, modified, now)
    }

    /// What becomes of a record's reports.
    pub fn report(self, modified: SystemTime, now: Timestamp) -> Fate {
        self.fate(self.reports_days, modified, now)
    }

    fn fate(self, days_max: u32, modified: SystemTime, now: Timestamp) -> Fate {
        // A time that cannot be told is no reason to remove anything.
        let age =
            Timestamp::try_from(modified).map_or(0, |then| now.duration_since(then).as_secs());
        let is_over = |days: u32| days > 0 && age >= i64::from(days) * SECONDS_A_DAY;
        match () {
            () if is_over(days_max) => Fate::Remove,
            () if is_over(self.compress_after_days) => Fate::Compress,
            () => Fate::Keep,
        }
    }
}

/// A file as it is kept.
#[derive(Debug)]
pub enum Kept {
    /// As it was written.
    Plain(File),
    /// By zstd (RFC 8878).
    Compressed(File),
}

/// Opens the file that was written at `path`; none if neither form of it is kept.
pub fn open(path: &Path) -> io::Result<Option<Kept>> {
    // In this order: the plain file goes when the compressed one is there.
    if let Some(file) = existing(path)? {
        return Ok(Some(Kept::Plain(file)));
    }
    Ok(existing(&with(path, COMPRESSED))?.map(Kept::Compressed))
}

impl Kept {
    /// The bytes as they were written.
    pub fn reader(self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Kept::Plain(file) => Ok(Box::new(file)),
            Kept::Compressed(file) => Ok(Box::new(decoder(file)?)),
        }
    }
}

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

impl Kept {
    /// The last bytes as they were written, and whether there are others before them.
    pub fn last_bytes(self, bytes_max: usize) -> io::Result<(Vec<u8>, bool)> {
        let mut skipped = false;
        if let Kept::Plain(file) = &self {
            let mut file = file;
            let first = file.metadata()?.len().saturating_sub(bytes_max as u64);
            skipped = first > 0;
            file.seek(SeekFrom::Start(first))?;
        }
        let mut reader = self.reader()?;
        let (mut last, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
        loop {
            let count = reader.read(&mut chunk)?;
            if count == 0 {
                return Ok((last, skipped));
            }
            last.extend_from_slice(&chunk[..count]);
            let over = last.len().saturating_sub(bytes_max);
            skipped |= over > 0;
            last.drain(..over);
        }
    }
}

/// Puts a compressed file in the place of the one at `path`.
pub fn compress(path: &Path) -> anyhow::Result<()> {
    let (part, done) = (with(path, UNFINISHED), with(path, COMPRESSED));
    let digest = write_compressed(path, &part)
        .with_context(|| format!("compress {} to {}", path.display(), part.display()))?;
    // Pair assertion: what is on disk is what was read.
    if hashed(decoder(File::open(&part)?)?, io::sink())? != digest {
        bail!("{} does not decompress to what it was made of", part.display());
    }
    fault::point("compress.before")?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let finish = || {
        fs::rename(&part, &done)?;
        File::open(directory)?.sync_all()
    };
    finish().with_context(|| format!("write {}", done.display()))?;
    fault::point("compress.after")?;
    fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
}

fn write_compressed(path: &Path, part: &Path) -> anyhow::Result<Digest> {
    let plain = File::open(path)?;
    let modified = plain.metadata()?.modified()?;
    let mut encoder = zstd::Encoder::new(File::create(part)?, LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.include_checksum(true)?;
    let digest = hashed(plain, &mut encoder)?;
    let file = encoder.finish()?;
    // Its age goes on.
    file.set_modified(modified)?;
    file.sync_all()?;
    Ok(digest)
}

fn decoder(file: File) -> io::Result<zstd::Decoder<'static, io::BufReader<File>>> {
    let mut decoder = zstd::Decoder::new(file)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(decoder)
}

/// Copies everything and gives its SHA-256.
fn hashed(mut from: impl Read, mut to: impl Write) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut chunk)?;
        if length == 0 {
            return Ok(Digest::from_hasher(hasher));
        }
        hasher.update(&chunk[..length]);
        to.write_all(&chunk[..length])?;
    }
}

fn existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_a_file_is_the_same_in_both_forms() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build.log");
        let text: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        fs::write(&path, &text).unwrap();
        let last = |bytes| open(&path).unwrap().unwrap().last_bytes(bytes).unwrap();
        let check = || {
            assert_eq!(last(100), (text[199_900..].to_vec(), true));
            assert_eq!(last(text.len()), (text.clone(), false));
        };
        check();
        compress(&path).unwrap();
        check();
    }

    #[test]
    fn what_is_compressed_reads_as_it_was_written_and_is_as_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build.log");
        let text = "a line of a log\n".repeat(50_000);
        fs::write(&path, &text).unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        // What a run that was killed has left.
        fs::write(with(&path, UNFINISHED), "half").unwrap();
        compress(&path).unwrap();
        let names = fs::read_dir(directory.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["build.log.zst"]);
        let compressed = with(&path, COMPRESSED).metadata().unwrap();
        assert!(compressed.len() < text.len() as u64 / 50, "{}", compressed.len());
        assert_eq!(compressed.modified().unwrap(), then);
        let mut read = String::new();
        open(&path).unwrap().unwrap().reader().unwrap().read_to_string(&mut read).unwrap();
        assert!(read == text);
        assert!(open(&directory.path().join("other.log")).unwrap().is_none());
    }

    #[test]
    fn a_policy_looks_at_age_and_zero_is_never() {
        let policy = Policy { compress_after_days: 7, logs_days: 30, reports_days: 0 };
        let at = |day: i64| Timestamp::from_second(day * SECONDS_A_DAY).unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * 24 * 3600);
        let cases = [
            (50, Fate::Keep, Fate::Keep), // the clock was set back
            (106, Fate::Keep, Fate::Keep),
            (107, Fate::Compress, Fate::Compress),
            (129, Fate::Compress, Fate::Compress),
            (130, Fate::Remove, Fate::Compress),
        ];
        for (day, log, report) in cases {
            let now = at(day);
            assert_eq!((policy.log(written, now), policy.report(written, now)), (log, report));
        }
        let never = Policy { compress_after_days: 0, logs_days: 0, reports_days: 0 };
        assert_eq!(never.log(written, at(100_000)), Fate::Keep);
    }
}
