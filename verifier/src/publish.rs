//! Room 6, publish: renders records. It decides nothing and recomputes nothing.

pub mod atom;
pub mod badge;
pub mod export;
pub mod pages;
pub mod paths;
pub mod site;
pub mod stored;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::compare::{self, Comparison, Tier, report};
use crate::era::EraFinding;
use crate::evidence::{CheckOutcome, Evidence};
use crate::members;
use crate::record::{Record, RecordStatus, RecordedArtifact, VerdictName};

/// The record in a few lines of plain text.
pub fn text(record: &Record) -> String {
    let status = match record.status {
        RecordStatus::Pass => "pass",
        RecordStatus::Fail => "fail",
        RecordStatus::NotBuilt => "not built",
    };
    let release = &record.release;
    let reason = refuted(record).unwrap_or_default();
    let how = if is_replayed(record) { ", replayed" } else { "" };
    let (project, version) = (&release.project, &release.version);
    let mut lines = vec![format!("{project} {version}  {status}{how}{reason}")];
    let names = record.artifacts.iter().map(|artifact| artifact.name.len());
    let width = names.max().unwrap_or_default();
    for artifact in &record.artifacts {
        lines.push(format!("  {:width$}   {}", artifact.name, verdict_text(artifact)));
        for cause in &artifact.causes {
            lines.push(format!(
                "  {:width$}     {} {}",
                "",
                cause.cause.as_str(),
                report::cause_text(cause)
            ));
        }
        lines.extend(unexplained_lines(artifact).map(|line| format!("  {:width$}     {line}", "")));
    }
    lines.extend(record.era.as_ref().map(era_line));
    lines.extend(evidence_lines(&record.evidence));
    // Names of members stand in summaries, causes and paths, and come from the published archive.
    let harmless: Vec<String> = lines.iter().map(|line| report::printable(line)).collect();
    harmless.join("\n") + "\n"
}

/// Whether some file only came out with order, times and owners of the published one.
fn is_replayed(record: &Record) -> bool {
    record.artifacts.iter().any(|artifact| artifact.tier == Some(Tier::Replayed))
}

/// Why a release whose files all came out does not pass.
fn refuted(record: &Record) -> Option<String> {
    let differs = |artifact: &RecordedArtifact| artifact.verdict != VerdictName::Reproduced;
    if record.status != RecordStatus::Fail || record.artifacts.iter().any(differs) {
        return None;
    }
    let disagrees = |one: &&Evidence| one.outcome == CheckOutcome::Disagrees;
    let one = record.evidence.iter().find(disagrees)?;
    Some(format!(": {} of {} disagrees", one.check.as_str(), one.artifact))
}

/// `era           agrees       as in E0; E0 by its date`. It decides nothing.
fn era_line(era: &EraFinding) -> String {
    let word = if era.agrees { "agrees" } else { "unexpected" };
    format!("  {:<13} {word:<12} {era}", "era")
}

/// One line a check and outcome, what disagrees first; files with the same answer share a line.
fn evidence_lines(evidence: &[Evidence]) -> Vec<String> {
    let mut groups: Vec<(&Evidence, Vec<&str>)> = Vec::new();
    for one in evidence {
        let same = |(first, _): &&mut (&Evidence, Vec<&str>)| {
            (first.check, first.outcome, &first.detail) == (one.check, one.outcome, &one.detail)
        };
        match groups.iter_mut().find(same) {
            Some((_, artifacts)) => artifacts.push(&one.artifact),
            None => groups.push((one, vec![&one.artifact])),
        }
    }
    groups.sort_by_key(|(one, _)| one.outcome != CheckOutcome::Disagrees);
    let line = |(one, artifacts): &(&Evidence, Vec<&str>)| {
        let (check, artifacts) = (one.check.as_str(), artifacts.join(", "));
        let outcome = match one.outcome {
            CheckOutcome::Disagrees => "DISAGREES",
            other => other.as_str(),
        };
        let detail = match one.detail.as_str() {
            "" => String::new(),
            detail => format!(": {detail}"),
        };
        format!("  {check:<13} {outcome:<12} {artifacts}{detail}")
    };
    groups.iter().map(line).collect()
}

fn verdict_text(artifact: &RecordedArtifact) -> String {
    let tier = artifact.tier.map(|tier| format!(" ({})", tier.as_str())).unwrap_or_default();
    match artifact.verdict {
        VerdictName::Reproduced if artifact.tier == Some(Tier::Replayed) => format!(
            "reproduced{tier}: {}   ({} bytes, sha256 {}…)",
            artifact.summary,
            report::grouped(artifact.published.size),
            &artifact.published.sha256.to_string()[..8]
        ),
        VerdictName::Reproduced => format!(
            "reproduced, bit for bit   ({} bytes, sha256 {}…)",
            report::grouped(artifact.published.size),
            &artifact.published.sha256.to_string()[..8]
        ),
        VerdictName::Different => format!("different{tier}: {}", artifact.summary),
        VerdictName::NotBuilt => format!("not built: {}", artifact.summary),
    }
}

/// The most paths of a list that are shown in a terminal.
const PATHS_SHOWN_MAX: usize = 10;

fn unexplained_lines(artifact: &RecordedArtifact) -> impl Iterator<Item = String> {
    let shown = artifact.unexplained.iter().take(PATHS_SHOWN_MAX);
    let lines: Vec<String> = shown.map(|path| format!("UNEXPLAINED {path}")).collect();
    let rest = artifact.unexplained_total().saturating_sub(PATHS_SHOWN_MAX as u64);
    let more = (rest > 0).then(|| format!("and {} more unexplained", report::grouped(rest)));
    lines.into_iter().chain(more)
}

/// Two files of one verification, for the report.
pub struct Pair<'a> {
    pub name: &'a str,
    pub published: &'a Path,
    /// None when nothing was built.
    pub rebuilt: Option<PathBuf>,
    /// What explains a difference.
    pub comparison: Option<&'a Comparison>,
}

/// One verification, to be reported.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    pub record: &'a Record,
    /// What the steps wrote.
    pub log: &'a Path,
    pub pairs: &'a [Pair<'a>],
}

/// Writes record.json, build.log, the member lists of both sides and, where a file differs, the
/// difference as text, JSON and HTML into `directory`.
pub fn write_report(directory: &Path, report: &Report) -> anyhow::Result<()> {
    let Report { record, log, pairs } = *report;
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let json = serde_json::to_string_pretty(record).context("write the record")? + "\n";
    write(&directory.join("record.json"), json.as_bytes())?;
    let mut log = File::open(log).with_context(|| format!("read {}", log.display()))?;
    write_by(&directory.join("build.log"), |file| io::copy(&mut log, file).map(drop))?;
    for pair in pairs {
        let sides = [("published", Some(pair.published)), ("rebuilt", pair.rebuilt.as_deref())];
        for (side, path) in sides {
            let Some(path) = path else { continue };
            let file = directory.join(format!("{}.{side}.members.txt", pair.name));
            write_by(&file, |list| {
                let mut list = BufWriter::new(list);
                members::write_list(path, &mut list)?;
                list.flush()
            })?;
        }
        if let Some(comparison) = pair.comparison {
            let limits = compare::Limits::default();
            let text = report::text(comparison, report::Style::default(), limits.report_bytes_max);
            let json = report::json(comparison, limits.report_bytes_max);
            let file = |kind| directory.join(format!("{}.difference.{kind}", pair.name));
            write(&file("txt"), text.as_bytes())?;
            write(&file("json"), json.as_bytes())?;
            let layout = report::Layout::Unified;
            let html = report::html(comparison, layout, limits.report_bytes_max);
            write(&file("html"), html.as_bytes())?;
        }
    }
    Ok(())
}

/// What the name of a file begins with that is being written; a leftover if nobody does.
pub const UNFINISHED: &str = ".verbatim-unfinished-";

/// Readers see the old file or the new one, never half of one.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_by(path, |file| file.write_all(bytes))
}

/// The same of what `fill` writes.
fn write_by(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> anyhow::Result<()> {
    let write = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all()?;
        set_usual_mode(file.as_file())?;
        file.persist(path)?;
        File::open(directory)?.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// Temporary files are made for their owner only; reports are for everybody.
fn set_usual_mode(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}
