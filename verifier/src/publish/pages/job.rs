//! `/jobs/ID`: how far a job is, with its log. The page is whole without a script; with one, it
//! follows the job's events.

use std::path::Path;

use anyhow::Context;
use askama::Template;
use tokio::task::spawn_blocking;

use super::files::cut;
use super::markup::Moment;
use super::queue::why;
use super::release::job_text;
use super::state::State;
use super::{Frame, Page, newest};
use crate::journal;
use crate::queue::{Job, JobState};
use crate::store::{LiveJob, Store};

/// Lines of the journal that are shown, from its end.
const LINES_MAX: usize = 500;

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage<'a> {
    frame: &'a Frame,
    id: String,
    version: String,
    state: Option<State>,
    word: &'static str,
    text: String,
    why: &'static str,
    created: Moment,
    started: Option<Moment>,
    finished: Option<Moment>,
    attempts: u32,
    record: Option<String>,
    over: bool,
    lines: Vec<LineShown>,
    more: bool,
}

struct LineShown {
    kind: &'static str,
    at: String,
    time: String,
    text: String,
}

/// The page of a job; none if there is no such job.
pub async fn job(
    store: &Store,
    journals: &Path,
    frame: &Frame,
    id: &str,
) -> anyhow::Result<Option<Page>> {
    let Some(job) = store.job(id).await? else { return Ok(None) };
    let (journals, job_id) = (journals.to_owned(), job.id.clone());
    let told = spawn_blocking(move || journal::last_lines(&journals, &job_id, LINES_MAX)).await;
    let told = told.context("read a journal")??;
    let modified = newest([Some(job.created), job.started, job.finished]);
    let page = JobPage {
        frame,
        version: job.version.to_string(),
        state: state(&job),
        word: word(&job),
        text: job_text(&job),
        why: why(job.why),
        created: Moment::new(job.created),
        started: job.started.map(Moment::new),
        finished: job.finished.map(Moment::new),
        attempts: job.attempts,
        over: job.state.is_over(),
        lines: told.lines.iter().map(line).collect(),
        more: told.more,
        record: job.record,
        id: job.id,
    };
    Ok(Some(Page { html: page.render()?, modified }))
}

/// The state of a job that is not over: its verdict is the record's to say.
fn state(job: &Job) -> Option<State> {
    (!job.state.is_over()).then(|| State::of_job(&LiveJob::from(job)))
}

fn word(job: &Job) -> &'static str {
    match job.state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Parked => "parked",
        JobState::Done => "done",
        JobState::Cancelled => "cancelled",
    }
}

fn line(line: &journal::Told) -> LineShown {
    LineShown {
        kind: line.kind.as_str(),
        time: line.at.get(11..19).unwrap_or_default().to_owned(),
        at: line.at.clone(),
        text: cut(&line.text),
    }
}
