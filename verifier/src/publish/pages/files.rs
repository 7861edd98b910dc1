//! What a record says of each file and of each claim, as pages show it: bounded, in words.

use std::path::Path;

use anyhow::Context;
use tokio::task::spawn_blocking;

use super::state::State;
use crate::compare::report::{cause_text, grouped};
use crate::compare::{Cause, Origin, Tier};
use crate::evidence::{CheckOutcome, Evidence};
use crate::publish::stored;
use crate::record::{Record, RecordedArtifact, RecordedExplanation, SizedDigest, VerdictName};

/// Causes of one file.
const CAUSES_MAX: usize = 40;
/// Files and groups of evidence on one page. A release has two files.
pub const FILES_MAX: usize = 64;
const EVIDENCE_MAX: usize = 200;
/// Files of a report that are listed.
pub const REPORTS_MAX: usize = 256;
/// A text from outside is cut after so many characters.
const TEXT_CHARACTERS_MAX: usize = 600;

/// A file of a record.
pub struct FileShown {
    pub name: String,
    /// Where it was fetched from, if a browser should go there.
    pub url: Option<String>,
    pub state: State,
    /// `reproduced, bit for bit`.
    pub verdict: &'static str,
    /// Whether a claim about it, or about its tag, disagrees.
    pub is_disputed: bool,
    /// Whether python.org serves other bytes under this name since.
    pub is_replaced: bool,
    pub tier: Option<&'static str>,
    pub summary: String,
    pub published: SideShown,
    /// None if nothing was built.
    pub rebuilt: Option<SideShown>,
    /// Whether both sides have one digest.
    pub is_same: bool,
    pub causes: Vec<CauseShown>,
    pub causes_more: usize,
    pub unexplained: Vec<String>,
    pub unexplained_rest: Option<Rest>,
    pub origin: Option<OriginShown>,
    /// How the replay of a file that was packed by hand went.
    pub replay: Option<String>,
    /// Stored reports about this file.
    pub reports: Vec<ReportFile>,
}

/// One side of a file.
pub struct SideShown {
    pub sha256: String,
    pub size: String,
}

/// One reason why the sides differ.
pub struct CauseShown {
    pub id: &'static str,
    pub meaning: &'static str,
    pub text: String,
}

/// Where the members of a published file come from.
pub struct OriginShown {
    pub sentence: String,
    /// Members that are not the tag's: path, and who made them.
    pub others: Vec<(String, String)>,
    pub others_rest: Option<Rest>,
    pub notes: Vec<String>,
    pub notes_more: usize,
}

/// What a page leaves out of a list that the record has, maybe not whole either.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    /// How many more there are.
    pub more: String,
    /// `all of them`, `the first 1,000`.
    pub kept: String,
}

/// A stored file of a record's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    pub name: String,
    /// What it is, for people.
    pub words: &'static str,
}

/// Checks of claims that ended alike.
pub struct EvidenceShown {
    pub check: &'static str,
    pub outcome: &'static str,
    /// The class that gives the outcome its shape.
    pub class: &'static str,
    pub artifacts: String,
    pub detail: String,
}

/// The files of a record, each with at most `paths_max` unexplained paths; and how many more files
/// there are.
pub fn files(record: &Record, reports: &[ReportFile], paths_max: usize) -> (Vec<FileShown>, usize) {
    let shown = record.artifacts.iter().take(FILES_MAX);
    let files = shown.map(|artifact| file(record, artifact, reports, paths_max)).collect();
    (files, record.artifacts.len().saturating_sub(FILES_MAX))
}

fn file(
    record: &Record,
    artifact: &RecordedArtifact,
    reports: &[ReportFile],
    paths_max: usize,
) -> FileShown {
    let is_disputed = record.is_disputed(&artifact.name);
    let came_out = if is_disputed { State::Fail } else { State::Pass };
    let (state, verdict) = match (artifact.verdict, artifact.tier) {
        (VerdictName::Reproduced, Some(Tier::Replayed)) => (came_out, "reproduced, replayed"),
        (VerdictName::Reproduced, _) => (came_out, "reproduced, bit for bit"),
        (VerdictName::Different, _) => (State::Fail, "different"),
        (VerdictName::NotBuilt, _) => (State::NotBuilt, "not built"),
    };
    let own = format!("{}.", artifact.name);
    let of_this = |report: &&ReportFile| report.name.starts_with(&own);
    let (unexplained, _) = first(&artifact.unexplained, paths_max);
    let kept = artifact.unexplained.len();
    FileShown {
        name: artifact.name.clone(),
        url: matches!(artifact.url.scheme(), "http" | "https").then(|| artifact.url.to_string()),
        state,
        verdict,
        is_disputed,
        is_replaced: false,
        tier: artifact.tier.map(Tier::as_str),
        summary: cut(&artifact.summary),
        published: side(&artifact.published),
        rebuilt: artifact.rebuilt.as_ref().map(side),
        is_same: artifact.rebuilt == Some(artifact.published),
        causes: artifact.causes.iter().take(CAUSES_MAX).map(cause).collect(),
        causes_more: artifact.causes.len().saturating_sub(CAUSES_MAX),
        unexplained: unexplained.iter().map(|path| cut(path)).collect(),
        unexplained_rest: rest(unexplained.len(), kept, artifact.unexplained_total()),
        origin: artifact.explanation.as_ref().map(|map| origin(map, paths_max)),
        replay: artifact.replay.as_ref().map(|replay| cut(&replay.to_string())),
        reports: reports.iter().filter(of_this).cloned().collect(),
    }
}

fn side(side: &SizedDigest) -> SideShown {
    SideShown { sha256: side.sha256.to_string(), size: grouped(side.size) }
}

fn cause(cause: &Cause) -> CauseShown {
    let (id, meaning) = (cause.cause.as_str(), cause.cause.meaning());
    CauseShown { id, meaning, text: cut(&cause_text(cause)) }
}

fn origin(explanation: &RecordedExplanation, paths_max: usize) -> OriginShown {
    let map = &explanation.map;
    let sentence = format!(
        "{} files: {} as the tag has them, {} made by steps, {} unexplained; {} directories.",
        grouped(map.files),
        grouped(map.git),
        grouped(explanation.others_total.saturating_sub(map.unexplained)),
        grouped(map.unexplained),
        grouped(map.directories),
    );
    let words = |origin: &Origin| match origin {
        Origin::Git => "as the tag has it".to_owned(),
        Origin::Step(step) => format!("made by step {step}"),
        Origin::RemovedBy(step) => format!("unexplained: step {step} removes it"),
        Origin::Unexplained => "unexplained".to_owned(),
    };
    let (others, _) = first(&map.others, paths_max);
    OriginShown {
        sentence,
        others: others.iter().map(|(path, origin)| (cut(path), words(origin))).collect(),
        others_rest: rest(others.len(), map.others.len(), explanation.others_total),
        notes: map.notes.iter().take(CAUSES_MAX).map(|note| cut(&note.text)).collect(),
        notes_more: map.notes.len().saturating_sub(CAUSES_MAX),
    }
}

/// Checks with the same answer share a line; what disagrees comes first.
pub fn evidence(evidence: &[Evidence]) -> (Vec<EvidenceShown>, usize) {
    let mut groups: Vec<(&Evidence, Vec<&str>)> = Vec::new();
    let mut sorted: Vec<&Evidence> = evidence.iter().collect();
    sorted.sort_by_key(|one| one.outcome != CheckOutcome::Disagrees);
    for one in sorted {
        let full = groups.len() >= EVIDENCE_MAX;
        let same = |(first, _): &&mut (&Evidence, Vec<&str>)| {
            (first.check, first.outcome, &first.detail) == (one.check, one.outcome, &one.detail)
        };
        match groups.iter_mut().find(same) {
            Some((_, artifacts)) => artifacts.push(&one.artifact),
            None if !full => groups.push((one, vec![&one.artifact])),
            // Counted below, and not shown.
            None => {}
        }
    }
    let shown = |(one, artifacts): &(&Evidence, Vec<&str>)| EvidenceShown {
        check: one.check.as_str(),
        outcome: one.outcome.as_str(),
        class: outcome_class(one.outcome),
        artifacts: cut(&artifacts.join(", ")),
        detail: cut(&one.detail),
    };
    let listed: usize = groups.iter().map(|(_, artifacts)| artifacts.len()).sum();
    (groups.iter().map(shown).collect(), evidence.len().saturating_sub(listed))
}

fn outcome_class(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Agrees => "p",
        CheckOutcome::Disagrees => "f",
        CheckOutcome::Missing => "o-missing",
        CheckOutcome::NotExpected => "o-none",
        CheckOutcome::NotYet => "w",
        CheckOutcome::CannotCheck => "o-cannot",
    }
}

/// The stored files of the record `id`, by name. They are byproducts: there may be none any more.
/// In which form they are kept is not told, as it changes with time.
pub async fn reports(directory: &Path, id: &str) -> anyhow::Result<Vec<ReportFile>> {
    let (directory, id) = (directory.to_owned(), id.to_owned());
    let names = spawn_blocking(move || stored::names(&directory, &id)).await;
    let names = names.context("list a report")??;
    let file = |name: String| ReportFile { words: words(&name), name };
    Ok(names.into_iter().take(REPORTS_MAX).map(file).collect())
}

/// What a file of a report is, by its name; see `publish::write_report`.
fn words(name: &str) -> &'static str {
    const WORDS: [(&str, &str); 7] = [
        ("record.json", "the record"),
        ("build.log", "what the steps wrote"),
        (".difference.html", "the difference, to read"),
        (".difference.txt", "the difference as text"),
        (".difference.json", "the difference as JSON"),
        (".published.members.txt", "members of the published file"),
        (".rebuilt.members.txt", "members of the rebuilt file"),
    ];
    let known = WORDS.iter().find(|(end, _)| name.ends_with(end));
    known.map_or("another file", |(_, words)| words)
}

/// Of a list of `total` of which a page shows so many and the record has `kept`.
fn rest(shown: usize, kept: usize, total: u64) -> Option<Rest> {
    let more = total.saturating_sub(shown as u64);
    let kept = match kept as u64 >= total {
        true => "all of them".to_owned(),
        false => format!("the first {}", grouped(kept as u64)),
    };
    (more > 0).then(|| Rest { more: grouped(more), kept })
}

/// The first of a list, and how many more there are.
fn first<T>(list: &[T], most: usize) -> (&[T], usize) {
    let shown = list.len().min(most);
    (&list[..shown], list.len() - shown)
}

/// A text from outside, no longer than a page can bear.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
