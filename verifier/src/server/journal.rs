//! A job's journal: the file to which its worker appends, read while it grows.
//!
//! Only whole lines are read. A line that cannot be understood is passed over.

use std::io::SeekFrom;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Read at once; a longer line is passed over.
const CHUNK_BYTES: usize = 256 * 1024;

/// A journal and where reading goes on.
pub struct Journal {
    file: File,
    offset: u64,
}

/// A line of a journal.
#[derive(Debug)]
pub struct Line {
    /// The place of the first byte after it.
    pub end: u64,
    /// What it says.
    pub entry: Entry,
}

/// What a worker wrote.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When (RFC 3339).
    pub at: String,
    /// What kind of news.
    #[serde(skip_serializing)]
    pub kind: Kind,
    /// One line.
    pub text: String,
}

/// Kinds of news. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Stage,
    Log,
    State,
}

impl Kind {
    /// As the journal and the event have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Stage => "stage",
            Kind::Log => "log",
            Kind::State => "state",
        }
    }
}

impl Entry {
    /// A line of plain text.
    pub fn plain(&self) -> String {
        format!("{} {}\n", self.at, self.text)
    }
}

impl Journal {
    /// Opens the journal of `job`, to read on at `offset`; none if there is no such file. An
    /// offset at which no line begins counts as the beginning.
    pub async fn open(directory: &Path, job: &str, offset: u64) -> anyhow::Result<Option<Journal>> {
        // The store made the id; that no other name reaches the file system is sure here.
        uuid::Uuid::try_parse(job).with_context(|| format!("{job:?} is no job's id"))?;
        let path = directory.join(format!("{job}.ndjson"));
        let opened = match File::open(&path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened,
        };
        let mut file = opened.with_context(|| format!("open {}", path.display()))?;
        let offset = if begins_line(&mut file, offset).await? { offset } else { 0 };
        Ok(Some(Journal { file, offset }))
    }

    /// The next whole lines; none if there are none yet.
    pub async fn lines(&mut self) -> anyhow::Result<Vec<Line>> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        loop {
            chunk.clear();
            self.file.seek(SeekFrom::Start(self.offset)).await.context("read a journal")?;
            let mut rest = (&mut self.file).take(CHUNK_BYTES as u64);
            rest.read_to_end(&mut chunk).await.context("read a journal")?;
            let whole = chunk.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            let lines = lines(&chunk[..whole], self.offset);
            // A chunk without an end of line is part of a line that is too long.
            let passed = if whole == 0 && chunk.len() == CHUNK_BYTES { CHUNK_BYTES } else { whole };
            self.offset += passed as u64;
            if passed == 0 || !lines.is_empty() {
                return Ok(lines);
            }
        }
    }
}

async fn begins_line(file: &mut File, offset: u64) -> anyhow::Result<bool> {
    if offset == 0 {
        return Ok(true);
    }
    let mut before = [0];
    file.seek(SeekFrom::Start(offset - 1)).await.context("read a journal")?;
    let read = file.read(&mut before).await.context("read a journal")?;
    Ok(read == 1 && before == *b"\n")
}

fn lines(bytes: &[u8], offset: u64) -> Vec<Line> {
    let mut end = offset;
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len() as u64;
        if let Ok(entry) = serde_json::from_slice(line) {
            lines.push(Line { end, entry });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    async fn texts(journal: &mut Journal) -> Vec<String> {
        journal.lines().await.unwrap().into_iter().map(|line| line.entry.text).collect()
    }

    #[tokio::test]
    async fn only_whole_lines_are_read_and_broken_ones_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(format!("{JOB}.ndjson"));
        let line = |text: &str| format!(r#"{{"at":"t","kind":"log","text":"{text}"}}"#);
        let long = line(&"x".repeat(2 * CHUNK_BYTES));
        let first = format!("{}\nnonsense\n{long}\n{}\n{}", line("a"), line("b"), line("c"));
        std::fs::write(&path, &first).unwrap();
        let mut journal = Journal::open(directory.path(), JOB, 0).await.unwrap().unwrap();
        assert_eq!(texts(&mut journal).await, ["a"]);
        assert_eq!(texts(&mut journal).await, ["b"]);
        assert_eq!(texts(&mut journal).await, [""; 0]);
        std::fs::write(&path, format!("{first}\n")).unwrap();
        assert_eq!(texts(&mut journal).await, ["c"]);
        let second = line("a").len() as u64 + 1;
        let mut journal = Journal::open(directory.path(), JOB, second).await.unwrap().unwrap();
        assert_eq!(texts(&mut journal).await, ["b", "c"]);
        for nonsense in [second - 1, 1 << 40] {
            let opened = Journal::open(directory.path(), JOB, nonsense).await.unwrap();
            assert_eq!(texts(&mut opened.unwrap()).await, ["a"], "{nonsense}");
        }
    }

    #[tokio::test]
    async fn no_name_but_a_jobs_id_reaches_the_file_system() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Journal::open(directory.path(), JOB, 0).await.unwrap().is_none());
        assert!(Journal::open(directory.path(), "../records", 0).await.is_err());
    }
}
