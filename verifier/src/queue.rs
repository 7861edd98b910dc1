//! Jobs: requests to verify one release, and the rules of their queue. Pure: the store keeps them.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::version::Version;

/// Why a release is to be verified; the order is the order of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// python.org announced it.
    Release,
    /// Somebody asked.
    Request,
    /// An input changed since it was verified.
    Recheck,
    /// It is older than this service.
    Backfill,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for a worker, or for the time of its next attempt.
    Queued,
    /// A worker holds its lease.
    Running,
    /// An operator has to look: operating errors lasted too long, its workers died, or the
    /// release's tag moved.
    Parked,
    /// A record was made.
    Done,
    /// Whoever asked for it does not want it any more.
    Cancelled,
}

/// A request to verify one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// UUID version 7 (RFC 9562).
    pub id: String,
    /// The release.
    #[schema(value_type = String)]
    pub version: Version,
    /// The most urgent reason: `release`, `request`, `recheck` or `backfill`.
    #[schema(value_type = String)]
    pub why: Why,
    /// `queued`, `running`, `parked`, `done` or `cancelled`.
    #[schema(value_type = String)]
    pub state: JobState,
    /// When it was first wanted.
    pub created: Timestamp,
    /// It does not begin before this time.
    pub due: Timestamp,
    /// When the last attempt began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Attempts that ended in trouble of ours.
    pub attempts: u32,
    /// The last trouble, in one sentence.
    pub error: Option<String>,
    /// What the release still lacks, or why it is parked without trouble of ours.
    pub waiting: Option<String>,
    /// The record that it ended in.
    pub record: Option<String>,
    /// Its place in the queue, 1 is next; only while it is queued and does not wait for its release
    /// or for another try.
    pub position: Option<u64>,
}

/// What decides when a job that is not over begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Queued, running or parked.
    pub state: JobState,
    /// When it began, if it runs.
    pub started: Option<Timestamp>,
    /// It does not begin before this time.
    pub due: Timestamp,
    /// It waits for its release or for another try, and does not keep the others from running.
    pub is_held_up: bool,
}

/// The right of one worker to run one job. A later lease of the same job has a greater fence, and
/// then nothing can be recorded by this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: String,
    /// Which lease of it this is.
    pub fence: i64,
    /// The release to verify.
    pub version: Version,
    /// Attempts that ended in trouble of ours before this one.
    pub attempts: u32,
    /// Whether the release is a new one.
    pub is_new: bool,
}

/// How a job with a verdict goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The record is in the store and the job is done.
    Recorded,
    /// It did not match, for the first time with these inputs: the job is queued again, and nothing
    /// is recorded.
    Confirm,
}

/// The lease is another worker's now, or the job was cancelled: what this one found is dropped.
#[derive(Debug, thiserror::Error)]
#[error("job {job} is no longer this worker's")]
pub struct LeaseLost {
    /// The job.
    pub job: String,
}

/// Queued and running jobs together; more are refused.
pub const LIVE_JOBS_MAX: i64 = 10_000;

impl Why {
    /// As the store keeps it: lower runs first.
    pub fn class(self) -> i64 {
        match self {
            Why::Release => 0,
            Why::Request => 1,
            Why::Recheck => 2,
            Why::Backfill => 3,
        }
    }

    /// The reason that the store keeps as `class`.
    pub fn of_class(class: i64) -> Option<Why> {
        [Why::Release, Why::Request, Why::Recheck, Why::Backfill]
            .into_iter()
            .find(|why| why.class() == class)
    }

    /// The word for it, as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Release => "release",
            Why::Request => "request",
            Why::Recheck => "recheck",
            Why::Backfill => "backfill",
        }
    }
}

impl JobState {
    /// The word for it, as JSON and the store have it.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Parked => "parked",
            JobState::Done => "done",
            JobState::Cancelled => "cancelled",
        }
    }

    /// The state that the store calls `name`.
    pub fn named(name: &str) -> Option<JobState> {
        use JobState::{Cancelled, Done, Parked, Queued, Running};
        [Queued, Running, Parked, Done, Cancelled].into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        match self {
            JobState::Queued | JobState::Running | JobState::Parked => false,
            JobState::Done | JobState::Cancelled => true,
        }
    }
}

impl From<&Job> for Turn {
    fn from(job: &Job) -> Turn {
        let is_held_up = job.waiting.is_some() || job.error.is_some();
        Turn { state: job.state, started: job.started, due: job.due, is_held_up }
    }
}

impl Turn {
    /// Whether it has a place in the queue.
    pub fn has_place(&self) -> bool {
        self.state == JobState::Queued && !self.is_held_up
    }
}

/// When each job may begin, if each takes as long as the last ones did: one that runs first, then
/// those that are queued, in their order. It follows from when the one that runs began, and not
/// from the time of day: the same queue gives the same times, which may have passed.
pub fn expected_starts(turns: &[Turn], usual_ms: Option<i64>) -> Vec<Option<Timestamp>> {
    let is_queued = |turn: &Turn| turn.state == JobState::Queued;
    let Some(usual) = usual_ms.map(|usual| SignedDuration::from_millis(usual.max(0))) else {
        // What is known is only when those that wait are looked at again.
        let due = |turn: &Turn| (is_queued(turn) && turn.is_held_up).then_some(turn.due);
        return turns.iter().map(due).collect();
    };
    let begun = turns.iter().filter(|turn| turn.state == JobState::Running);
    let mut free = begun.filter_map(|turn| turn.started?.checked_add(usual).ok()).max();
    let mut expected = Vec::with_capacity(turns.len());
    for turn in turns {
        let begins = is_queued(turn).then(|| free.map_or(turn.due, |free| free.max(turn.due)));
        if turn.has_place() {
            free = begins.and_then(|begins| begins.checked_add(usual).ok()).or(free);
        }
        expected.push(begins);
    }
    expected
}

/// When an operating error is tried again: `first` doubled with every attempt, at most four hours,
/// and between half and all of that, so that many jobs do not come back at once. `fraction` is
/// random, from 0 to 1.
pub fn retry_delay(first: SignedDuration, attempts: u32, fraction: f64) -> SignedDuration {
    let part = 0.5 + fraction.clamp(0.0, 1.0) / 2.0;
    SignedDuration::from_millis((longest_wait(first, attempts).as_millis() as f64 * part) as i64)
}

/// Whether trouble has lasted for `park`, after so many attempts that were tried again. It is
/// counted by their longest waits and not by the clock: whoever sets that parks nothing.
pub fn outlasts(first: SignedDuration, park: SignedDuration, attempts: u32) -> bool {
    let mut waited = SignedDuration::ZERO;
    for attempt in 0..attempts {
        if waited >= park {
            return true;
        }
        waited = waited.saturating_add(longest_wait(first, attempt));
    }
    waited >= park
}

fn longest_wait(first: SignedDuration, attempts: u32) -> SignedDuration {
    const LONGEST: SignedDuration = SignedDuration::from_hours(4);
    // Twenty times doubled, a millisecond is a quarter of an hour and a second is twelve days.
    first.saturating_mul(1 << attempts.min(20)).min(LONGEST)
}

#[cfg(test)]
impl Job {
    /// A request of that moment, for tests.
    pub fn sample(state: JobState, due: Timestamp) -> Job {
        Job {
            id: "a".to_owned(),
            version: "3.13.5".parse().unwrap(),
            why: Why::Request,
            state,
            created: due,
            due,
            started: None,
            finished: None,
            attempts: 0,
            error: None,
            waiting: None,
            record: None,
            position: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_four_hours_and_never_falls_below_half() {
        let first = SignedDuration::from_secs(30);
        for (attempts, low, high) in [(0, 15, 30), (1, 30, 60), (5, 480, 960), (30, 7200, 14400)] {
            assert_eq!(retry_delay(first, attempts, 0.0).as_secs(), low);
            assert_eq!(retry_delay(first, attempts, 1.0).as_secs(), high);
        }
    }

    #[test]
    fn trouble_lasts_as_long_as_the_longest_waits_of_its_attempts() {
        let (first, minutes) = (SignedDuration::from_mins(1), SignedDuration::from_mins);
        for (park, attempts, expect) in [
            // 1 + 2 + 4.
            (minutes(7), 2, false),
            (minutes(7), 3, true),
            // 1 + 2 + … + 128, and from then on four hours each.
            (minutes(255), 8, true),
            (minutes(255 + 240), 8, false),
            (minutes(255 + 240), 9, true),
            (SignedDuration::from_hours(24), 12, false),
            (SignedDuration::from_hours(24), 13, true),
            (SignedDuration::MAX, 1_000, false),
            (SignedDuration::from_hours(24), u32::MAX, true),
        ] {
            assert_eq!(outlasts(first, park, attempts), expect, "{attempts} attempts, {park}");
        }
    }

    fn turn(state: JobState, due: &str) -> Turn {
        let due = due.parse().unwrap();
        let started = (state == JobState::Running).then_some(due);
        Turn { started, ..Turn::from(&Job::sample(state, due)) }
    }

    #[test]
    fn a_job_may_begin_when_those_before_it_are_done_and_its_time_has_come() {
        let early = "2026-01-01T00:00:00Z";
        let mut waiting = Job::sample(JobState::Queued, "2026-01-01T00:05:00Z".parse().unwrap());
        waiting.waiting = Some("the repository has no tag v3.13.5 yet".to_owned());
        let turns = [
            turn(JobState::Running, "2026-01-01T00:10:00Z"),
            Turn::from(&waiting),
            turn(JobState::Queued, early),
            turn(JobState::Queued, "2026-01-01T01:00:00Z"),
            turn(JobState::Parked, early),
        ];
        let expect = ["00:12", "00:12", "01:00"]
            .map(|time| Some(format!("2026-01-01T{time}:00Z").parse().unwrap()));
        let expect = [&[None], expect.as_slice(), &[None]].concat();
        assert_eq!(expected_starts(&turns, Some(120_000)), expect);
        let due = Some(waiting.due);
        assert_eq!(expected_starts(&turns, None), [None, due, None, None, None]);
    }

    #[test]
    fn every_class_and_state_is_read_as_it_is_written() {
        for why in [Why::Release, Why::Request, Why::Recheck, Why::Backfill] {
            assert_eq!(Why::of_class(why.class()), Some(why));
        }
        use JobState::{Cancelled, Done, Parked, Queued, Running};
        for state in [Queued, Running, Parked, Done, Cancelled] {
            assert_eq!(JobState::named(state.as_str()), Some(state));
        }
        assert!(Why::Release < Why::Request && Why::Request < Why::Recheck);
    }
}
