//! A job's journal: the file to which its worker appends, read while it grows.
//!
//! Only whole lines are read. A line that cannot be understood is passed over. A reader goes on at
//! its place, and never holds more than one chunk: many may be slow at once.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::task::spawn_blocking;

use crate::journal::Told;
use crate::retention::{self, Kept};

/// Read at once; a longer line, of which there is none, is passed over.
const CHUNK_BYTES: usize = 32 << 10;

/// A journal and where reading goes on.
pub struct Journal {
    source: Source,
    offset: u64,
}

enum Source {
    /// Its job may still run.
    Growing(Arc<File>),
    /// Its job was over long ago.
    Compressed(Compressed),
}

/// A compressed journal is read from its beginning on, and once.
struct Compressed {
    reader: Box<dyn Read + Send>,
    /// What was read and not yet passed.
    rest: Vec<u8>,
}

/// A line of a journal.
#[derive(Debug)]
pub struct Line {
    /// The place of the first byte after it.
    pub end: u64,
    /// What it says.
    pub told: Told,
}

impl Journal {
    /// Opens the journal of `job`, to read on at `offset`; none if there is no such file. An
    /// offset at which no line begins counts as the beginning.
    pub async fn open(directory: &Path, job: &str, offset: u64) -> anyhow::Result<Option<Journal>> {
        // The store made the id; that no other name reaches the file system is sure here.
        uuid::Uuid::try_parse(job).with_context(|| format!("{job:?} is no job's id"))?;
        let path = directory.join(format!("{job}.ndjson"));
        let opening = format!("open {}", path.display());
        let opened = spawn_blocking(move || retention::open(&path)).await;
        let (source, offset) = match opened.context("open a journal")?.context(opening)? {
            None => return Ok(None),
            Some(Kept::Plain(file)) => {
                let place = if begins_line(&file, offset)? { offset } else { 0 };
                (Source::Growing(Arc::new(file)), place)
            }
            Some(Kept::Compressed(file)) => {
                let opened = spawn_blocking(move || Compressed::open(file, offset)).await;
                let (source, offset) =
                    opened.context("read a journal")?.context("read a journal")?;
                (Source::Compressed(source), offset)
            }
        };
        Ok(Some(Journal { source, offset }))
    }

    /// The next whole lines; none if there are none yet.
    pub async fn lines(&mut self) -> anyhow::Result<Vec<Line>> {
        loop {
            let chunk = self.source.chunk(self.offset).await.context("read a journal")?;
            let whole = chunk.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            let lines = lines(&chunk[..whole], self.offset);
            // A chunk without an end of line is part of a line that is too long.
            let passed = if whole == 0 && chunk.len() == CHUNK_BYTES { CHUNK_BYTES } else { whole };
            self.source.pass(passed, chunk);
            self.offset += passed as u64;
            if passed == 0 || !lines.is_empty() {
                return Ok(lines);
            }
        }
    }
}

impl Source {
    /// What comes at `offset`, which is where [`Source::pass`] left off.
    async fn chunk(&mut self, offset: u64) -> std::io::Result<Vec<u8>> {
        match self {
            Source::Growing(file) => {
                let file = file.clone();
                spawn_blocking(move || part(&file, offset)).await?
            }
            Source::Compressed(compressed) => {
                let nothing = Compressed { reader: Box::new(std::io::empty()), rest: Vec::new() };
                let taken = std::mem::replace(compressed, nothing);
                let (taken, chunk) = spawn_blocking(move || taken.chunk()).await??;
                *compressed = taken;
                Ok(chunk)
            }
        }
    }

    /// The first `length` bytes of `chunk` were read.
    fn pass(&mut self, length: usize, chunk: Vec<u8>) {
        match self {
            // It seeks.
            Source::Growing(_) => {}
            Source::Compressed(compressed) => compressed.rest = chunk[length..].to_vec(),
        }
    }
}

impl Compressed {
    /// Goes to `offset`, or to the beginning if no line begins there.
    fn open(file: std::fs::File, offset: u64) -> std::io::Result<(Compressed, u64)> {
        let again = file.try_clone()?;
        let mut reader = Kept::Compressed(file).reader()?;
        if offset > 0 {
            std::io::copy(&mut reader.by_ref().take(offset - 1), &mut std::io::sink())?;
            let mut before = [0];
            let read = reader.read(&mut before)?;
            if read == 1 && before == *b"\n" {
                return Ok((Compressed { reader, rest: Vec::new() }, offset));
            }
        }
        std::io::Seek::rewind(&mut &again)?;
        let reader = Kept::Compressed(again).reader()?;
        Ok((Compressed { reader, rest: Vec::new() }, 0))
    }

    fn chunk(mut self) -> std::io::Result<(Compressed, Vec<u8>)> {
        let mut chunk = std::mem::take(&mut self.rest);
        let missing = CHUNK_BYTES.saturating_sub(chunk.len()) as u64;
        self.reader.by_ref().take(missing).read_to_end(&mut chunk)?;
        Ok((self, chunk))
    }
}

/// At most a chunk of what is there at `offset`.
fn part(file: &File, offset: u64) -> std::io::Result<Vec<u8>> {
    let left = file.metadata()?.len().saturating_sub(offset);
    // No more than there is: most looks find nothing.
    let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
    let count = file.read_at(&mut chunk, offset)?;
    chunk.truncate(count);
    Ok(chunk)
}

fn begins_line(file: &File, offset: u64) -> anyhow::Result<bool> {
    let Some(before) = offset.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    let read = file.read_at(&mut byte, before).context("read a journal")?;
    Ok(read == 1 && byte == *b"\n")
}

fn lines(bytes: &[u8], offset: u64) -> Vec<Line> {
    let mut end = offset;
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len() as u64;
        if let Ok(told) = serde_json::from_slice(line) {
            lines.push(Line { end, told });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    async fn texts(journal: &mut Journal) -> Vec<String> {
        journal.lines().await.unwrap().into_iter().map(|line| line.told.text).collect()
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
    async fn a_compressed_journal_is_read_as_if_it_were_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(format!("{JOB}.ndjson"));
        let line = |text: &str| format!(r#"{{"at":"t","kind":"log","text":"{text}"}}"#);
        let long = line(&"x".repeat(2 * CHUNK_BYTES));
        let many: String = (0..20_000).map(|number| line(&number.to_string()) + "\n").collect();
        let text = format!("{}\n{long}\nnonsense\n{many}{}", line("a"), line("cut"));
        std::fs::write(&path, text).unwrap();
        let mut all = Vec::new();
        for _ in 0..2 {
            let mut journal = Journal::open(directory.path(), JOB, 0).await.unwrap().unwrap();
            let mut found = Vec::new();
            loop {
                let lines = journal.lines().await.unwrap();
                if lines.is_empty() {
                    break;
                }
                found.extend(lines.into_iter().map(|line| (line.end, line.told.text)));
            }
            assert_eq!(found.len(), 20_001);
            all.push(found);
            if path.exists() {
                retention::compress(&path).unwrap();
            }
        }
        assert!(all[0] == all[1], "the same lines at the same places");
        let (end, _) = &all[0][10_000];
        let mut journal = Journal::open(directory.path(), JOB, *end).await.unwrap().unwrap();
        assert_eq!(texts(&mut journal).await[0], all[0][10_001].1);
        for nonsense in [end - 1, 1 << 40] {
            let opened = Journal::open(directory.path(), JOB, nonsense).await.unwrap();
            assert_eq!(texts(&mut opened.unwrap()).await[0], "a", "{nonsense}");
        }
    }

    #[tokio::test]
    async fn a_reader_holds_no_more_than_a_chunk_of_a_long_journal() {
        let directory = tempfile::tempdir().unwrap();
        let line = format!("{{\"at\":\"t\",\"kind\":\"log\",\"text\":\"{}\"}}\n", "x".repeat(1000));
        let path = directory.path().join(format!("{JOB}.ndjson"));
        std::fs::write(&path, line.repeat(8_000)).unwrap();
        for _ in 0..2 {
            let mut journal = Journal::open(directory.path(), JOB, 0).await.unwrap().unwrap();
            let (mut count, mut end) = (0, 0);
            loop {
                let lines = journal.lines().await.unwrap();
                let held: usize = lines.iter().map(|line| line.told.text.capacity()).sum();
                assert!(held <= CHUNK_BYTES, "{held}");
                let Some(last) = lines.last() else { break };
                // Every look begins where the one before ended.
                assert!(last.end > end && last.end - end <= CHUNK_BYTES as u64);
                (count, end) = (count + lines.len(), last.end);
            }
            assert_eq!(count, 8_000);
            if path.exists() {
                retention::compress(&path).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn no_name_but_a_jobs_id_reaches_the_file_system() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Journal::open(directory.path(), JOB, 0).await.unwrap().is_none());
        assert!(Journal::open(directory.path(), "../records", 0).await.is_err());
    }
}
