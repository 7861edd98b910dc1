//! `/records/ID`: one record in full, with what is stored beside it. A record never changes, and
//! neither does its page, but for byproducts that are not kept for ever.

use std::path::Path;

use anyhow::Context;
use askama::Template;
use tokio::task::spawn_blocking;

use super::files::{REPORTS_MAX, ReportFile, cut, reports};
use super::markup::duration;
use super::release::{Found, found, verdict_sentence};
use super::shell::word;
use super::state::State;
use super::{Frame, Page, by_hand};
use crate::publish::site::{Caching, POLICY, Resource, Shown};
use crate::record::{Record, RecordStatus};
use crate::retention;
use crate::store::Store;

/// Unexplained paths of a file, and members that are not the tag's.
const PATHS_MAX: usize = 200;
const STEPS_MAX: usize = 64;
const SCRIPT_LINES_MAX: usize = 200;
/// Lines of the log that are shown, from its end, and the bytes that are read for them.
const LOG_LINES_MAX: usize = 40;
const LOG_BYTES_MAX: usize = 16 << 10;

#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage<'a> {
    frame: &'a Frame,
    version: String,
    state: State,
    sentence: String,
    took: String,
    found: Found,
    steps: Vec<StepShown>,
    steps_more: usize,
    variables: Vec<(String, String)>,
    variables_more: usize,
    limits: Vec<String>,
    limits_more: usize,
    definition: String,
    by_hand: [String; 5],
    log: LogShown,
    reports: Vec<ReportFile>,
    reports_more: bool,
}

/// The end of a log.
#[derive(Default)]
struct LogShown {
    lines: Vec<String>,
    /// Whether there are others before them.
    more: bool,
}

/// A step of the recipe, as it ran.
struct StepShown {
    name: String,
    /// How long it ran; none if it was not reached.
    took: Option<String>,
    lines: Vec<String>,
    lines_more: usize,
}

/// The page of a record; none if there is no such record.
pub async fn record(shown: &Shown, frame: &Frame, id: &str) -> anyhow::Result<Option<Page>> {
    let Some(record) = read(&shown.store, id).await? else { return Ok(None) };
    let directory = &shown.reports;
    let parameters = &record.definition.internal_parameters;
    let variables = parameters.environment.iter().take(STEPS_MAX);
    let limits = &record.rebuild.limits_in_force;
    let more = |length: usize| length.saturating_sub(STEPS_MAX);
    let milliseconds = record.finished.duration_since(record.started).as_millis();
    let reports = reports(directory, &record.id).await?;
    let path = directory.join(&record.id).join("build.log");
    let log = spawn_blocking(move || log(&path)).await;
    let page = RecordPage {
        frame,
        version: record.release.version.to_string(),
        state: match record.status {
            RecordStatus::Pass => State::Pass,
            RecordStatus::Fail => State::Fail,
            RecordStatus::NotBuilt => State::NotBuilt,
        },
        sentence: verdict_sentence(&record),
        took: duration(u64::try_from(milliseconds).unwrap_or_default()),
        steps: steps(&record),
        steps_more: more(parameters.steps.len()),
        variables: variables.map(|(name, value)| (cut(name), word(value))).collect(),
        variables_more: more(parameters.environment.len()),
        limits: limits.iter().take(STEPS_MAX).map(|limit| cut(limit)).collect(),
        limits_more: more(limits.len()),
        definition: record.rebuild.definition.clone(),
        by_hand: by_hand::commands(shown, &record),
        log: log.context("read a log")??,
        found: found(&record, &reports, PATHS_MAX),
        reports_more: reports.len() == REPORTS_MAX,
        reports,
    };
    Ok(Some(Page { html: page.render()?, modified: record.finished }))
}

/// `/records/ID/definition.json`: all inputs of a record's build, for whoever runs it again.
pub async fn definition(store: &Store, id: &str) -> anyhow::Result<Option<Resource>> {
    let Some(record) = read(store, id).await? else { return Ok(None) };
    let json = serde_json::to_string_pretty(&record.definition).context("write a definition")?;
    Ok(Some(Resource {
        body: (json + "\n").into_bytes(),
        media_type: "application/json",
        caching: Caching::Forever,
        modified: record.finished,
        policy: POLICY,
    }))
}

/// `/records/ID/steps.sh`: the same for a shell.
pub async fn script(store: &Store, id: &str) -> anyhow::Result<Option<Resource>> {
    Ok(read(store, id).await?.map(|record| by_hand::script(&record)))
}

async fn read(store: &Store, id: &str) -> anyhow::Result<Option<Record>> {
    let Some(document) = store.document(id).await? else { return Ok(None) };
    Ok(Some(serde_json::from_str(&document).context("read a record of the store")?))
}

fn steps(record: &Record) -> Vec<StepShown> {
    let runs = &record.rebuild.steps;
    let steps = record.definition.internal_parameters.steps.iter().take(STEPS_MAX).enumerate();
    let shown = steps.map(|(place, step)| {
        let run = runs.get(place).filter(|run| run.name == step.name);
        let lines = step.run.trim_matches('\n').lines();
        StepShown {
            name: cut(&step.name),
            took: run.map(|run| duration(run.milliseconds)),
            lines: lines.clone().take(SCRIPT_LINES_MAX).map(cut).collect(),
            lines_more: lines.count().saturating_sub(SCRIPT_LINES_MAX),
        }
    });
    shown.collect()
}

/// The last lines of a log; none if it is not kept.
fn log(path: &Path) -> anyhow::Result<LogShown> {
    let reading = || format!("read {}", path.display());
    let Some(kept) = retention::open(path).with_context(reading)? else {
        return Ok(LogShown::default());
    };
    let (bytes, is_cut) = kept.last_bytes(LOG_BYTES_MAX).with_context(reading)?;
    let text = String::from_utf8_lossy(&bytes);
    // After a cut, what the first line was is not known.
    let lines: Vec<String> = text.lines().skip(usize::from(is_cut)).map(cut).collect();
    let first = lines.len().saturating_sub(LOG_LINES_MAX);
    Ok(LogShown { lines: lines[first..].to_vec(), more: is_cut || first > 0 })
}
