//! `/queue`: what runs, what waits and for what, and when each may begin.

use askama::Template;
use jiff::Timestamp;

use super::files::cut;
use super::markup::{Moment, duration};
use super::state::State;
use super::{Frame, Page, newest};
use crate::compare::report::grouped;
use crate::queue::{Job, JobState, Turn, Why, expected_starts};
use crate::store::{LiveJob, Store};

/// Jobs that are not over, in one page.
const JOBS_MAX: u32 = 200;
const DONE_MAX: u32 = 20;

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage<'a> {
    frame: &'a Frame,
    queued: String,
    running: String,
    parked: String,
    usual: Option<String>,
    live: Vec<JobShown>,
    more: u64,
    done: Vec<DoneShown>,
    done_more: bool,
}

/// A job that is not over.
pub(super) struct JobShown {
    pub id: String,
    pub version: String,
    pub why: &'static str,
    pub state: State,
    /// `runs`, `1`, `parked`.
    pub place: String,
    /// What it waits for, or what went wrong.
    pub reason: String,
    pub began: Option<Moment>,
    pub expected: Option<Moment>,
}

struct DoneShown {
    id: String,
    version: String,
    why: &'static str,
    finished: Option<Moment>,
    took: String,
    record: Option<String>,
}

/// The queue.
pub async fn queue(store: &Store, frame: &Frame) -> anyhow::Result<Page> {
    let lengths = store.queue_lengths().await?;
    let usual = store.usual_duration_ms().await?;
    let jobs = store.live_jobs(JOBS_MAX).await?;
    let mut done = store.last_jobs(DONE_MAX + 1).await?;
    let done_more = done.len() > DONE_MAX as usize;
    done.truncate(DONE_MAX as usize);
    let modified = newest(
        jobs.iter().chain(&done).flat_map(|job| [Some(job.created), job.started, job.finished]),
    );
    let turns: Vec<Turn> = jobs.iter().map(Turn::from).collect();
    let live = expected_starts(&turns, usual);
    let [queued, running, parked] = lengths.map(i64::unsigned_abs);
    let page = QueuePage {
        frame,
        queued: grouped(queued),
        running: grouped(running),
        parked: grouped(parked),
        usual: usual.map(|usual| duration(usual.unsigned_abs())),
        live: jobs.iter().zip(live).map(|(job, at)| shown(job, at)).collect(),
        more: (queued + running + parked).saturating_sub(jobs.len() as u64),
        done: done.into_iter().map(done_shown).collect(),
        done_more,
    };
    Ok(Page { html: page.render()?, modified })
}

fn shown(job: &Job, expected: Option<Timestamp>) -> JobShown {
    let place = match (job.state, job.position) {
        (JobState::Running, _) => "runs".to_owned(),
        (JobState::Parked, _) => "parked".to_owned(),
        (_, Some(position)) => grouped(position),
        (_, None) => String::new(),
    };
    let reason = match (&job.waiting, &job.error) {
        (Some(waiting), _) => cut(waiting),
        (None, Some(error)) => cut(error),
        (None, None) => String::new(),
    };
    JobShown {
        id: job.id.clone(),
        version: job.version.to_string(),
        why: why(job.why),
        state: State::of_job(&LiveJob::from(job)),
        place,
        reason,
        began: job.started.filter(|_| job.state == JobState::Running).map(Moment::new),
        expected: expected.map(Moment::new),
    }
}

fn done_shown(job: Job) -> DoneShown {
    let took = job.started.zip(job.finished).map(|(started, finished)| {
        u64::try_from(finished.duration_since(started).as_millis()).unwrap_or_default()
    });
    DoneShown {
        id: job.id,
        version: job.version.to_string(),
        why: why(job.why),
        finished: job.finished.map(Moment::new),
        took: took.map(duration).unwrap_or_default(),
        record: job.record,
    }
}

/// Why a job is there, for people.
pub(super) fn why(why: Why) -> &'static str {
    match why {
        Why::Release => "python.org announced it",
        Why::Request => "somebody asked",
        Why::Recheck => "an input changed",
        Why::Backfill => "older than this service",
    }
}
