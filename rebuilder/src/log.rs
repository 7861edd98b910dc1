//! The log of a rebuild: head and tail of what the steps wrote, within a fixed number of bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes the first half as it comes and keeps the second half in memory until [`Log::finish`].
pub struct Log {
    file: File,
    head_bytes_left: u64,
    tail: VecDeque<u8>,
    tail_bytes_max: u64,
    dropped_bytes: u64,
    step_bytes: u64,
    line_open: bool,
}

impl Log {
    /// Keeps at most `bytes_max` bytes, not counting the marker of what is missing.
    pub fn create(path: &Path, bytes_max: u64) -> io::Result<Log> {
        let head = bytes_max / 2;
        Ok(Log {
            file: File::create(path)?,
            head_bytes_left: head,
            tail: VecDeque::new(),
            tail_bytes_max: bytes_max - head,
            dropped_bytes: 0,
            step_bytes: 0,
            line_open: false,
        })
    }

    /// A line of ours: which step begins.
    pub fn heading(&mut self, step: &str) -> io::Result<()> {
        let line_end = if self.line_open { "\n" } else { "" };
        self.keep(format!("{line_end}=== step {step}\n").as_bytes())
    }

    /// What a step wrote.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.step_bytes += bytes.len() as u64;
        self.keep(bytes)
    }

    /// Bytes that steps wrote so far.
    pub fn step_bytes(&self) -> u64 {
        self.step_bytes
    }

    /// Writes the tail, and before it how much is missing; gives that number of bytes.
    pub fn finish(mut self) -> io::Result<u64> {
        if self.dropped_bytes > 0 {
            writeln!(self.file, "\n=== {} bytes of log are not kept here", self.dropped_bytes)?;
        }
        let (front, back) = self.tail.as_slices();
        self.file.write_all(front)?;
        self.file.write_all(back)?;
        self.file.sync_all()?;
        Ok(self.dropped_bytes)
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.line_open = *last != b'\n';
        }
        let head = self.head_bytes_left.min(bytes.len() as u64) as usize;
        self.file.write_all(&bytes[..head])?;
        self.head_bytes_left -= head as u64;

        self.tail.extend(&bytes[head..]);
        let excess = (self.tail.len() as u64).saturating_sub(self.tail_bytes_max);
        self.tail.drain(..excess as usize);
        self.dropped_bytes += excess;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes_max: u64, chunks: &[&str], expect: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::create(&path, bytes_max).unwrap();
        for chunk in chunks {
            log.write(chunk.as_bytes()).unwrap();
        }
        log.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expect);
    }

    #[test]
    fn what_fits_is_kept_whole() {
        check(8, &["abc", "defgh"], "abcdefgh");
    }

    #[test]
    fn head_and_tail_are_kept_around_a_marker() {
        let expect = "abcd\n=== 3 bytes of log are not kept here\nhijk";
        check(8, &["abcdefghijk"], expect);
        check(8, &["a", "bcdef", "g", "hij", "k"], expect);
    }

    #[test]
    fn a_limit_of_nothing_keeps_nothing() {
        check(0, &["abc"], "\n=== 3 bytes of log are not kept here\n");
    }
}
