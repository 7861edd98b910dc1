//! Where each queued job stands: read once for all who ask, and again when something was written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::queue::{Job, JobState};
use crate::store::Store;

/// However often something is written, the queue is not read more often than this.
const FRESH: Duration = Duration::from_millis(250);

/// The queue as it was read last.
#[derive(Default)]
pub struct Board(Mutex<Option<(Instant, Arc<Queue>)>>);

/// The queue at one moment.
#[derive(Debug, Default)]
pub struct Queue {
    /// The store's number under which it holds; none if something was just being written.
    pub settled: Option<u64>,
    /// Queued jobs, by id: 1 is next.
    positions: HashMap<String, u64>,
    running: i64,
    usual_ms: Option<i64>,
}

/// Where one job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 1 is next; none unless it is queued.
    pub position: Option<u64>,
    /// When it will begin, as far as can be told.
    pub expected_start: Option<Timestamp>,
}

impl Board {
    /// The queue, a moment ago at most.
    pub async fn queue(&self, store: &Store) -> anyhow::Result<Arc<Queue>> {
        // Held while it is read: who comes meanwhile gets the same answer.
        let mut last = self.0.lock().await;
        if let Some((at, queue)) = &*last
            && (queue.settled == Some(store.generation()) || at.elapsed() < FRESH)
        {
            return Ok(queue.clone());
        }
        let queue = Arc::new(Queue::read(store).await?);
        *last = Some((Instant::now(), queue.clone()));
        Ok(queue)
    }
}

impl Queue {
    /// The queue as it is now.
    pub async fn read(store: &Store) -> anyhow::Result<Queue> {
        // Asked before anything is read: what is read then is at least as new.
        let settled = store.settled();
        let positions = store.queued().await?.into_iter().zip(1..).collect();
        let [_, running, _] = store.queue_lengths().await?;
        Ok(Queue { settled, positions, running, usual_ms: store.usual_duration_ms().await? })
    }

    /// Where `job` stands.
    pub fn place(&self, job: &Job, now: Timestamp) -> Place {
        let is_queued = job.state == JobState::Queued;
        // One that came after the queue was read says itself where it stood then.
        let known = self.positions.get(&job.id).copied().or(job.position);
        let position = known.filter(|_| is_queued);
        let expected_start = position.and_then(|position| self.start(position, job.due, now));
        Place { position, expected_start }
    }

    /// When a queued job begins, if the jobs before it take as long as the last ones did; none if
    /// no job was ever done. One job runs at a time.
    fn start(&self, position: u64, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let before = i64::try_from(position.saturating_sub(1)).ok()?.checked_add(self.running)?;
        let wait = SignedDuration::from_millis(self.usual_ms?.max(0).checked_mul(before)?);
        Some(now.checked_add(wait).ok()?.max(due))
    }
}

impl Place {
    /// When it makes sense to ask again, in seconds: not before the job begins, but within five
    /// minutes, as others may take their requests back.
    pub fn retry_after_seconds(self, now: Timestamp) -> u64 {
        const SECONDS: (i64, i64) = (5, 300);
        let wait = self.expected_start.map_or(0, |start| start.duration_since(now).as_secs());
        wait.clamp(SECONDS.0, SECONDS.1).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_begins_when_those_before_it_have_taken_their_usual_time() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut job = Job::sample(JobState::Queued, now);
        let queue = |usual_ms| Queue {
            settled: None,
            positions: HashMap::from([("a".to_owned(), 3)]),
            running: 1,
            usual_ms,
        };
        let place = queue(Some(60_000)).place(&job, now);
        assert_eq!(place.position, Some(3));
        assert_eq!(place.expected_start.unwrap().to_string(), "2026-01-01T00:03:00Z");
        assert_eq!(place.retry_after_seconds(now), 180);
        let unknown = queue(None).place(&job, now);
        assert_eq!((unknown.position, unknown.expected_start), (Some(3), None));
        assert_eq!(unknown.retry_after_seconds(now), 5);
        job.due = "2026-01-02T00:00:00Z".parse().unwrap();
        let later = queue(Some(60_000)).place(&job, now);
        assert_eq!(later.expected_start, Some(job.due));
        assert_eq!(later.retry_after_seconds(now), 300);
        job.state = JobState::Running;
        let running = queue(Some(60_000)).place(&job, now);
        assert_eq!((running.position, running.expected_start), (None, None));
    }
}
