//! `/queue`: what runs, what waits and for what, and when each may begin.

use askama::Template;
use jiff::{SignedDuration, Timestamp};

use super::files::cut;
use super::markup::{Moment, duration};
use super::state::State;
use super::{Frame, Page, newest};
use crate::compare::report::grouped;
use crate::queue::{Job, JobState, Why};
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
    let done = store.last_jobs(DONE_MAX).await?;
    let modified = newest(
        jobs.iter().chain(&done).flat_map(|job| [Some(job.created), job.started, job.finished]),
    );
    let live = expected(&jobs, usual);
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
    };
    Ok(Page { html: page.render()?, modified })
}

/// When each job may begin, if each takes as long as the last ones did. It follows from when the
/// one that runs began, and not from the time of day: the same queue gives the same page.
fn expected(jobs: &[Job], usual_ms: Option<i64>) -> Vec<Option<Timestamp>> {
    let Some(usual) = usual_ms.map(|usual| SignedDuration::from_millis(usual.max(0))) else {
        // What is known is only when those that wait are looked at again.
        let due = |job: &Job| (is_queued(job) && is_held_up(job)).then_some(job.due);
        return jobs.iter().map(due).collect();
    };
    let begun = jobs.iter().filter(|job| job.state == JobState::Running);
    let mut free = begun.filter_map(|job| job.started?.checked_add(usual).ok()).max();
    let mut expected = Vec::with_capacity(jobs.len());
    for job in jobs {
        let begins =
            (job.state == JobState::Queued).then(|| free.map_or(job.due, |free| free.max(job.due)));
        // A job that waits for something does not keep the others from running.
        if !is_held_up(job) {
            free = begins.and_then(|begins| begins.checked_add(usual).ok()).or(free);
        }
        expected.push(begins);
    }
    expected
}

fn is_queued(job: &Job) -> bool {
    job.state == JobState::Queued
}

/// It waits for something, or for another try.
fn is_held_up(job: &Job) -> bool {
    job.waiting.is_some() || job.error.is_some()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: JobState, due: &str) -> Job {
        let due = due.parse().unwrap();
        let started = (state == JobState::Running).then_some(due);
        Job { started, ..Job::sample(state, due) }
    }

    #[test]
    fn a_job_may_begin_when_those_before_it_are_done_and_its_time_has_come() {
        let early = "2026-01-01T00:00:00Z";
        let mut waiting = job(JobState::Queued, "2026-01-01T00:05:00Z");
        waiting.waiting = Some("the repository has no tag v3.13.5 yet".to_owned());
        let jobs = [
            job(JobState::Running, "2026-01-01T00:10:00Z"),
            waiting,
            job(JobState::Queued, early),
            job(JobState::Queued, "2026-01-01T01:00:00Z"),
            job(JobState::Parked, early),
        ];
        let minutes = |at: Option<Timestamp>| at.map(|at| Moment::new(at).minute);
        let expect = ["00:12", "00:12", "01:00"].map(|t| Some(format!("2026-01-01 {t} UTC")));
        let found: Vec<_> = expected(&jobs, Some(120_000)).into_iter().map(minutes).collect();
        assert_eq!(found, [&[None], expect.as_slice(), &[None]].concat());
        let due = Some(jobs[1].due);
        assert_eq!(expected(&jobs, None), [None, due, None, None, None]);
    }
}
