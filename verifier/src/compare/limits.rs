//! Upper bounds of one comparison, and the meter that holds readers to them. Whoever reaches a
//! bound says so in the tree: nothing is cut in silence, and nothing that was cut passes.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Upper bounds of one comparison. A comparison never takes more than they say; where it would, the
/// node in question carries a note.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that one compressed stream may unpack to. Default 8 GiB.
    pub stream_bytes_max: u64,
    /// Bytes that all streams of both sides together may unpack to. Default 32 GiB.
    pub total_bytes_max: u64,
    /// Unpacked bytes per packed byte, looked at from [`Limits::ratio_grace_bytes`] on. Default
    /// 250; a CPython tarball has 5, and honest text stays below 100.
    pub ratio_max: u64,
    /// Unpacked bytes up to which the ratio is not looked at. Default 64 MiB.
    pub ratio_grace_bytes: u64,
    /// Members of one archive. Default 65,536; CPython has 5,214. A million take 1 GB.
    pub members_max: u64,
    /// Archives inside archives, counting every compression. Default 8.
    pub depth_max: u32,
    /// Bytes of a member's name. Default 4,096, Linux' `PATH_MAX`.
    pub name_bytes_max: u64,
    /// Bytes of one member that are held in memory to be explained. Default 8 MiB.
    pub member_bytes_max: u64,
    /// Bytes of members that wait for their other half, a side. Default 16 MiB.
    pub waiting_bytes_max: u64,
    /// Larger members that are opened in place, an archive. Default 8.
    pub large_members_max: u64,
    /// Changed, added and removed members that get a line of their own. Default 4,000.
    pub nodes_max: u64,
    /// Lines of content or difference that one member shows. Default 400.
    pub detail_lines_max: u64,
    /// Bytes of content or difference that one member shows. Default 32 KiB.
    pub detail_bytes_max: u64,
    /// Bytes of content and difference that all members of an archive show. Default 768 KiB.
    pub details_bytes_max: u64,
    /// Bytes of one report. Default 2,000,000.
    pub report_bytes_max: u64,
    /// When to stop and say what is known so far. Default: never.
    pub deadline: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            stream_bytes_max: 8 << 30,
            total_bytes_max: 32 << 30,
            ratio_max: 250,
            ratio_grace_bytes: 64 << 20,
            members_max: 65_536,
            depth_max: 8,
            name_bytes_max: 4096,
            member_bytes_max: 8 << 20,
            waiting_bytes_max: 16 << 20,
            large_members_max: 8,
            nodes_max: 4_000,
            detail_lines_max: 400,
            detail_bytes_max: 32 << 10,
            details_bytes_max: 768 << 10,
            report_bytes_max: 2_000_000,
            deadline: None,
        }
    }
}

impl Limits {
    /// The same, but reports show everything; for `--everything`. What keeps the machine safe
    /// stays.
    #[must_use]
    pub fn showing_everything(mut self) -> Limits {
        self.nodes_max = 1_000_000;
        self.detail_lines_max = u64::MAX;
        self.detail_bytes_max = u64::MAX;
        self.details_bytes_max = u64::MAX;
        self.report_bytes_max = u64::MAX;
        self
    }
}

/// What stopped a reader: the bytes themselves, or a bound of ours. Both are facts about the
/// archive and end up in the tree; trouble of the machine is an `io::Error`.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Stop {
    /// A bound of [`Limits`] was reached.
    #[error("limit reached: {0}")]
    Limit(String),
    /// The bytes do not follow their format.
    #[error("{0}")]
    Corrupt(String),
}

impl Stop {
    /// As an error of a reader; [`Stop::of`] takes it out again.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// What stopped a reader, or the machine's own trouble.
    pub(super) fn of(error: io::Error) -> Result<Stop, io::Error> {
        if let Some(stop) = error.get_ref().and_then(|inner| inner.downcast_ref::<Stop>()) {
            return Ok(stop.clone());
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(Stop::Corrupt("the data ends too early".into())),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Ok(Stop::Corrupt(error.to_string()))
            }
            _ => Err(error),
        }
    }
}

/// Shared by everything that one comparison reads.
pub(super) struct Meter<'a> {
    pub(super) limits: &'a Limits,
    unpacked_bytes: AtomicU64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(limits: &'a Limits) -> Meter<'a> {
        Meter { limits, unpacked_bytes: AtomicU64::new(0) }
    }

    /// Refuses to go on after the deadline.
    pub(super) fn check_time(&self) -> Result<(), Stop> {
        match self.limits.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Stop::Limit("time".into())),
            _ => Ok(()),
        }
    }

    /// Counts `bytes` that a stream gave, which has given `unpacked` so far out of `packed`.
    pub(super) fn count(&self, bytes: u64, unpacked: u64, packed: u64) -> Result<(), Stop> {
        self.check_time()?;
        let limits = self.limits;
        let total = self.unpacked_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unpacked > limits.stream_bytes_max {
            let bound = limits.stream_bytes_max;
            return Err(Stop::Limit(format!("a stream unpacks to more than {bound} bytes")));
        }
        if total > limits.total_bytes_max {
            let bound = limits.total_bytes_max;
            return Err(Stop::Limit(format!("all streams unpack to more than {bound} bytes")));
        }
        let ratio_is_hostile = unpacked / packed.max(1) > limits.ratio_max;
        if unpacked > limits.ratio_grace_bytes && ratio_is_hostile {
            let bound = limits.ratio_max;
            return Err(Stop::Limit(format!(
                "a stream unpacks to more than {bound} times its size"
            )));
        }
        Ok(())
    }
}

/// Reads at most `bytes_max` bytes; the second value says whether there was more.
pub(super) fn read_bounded(reader: impl Read, bytes_max: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    reader.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    let more = bytes.len() as u64 > bytes_max;
    if more {
        bytes.truncate(usize::try_from(bytes_max).unwrap_or(usize::MAX));
    }
    Ok((bytes, more))
}
