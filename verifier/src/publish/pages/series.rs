//! Releases by series, as a matrix of releases × files over time, and the same in one sentence.

use super::state::State;
use crate::store::{FileStanding, ReleaseLine};

/// Kinds of files that are told apart in one matrix.
const KINDS_MAX: usize = 6;
/// Runs of releases in one state that are named in the sentence.
const RUNS_MAX: usize = 3;

/// A series with its releases, oldest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Series {
    /// `3.13`.
    pub name: String,
    /// Its releases, oldest first: a column each.
    pub columns: Vec<Column>,
    /// The kinds of their files: a row each.
    pub rows: Vec<Row>,
    /// `3.13.10 fail; 3.13.0 to 3.13.9 pass`.
    pub sentence: String,
    /// How many of its releases were judged.
    pub judged: usize,
    /// How many of these pass.
    pub passed: usize,
}

/// A release in a matrix.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub version: String,
    /// What the versions of the series have in common, and what is left of this one.
    pub stem: String,
    pub rest: String,
    pub state: State,
}

/// A kind of file in a matrix.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// `.tar.xz`.
    pub kind: String,
    /// One a column; none if that release has no such file.
    pub cells: Vec<Option<State>>,
}

impl Series {
    /// The newest release.
    pub fn newest(&self) -> Option<&Column> {
        self.columns.last()
    }

    /// Whether anybody has looked at any of it, or will.
    pub fn is_watched(&self) -> bool {
        self.columns.iter().any(|column| column.state != State::NotChecked)
    }
}

/// The lines by series, newest series first. They are sorted newest first.
pub fn series(lines: &[ReleaseLine]) -> Vec<Series> {
    lines.chunk_by(|one, next| one.series == next.series).map(one_series).collect()
}

fn one_series(lines: &[ReleaseLine]) -> Series {
    let columns: Vec<Column> = lines.iter().rev().map(column).collect();
    let files: Vec<Vec<(&str, State)>> = lines.iter().map(files).collect();
    let mut kinds: Vec<&str> = Vec::new();
    for (kind, _) in files.iter().flatten() {
        if !kinds.contains(kind) && kinds.len() < KINDS_MAX {
            kinds.push(kind);
        }
    }
    kinds.sort_unstable();
    let row = |kind: &str| {
        let cell = |(line, files): (&ReleaseLine, &Vec<(&str, State)>)| {
            let found = files.iter().find(|(other, _)| *other == kind).map(|(_, state)| *state);
            let unknown = || State::of_release(None, line.job.as_ref());
            found.or_else(|| line.status.is_none().then(unknown))
        };
        Row { cells: lines.iter().zip(&files).rev().map(cell).collect(), kind: kind.to_owned() }
    };
    let count =
        |wanted: &[State]| columns.iter().filter(|column| wanted.contains(&column.state)).count();
    Series {
        name: lines[0].series.clone(),
        sentence: sentence(&columns),
        judged: count(&[State::Pass, State::Fail, State::NotBuilt]),
        passed: count(&[State::Pass]),
        rows: kinds.into_iter().map(row).collect(),
        columns,
    }
}

fn column(line: &ReleaseLine) -> Column {
    let text = line.version.to_string();
    // `3.13` and `.5`, but `3.15.0` and `rc1`: what is shown tells releases of a series apart.
    let base = line.version.base();
    let split = if text.len() > base.len() && text.starts_with(&base) {
        base.len()
    } else {
        line.series.len().min(text.len())
    };
    Column {
        stem: text[..split].to_owned(),
        rest: text[split..].to_owned(),
        state: State::of_release(line.status.as_deref(), line.job.as_ref()),
        version: text,
    }
}

/// The kind of each file, `.tgz` of `Python-3.13.5.tgz`, and how it stands.
fn files(line: &ReleaseLine) -> Vec<(&str, State)> {
    let prefix = format!("Python-{}", line.version);
    let files = line.files.iter();
    let state = |file: Option<FileStanding>| State::of_file(file, line.job.as_ref());
    files.map(|(name, file)| (kind(name, &prefix), state(*file))).collect()
}

fn kind<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).filter(|kind| !kind.is_empty()).unwrap_or(name)
}

/// The newest runs of releases in one state, newest first.
fn sentence(columns: &[Column]) -> String {
    let runs: Vec<&[Column]> = columns.chunk_by(|one, next| one.state == next.state).collect();
    let mut parts = Vec::new();
    for run in runs.iter().rev().take(RUNS_MAX) {
        // Invariant: chunk_by gives no empty run.
        let (first, last) = (&run[0], &run[run.len() - 1]);
        let word = first.state.word();
        parts.push(match run.len() {
            1 => format!("{} {word}", last.version),
            _ => format!("{} to {} {word}", first.version, last.version),
        });
    }
    if runs.len() > RUNS_MAX {
        parts.push("…".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Version;

    fn line(version: &str, status: Option<&str>, files: &[(&str, FileStanding)]) -> ReleaseLine {
        let version: Version = version.parse().unwrap();
        let named =
            |(kind, file): &(&str, FileStanding)| (format!("Python-{version}{kind}"), Some(*file));
        ReleaseLine {
            series: version.series(),
            announced: "2025-06-11T17:00:00Z".parse().unwrap(),
            status: status.map(str::to_owned),
            finished: None,
            files: files.iter().map(named).collect(),
            job: None,
            notice: None,
            version,
        }
    }

    #[test]
    fn where_a_series_stops_being_reproduced_is_said_in_one_sentence() {
        let both = [(".tgz", FileStanding::Reproduced), (".tar.xz", FileStanding::Replayed)];
        let half = [(".tgz", FileStanding::Reproduced), (".tar.xz", FileStanding::Disputed)];
        let mut lines = vec![line("3.13.10", Some("fail"), &half)];
        for micro in (0..10).rev() {
            lines.push(line(&format!("3.13.{micro}"), Some("pass"), &both));
        }
        lines.push(line("3.13.0rc1", None, &[]));
        let series = series(&lines);
        let [only] = series.as_slice() else { panic!("one series") };
        assert_eq!(only.sentence, "3.13.10 fail; 3.13.0 to 3.13.9 pass; 3.13.0rc1 not checked");
        assert_eq!((only.passed, only.judged, only.columns.len()), (10, 11, 12));
        let rests: Vec<&str> = only.columns.iter().map(|column| column.rest.as_str()).collect();
        assert_eq!((rests[0], rests[1], rests[11]), ("rc1", ".0", ".10"));
        let [xz, gz] = only.rows.as_slice() else { panic!("two kinds") };
        assert_eq!((xz.kind.as_str(), gz.kind.as_str()), (".tar.xz", ".tgz"));
        assert_eq!((xz.cells[11], gz.cells[11]), (Some(State::Fail), Some(State::Pass)));
        assert_eq!(gz.cells[0], Some(State::NotChecked));
    }

    #[test]
    fn a_release_without_a_file_that_others_have_has_an_empty_cell() {
        let lines = [
            line(
                "3.14.1",
                Some("not_built"),
                &[(".tgz", FileStanding::NotBuilt), ("x", FileStanding::NotBuilt)],
            ),
            line("3.14.0", Some("pass"), &[(".tgz", FileStanding::Reproduced)]),
        ];
        let series = series(&lines);
        let cells: Vec<&[Option<State>]> =
            series[0].rows.iter().map(|row| row.cells.as_slice()).collect();
        assert_eq!(cells[0], [Some(State::Pass), Some(State::NotBuilt)]);
        assert_eq!(cells[1], [None, Some(State::NotBuilt)]);
    }
}
