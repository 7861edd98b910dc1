//! `verbatim explain`: where every member of the published archives comes from, as a record has it.
//!
//! Part of the publish room: it renders, and decides nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::compare::Origin;
use crate::compare::report::{grouped, printable};
use crate::record::{Record, RecordedArtifact, RecordedExplanation};
use crate::replay::Replay;

/// Paths of one kind that are named in the text; the JSON has more.
const PATHS_SHOWN_MAX: usize = 20;

/// Where the members of one file come from, and what of the archive itself was replayed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Map<'a> {
    #[serde(flatten)]
    pub explanation: &'a RecordedExplanation,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<&'a Replay>,
}

impl<'a> Map<'a> {
    fn of(artifact: &'a RecordedArtifact) -> Option<Map<'a>> {
        let replay = artifact.replay.as_ref();
        artifact.explanation.as_ref().map(|explanation| Map { explanation, replay })
    }
}

/// The maps by file name; null where nothing was traced.
pub fn maps(record: &Record) -> BTreeMap<&str, Option<Map<'_>>> {
    record.artifacts.iter().map(|artifact| (artifact.name.as_str(), Map::of(artifact))).collect()
}

/// 0 if everything is accounted for, 1 if something is not, 2 if that cannot be told.
pub fn exit_status(record: &Record) -> u8 {
    let maps: Vec<_> = maps(record).into_values().collect();
    let complete = |map: &Map| map.explanation.map.notes.is_empty();
    if maps.iter().flatten().any(|map| complete(map) && map.explanation.map.unexplained > 0) {
        return 1;
    }
    let told = maps.iter().all(|map| map.as_ref().is_some_and(complete));
    if told { 0 } else { 2 }
}

/// The maps in words; files with the same map share one.
pub fn text(record: &Record) -> String {
    let release = &record.release;
    let mut lines = vec![format!("{} {}", release.project, release.version)];
    let mut groups: Vec<(Vec<&str>, Option<Map>)> = Vec::new();
    for artifact in &record.artifacts {
        let map = Map::of(artifact);
        match groups.iter_mut().find(|(_, other)| *other == map) {
            Some((names, _)) => names.push(&artifact.name),
            None => groups.push((vec![&artifact.name], map)),
        }
    }
    for (names, map) in groups {
        lines.push(names.join(", "));
        match map {
            Some(map) => {
                lines.extend(described(map.explanation).iter().map(|line| format!("  {line}")));
                lines.extend(map.replay.map(|replay| format!("  archive: {replay}")));
            }
            None => lines.push("  the rebuild came to nothing that could be traced".to_owned()),
        }
    }
    // Paths come from the published archive.
    let harmless: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    harmless.join("\n") + "\n"
}

fn described(explanation: &RecordedExplanation) -> Vec<String> {
    let map = &explanation.map;
    let mut lines = vec![format!(
        "{} files: {} equal to the tag's, {} not plain git, {} of them unexplained; {} directories",
        grouped(map.files),
        grouped(map.git),
        grouped(explanation.others_total),
        grouped(map.unexplained),
        grouped(map.directories),
    )];
    lines.extend(map.notes.iter().map(|note| format!("note: {}", note.text)));
    for (path, origin) in &map.others {
        lines.push(match origin {
            Origin::Unexplained => format!("UNEXPLAINED       {path}"),
            Origin::RemovedBy(step) => format!("UNEXPLAINED       {path} (step {step} removes it)"),
            Origin::Step(step) => format!("made by {step:<9} {path}"),
            Origin::Git => format!("equal to the tag  {path}"),
        });
    }
    lines.extend(rest(explanation.others_total, map.others.len(), "not plain git"));
    lines.extend(counted("removed by", &map.removed, explanation.removed_total));
    lines.extend(counted(
        "not published, though it comes from",
        &map.missing,
        explanation.missing_total,
    ));
    lines
}

/// `removed by blurb     61 files: Misc/NEWS.d/3.13.0.rst, …`.
fn counted(what: &str, paths: &[(String, String)], total: u64) -> Vec<String> {
    let mut by_step: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, step) in paths {
        by_step.entry(step).or_default().push(path);
    }
    let line = |(step, paths): (&&str, &Vec<&str>)| {
        let shown: Vec<&str> = paths.iter().take(PATHS_SHOWN_MAX / 4).copied().collect();
        let more = if paths.len() > shown.len() { ", …" } else { "" };
        let count = grouped(paths.len() as u64);
        format!("{what} {step:<6} {count} files: {}{more}", shown.join(", "))
    };
    let mut lines: Vec<String> = by_step.iter().map(line).collect();
    lines.extend(rest(total, paths.len(), what));
    lines
}

fn rest(total: u64, listed: usize, what: &str) -> Option<String> {
    let left = total.saturating_sub(listed as u64);
    (left > 0).then(|| format!("and {} more paths: {what}", grouped(left)))
}
