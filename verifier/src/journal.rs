//! The journal of a job: what happened and what its steps wrote, live, one JSON object a line.
//!
//! It is a byproduct: it decides nothing, and trouble with it never stops a job. Readers follow the
//! file while it grows; the offset of a line's end is where they go on.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::http::without_secrets;
use crate::retention;

/// The longest journal; what comes later is not kept.
const JOURNAL_BYTES_MAX: u64 = 8 << 20;
/// The longest line of a log; the rest of it is a line of its own.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Bytes that are read for the last lines.
const TAIL_BYTES_MAX: usize = 256 << 10;
/// How often a growing log is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

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
pub struct Journal {
    file: Arc<Mutex<File>>,
}

impl Journal {
    /// Opens the journal at `path` to go on with it.
    pub fn open(path: &Path) -> std::io::Result<Journal> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Journal { file: Arc::new(Mutex::new(file)) })
    }

    /// Adds a line.
    pub fn write(&self, kind: Kind, text: &str) {
        let text = &without_secrets(text);
        let entry = Entry { at: format!("{:.3}", clock::now()), kind, text };
        let Ok(mut line) = serde_json::to_vec(&entry) else { return };
        line.push(b'\n');
        // One write a line, so that readers see whole lines.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let full = file.metadata().is_ok_and(|metadata| metadata.len() > JOURNAL_BYTES_MAX);
        if full && kind == Kind::Log {
            return;
        }
        if let Err(error) = file.write_all(&line) {
            tracing::warn!("cannot write a journal: {error}");
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
                    return result;
                }
                () = tokio::time::sleep(FOLLOW_EVERY) => self.add_new(log, &mut tail),
            }
        }
    }

    fn add_new(&self, log: &Path, tail: &mut Follower) {
        // Not there yet, or gone: there is nothing to add.
        let Ok(lines) = tail.lines(log) else { return };
        for line in lines {
            self.write(Kind::Log, &String::from_utf8_lossy(&line));
        }
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
    /// The lines that are new.
    fn lines(&mut self, path: &Path) -> std::io::Result<Vec<Vec<u8>>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut new = Vec::new();
        self.offset += file.take(JOURNAL_BYTES_MAX).read_to_end(&mut new)? as u64;
        self.rest.extend(new);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            lines.extend(line[..end].chunks(LINE_BYTES_MAX).map(<[u8]>::to_vec));
        }
        Ok(lines)
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
        assert!(tail.lines(&log).is_err());
        std::fs::write(&log, "one\ntw").unwrap();
        assert_eq!(tail.lines(&log).unwrap(), [b"one".to_vec()]);
        std::fs::write(&log, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail.lines(&log).unwrap(), [b"two".to_vec(), b"three".to_vec()]);
        assert!(tail.lines(&log).unwrap().is_empty());
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
