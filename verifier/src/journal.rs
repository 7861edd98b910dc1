//! The journal of a job: what happened and what its steps wrote, live, one JSON object a line.
//!
//! It is a byproduct: it decides nothing, and trouble with it never stops a job. Readers follow the
//! file while it grows; the offset of a line's end is where they go on. A line that a crash tore is
//! ended before the next one is written, and passed over by whoever reads.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::http::without_secrets;
use crate::retention;

/// The longest journal; what comes later is not kept.
const JOURNAL_BYTES_MAX: u64 = 9 << 20;
/// Lines of a log leave room for how the job went on.
const LOGS_BYTES_MAX: u64 = 8 << 20;
/// The longest line of a log; the rest of it is a line of its own. Any other line is cut.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Read at once of a growing log.
const CHUNK_BYTES: usize = 32 << 10;
/// Bytes that are read for the last lines.
const TAIL_BYTES_MAX: usize = 256 << 10;
/// How often a growing log is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// What the journal says of the job when an attempt begins. Any other `state` is how one ended.
pub const RUNNING: &str = "running";

/// What a line of the journal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A stage of the line, or how it ended.
    Stage,
    /// A line that a step of the recipe wrote.
    Log,
    /// What became of the job.
    State,
}

#[derive(Serialize)]
struct Entry<'a> {
    at: String,
    kind: Kind,
    text: &'a str,
}

impl Kind {
    /// As a line of the journal has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Stage => "stage",
            Kind::Log => "log",
            Kind::State => "state",
        }
    }
}

/// A line that was read back. An event of the server names the kind itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When (RFC 3339).
    pub at: String,
    /// What it is about.
    #[serde(skip_serializing)]
    pub kind: Kind,
    /// One line.
    pub text: String,
}

impl Told {
    /// A line of plain text.
    pub fn plain(&self) -> String {
        format!("{} {}\n", self.at, self.text)
    }
}

/// The end of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The last lines.
    pub lines: Vec<Told>,
    /// Whether there are lines before them.
    pub more: bool,
}

/// An open journal; cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Mutex<Opened>>);

#[derive(Debug)]
struct Opened {
    file: File,
    /// Whether the last line has no end.
    is_torn: bool,
    /// Whether it was said that the log is not kept any more.
    is_full: bool,
}

impl Journal {
    /// Opens the journal at `path` to go on with it.
    pub fn open(path: &Path) -> std::io::Result<Journal> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        // Whoever wrote before may have been killed, or have found the disk full.
        let mut last = [b'\n'];
        if let Some(place) = file.metadata()?.len().checked_sub(1) {
            file.read_exact_at(&mut last, place)?;
        }
        let opened = Opened { file, is_torn: last != *b"\n", is_full: false };
        Ok(Journal(Arc::new(Mutex::new(opened))))
    }

    /// Adds a line.
    pub fn write(&self, kind: Kind, text: &str) {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes_max = match kind {
            Kind::Log => LOGS_BYTES_MAX,
            Kind::Stage | Kind::State => JOURNAL_BYTES_MAX,
        };
        match opened.add(kind, text, bytes_max) {
            Ok(true) => {}
            Ok(false) if opened.is_full => {}
            Ok(false) => {
                opened.is_full = true;
                let said = "the log is too long: the rest of it is not kept";
                // As any other line, it may find no room.
                let _ = opened.add(Kind::Stage, said, JOURNAL_BYTES_MAX);
            }
            Err(error) => {
                opened.is_torn = true;
                tracing::warn!("cannot write a journal: {error}");
            }
        }
    }

    /// Does `work` and adds the lines that appear in `log` meanwhile.
    pub async fn following<T>(&self, log: &Path, work: impl Future<Output = T>) -> T {
        let mut tail = Follower { offset: 0, rest: Vec::new() };
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => {
                    self.add_new(log, &mut tail);
                    // Nobody will end it.
                    tail.end(&mut |line| self.write_log(line));
                    return result;
                }
                () = tokio::time::sleep(FOLLOW_EVERY) => self.add_new(log, &mut tail),
            }
        }
    }

    fn add_new(&self, log: &Path, tail: &mut Follower) {
        // Not there yet, or gone: there is nothing to add.
        let _ = tail.lines(log, &mut |line| self.write_log(line));
    }

    fn write_log(&self, line: &[u8]) {
        self.write(Kind::Log, &String::from_utf8_lossy(line));
    }
}

impl Opened {
    /// Adds a line; false if there is no room for it.
    fn add(&mut self, kind: Kind, text: &str, bytes_max: u64) -> std::io::Result<bool> {
        let text = &without_secrets(text);
        let text = &text[..text.floor_char_boundary(LINE_BYTES_MAX)];
        let entry = Entry { at: format!("{:.3}", clock::now()), kind, text };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        if self.is_torn {
            line.insert(0, b'\n');
        }
        if self.file.metadata()?.len() + line.len() as u64 > bytes_max {
            return Ok(false);
        }
        // One write a line, so that readers see whole lines.
        self.file.write_all(&line)?;
        self.is_torn = false;
        Ok(true)
    }
}

/// The last lines of a job's journal, at most `lines_max`; none if it has none. What cannot be
/// understood is passed over.
pub fn last_lines(directory: &Path, job: &str, lines_max: usize) -> anyhow::Result<Tail> {
    // The store made the id; that no other name reaches the file system is sure here.
    uuid::Uuid::try_parse(job).with_context(|| format!("{job:?} is no job's id"))?;
    let path = directory.join(format!("{job}.ndjson"));
    let reading = || format!("read {}", path.display());
    let Some(kept) = retention::open(&path).with_context(reading)? else {
        return Ok(Tail::default());
    };
    let (bytes, is_cut) = kept.last_bytes(TAIL_BYTES_MAX).with_context(reading)?;
    // After a cut, what the first line was is not known.
    let lines = bytes.split(|byte| *byte == b'\n').skip(usize::from(is_cut));
    let lines: Vec<Told> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let first = lines.len().saturating_sub(lines_max);
    Ok(Tail { more: is_cut || first > 0, lines: lines[first..].to_vec() })
}

/// How far a growing file was read.
struct Follower {
    offset: u64,
    rest: Vec<u8>,
}

impl Follower {
    /// Gives `each` the lines that are new.
    fn lines(&mut self, path: &Path, each: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut file = file.take(LOGS_BYTES_MAX);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            self.offset += count as u64;
            for part in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
                if part.ends_with(b"\n") || self.rest.len() >= LINE_BYTES_MAX {
                    self.end(each);
                }
            }
        }
    }

    /// What was read last is a line.
    fn end(&mut self, each: &mut dyn FnMut(&[u8])) {
        self.rest.chunks(LINE_BYTES_MAX).for_each(each);
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_growing_log_are_added_once_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("build.log");
        let mut tail = Follower { offset: 0, rest: Vec::new() };
        let mut lines = || {
            let mut lines = Vec::new();
            let read = tail.lines(&log, &mut |line| lines.push(line.to_vec()));
            read.map(|()| lines)
        };
        assert!(lines().is_err());
        std::fs::write(&log, "one\ntw").unwrap();
        assert_eq!(lines().unwrap(), [b"one".to_vec()]);
        std::fs::write(&log, "one\ntwo\nthree\n").unwrap();
        assert_eq!(lines().unwrap(), [b"two".to_vec(), b"three".to_vec()]);
        assert!(lines().unwrap().is_empty());
        // A line that does not end is neither kept in memory nor read again and again.
        let endless = "x".repeat(3 * CHUNK_BYTES);
        std::fs::write(&log, format!("one\ntwo\nthree\n{endless}")).unwrap();
        let pieces = lines().unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= LINE_BYTES_MAX));
        assert_eq!(pieces.concat().len() + tail.rest.len(), endless.len());
        assert!(tail.rest.len() < LINE_BYTES_MAX);
    }

    #[test]
    fn the_last_lines_are_read_back_and_nonsense_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let job = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(last_lines(directory.path(), job, 5).unwrap(), Tail::default());
        assert!(last_lines(directory.path(), "../records", 5).is_err());
        let path = directory.path().join(format!("{job}.ndjson"));
        let journal = Journal::open(&path).unwrap();
        for number in 0..10 {
            journal.write(Kind::Log, &format!("line {number}"));
        }
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"nonsense\n").unwrap();
        let tail = last_lines(directory.path(), job, 2).unwrap();
        let texts: Vec<&str> = tail.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!((texts, tail.more), (vec!["line 8", "line 9"], true));
        let all = last_lines(directory.path(), job, 10).unwrap();
        assert!(!all.more);
        retention::compress(&path).unwrap();
        assert_eq!(last_lines(directory.path(), job, 10).unwrap(), all);
        assert_eq!(last_lines(directory.path(), job, 2).unwrap(), tail);
    }

    #[test]
    fn a_journal_that_was_torn_is_gone_on_with_and_read() {
        let directory = tempfile::tempdir().unwrap();
        let job = "01890a5d-ac96-774b-bcce-b302099a8057";
        let path = directory.path().join(format!("{job}.ndjson"));
        Journal::open(&path).unwrap().write(Kind::Log, "one");
        let whole = std::fs::read(&path).unwrap();
        for torn in ["{\"at\":\"2025", "\u{0}\u{0}\u{0}", "{\"at\":\n{\"at\"", "\"\\ud8"] {
            std::fs::write(&path, [&whole, torn.as_bytes()].concat()).unwrap();
            let texts = || {
                let tail = last_lines(directory.path(), job, 9).unwrap();
                tail.lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
            };
            assert_eq!(texts(), ["one"], "{torn:?}");
            let journal = Journal::open(&path).unwrap();
            journal.write(Kind::Log, "two");
            // As if a write had failed half-way.
            OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"a").unwrap();
            journal.0.lock().unwrap().is_torn = true;
            journal.write(Kind::State, "three");
            assert_eq!(texts(), ["one", "two", "three"], "{torn:?}");
        }
    }

    #[test]
    fn a_journal_has_a_bound_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.ndjson");
        let journal = Journal::open(&path).unwrap();
        let size = || path.metadata().unwrap().len();
        // The longest there is: a character that takes six in JSON.
        let long = "\u{1}".repeat(2 * LINE_BYTES_MAX);
        for _ in 0..1000 {
            journal.write(Kind::Log, &long);
        }
        assert!((LOGS_BYTES_MAX - 30_000..LOGS_BYTES_MAX + 200).contains(&size()), "{}", size());
        journal.write(Kind::State, "judged");
        let text = std::fs::read_to_string(&path).unwrap();
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert!(last[0].contains("judged") && last[1].contains("not kept"), "{last:?}");
        assert!(text.lines().all(|line| line.len() < CHUNK_BYTES), "each fits a reader's buffer");
        for _ in 0..100 {
            journal.write(Kind::State, &long);
        }
        assert!(size() <= JOURNAL_BYTES_MAX);
    }

    #[test]
    fn what_steps_write_cannot_forge_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jobs/one.ndjson");
        let journal = Journal::open(&path).unwrap();
        journal.write(Kind::Log, "a\n{\"kind\":\"state\"}");
        journal.write(Kind::State, "done");
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }
}
