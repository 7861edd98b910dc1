//! Where each queued job stands: read once for all who ask, and again when something was written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::clock;
use crate::queue::{Job, JobState, Turn, expected_starts};
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
    /// Queued jobs, by id.
    places: HashMap<String, Place>,
    /// When a job begins at each place, the one after the last as well, as far as can be told.
    starts: Vec<Timestamp>,
}

/// Where one job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// 1 is next; none unless it is queued and not held up.
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
        let turns = store.turns().await?;
        Ok(Queue { settled, ..Queue::of(turns, store.usual_duration_ms().await?, clock::now()) })
    }

    fn of(turns: Vec<(String, Turn)>, usual_ms: Option<i64>, now: Timestamp) -> Queue {
        let (ids, mut turns): (Vec<_>, Vec<_>) = turns.into_iter().unzip();
        // One that comes now goes behind all others.
        let last = Turn { state: JobState::Queued, started: None, due: now, is_held_up: false };
        turns.push(last);
        let expected = expected_starts(&turns, usual_ms);
        let in_turn = turns.iter().zip(&expected).filter(|(turn, _)| turn.has_place());
        let starts = in_turn.filter_map(|(_, start)| *start).collect();
        let mut positions = 1..;
        let mut places = HashMap::with_capacity(ids.len());
        for ((id, turn), expected_start) in ids.into_iter().zip(turns).zip(expected) {
            let position = if turn.has_place() { positions.next() } else { None };
            places.insert(id, Place { position, expected_start });
        }
        Queue { settled: None, places, starts }
    }

    /// Where `job` stands.
    pub fn place(&self, job: &Job, now: Timestamp) -> Place {
        if job.state != JobState::Queued {
            return Place::default();
        }
        // One that came after the queue was read says itself where it stood then.
        let place = self.places.get(&job.id).copied().unwrap_or_else(|| self.newcomer(job));
        Place { expected_start: place.expected_start.map(|start| start.max(now)), ..place }
    }

    fn newcomer(&self, job: &Job) -> Place {
        let index =
            job.position.and_then(|position| usize::try_from(position).ok()?.checked_sub(1));
        let start = index.and_then(|index| self.starts.get(index).or(self.starts.last()));
        Place { position: job.position, expected_start: start.map(|start| (*start).max(job.due)) }
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

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn at(time: &str) -> Timestamp {
        format!("2026-01-01T{time}Z").parse().unwrap()
    }

    /// One runs for a minute, one waits, two are in their turn.
    fn turns() -> Vec<(String, Turn)> {
        let job = |state, due: &str| Job::sample(state, at(due));
        let running = Job { started: Some(at("00:00:00")), ..job(JobState::Running, "00:00:00") };
        let waiting = Some("no recipe covers it".to_owned());
        let waiting = Job { waiting, ..job(JobState::Queued, "06:00:00") };
        let queued = job(JobState::Queued, "00:00:00");
        let named = [("r", &running), ("w", &waiting), ("a", &queued), ("b", &queued)];
        named.map(|(id, job)| (id.to_owned(), Turn::from(job))).into()
    }

    #[test]
    fn a_job_begins_when_those_before_it_have_taken_their_usual_time() {
        let now: Timestamp = NOW.parse().unwrap();
        let place = |queue: &Queue, id: &str, position| {
            let job = Job { id: id.to_owned(), position, ..Job::sample(JobState::Queued, now) };
            queue.place(&job, now)
        };
        let queue = Queue::of(turns(), Some(60_000), now);
        let expect = |position, start| Place { position, expected_start: Some(at(start)) };
        assert_eq!(place(&queue, "w", None), expect(None, "06:00:00"));
        assert_eq!(place(&queue, "a", None), expect(Some(1), "00:01:00"));
        assert_eq!(place(&queue, "b", None), expect(Some(2), "00:02:00"));
        assert_eq!(place(&queue, "new", Some(3)), expect(Some(3), "00:03:00"));
        assert_eq!(place(&queue, "newer", Some(4)), expect(Some(4), "00:03:00"));
        assert_eq!(place(&queue, "b", None).retry_after_seconds(now), 120);
        assert_eq!(place(&queue, "w", None).retry_after_seconds(now), 300);
        let running = Job::sample(JobState::Running, now);
        assert_eq!(queue.place(&running, now), Place::default());
        let late = queue.place(&Job::sample(JobState::Queued, now), at("00:05:00"));
        assert_eq!(late, expect(Some(1), "00:05:00"), "the one that runs takes longer");
    }

    #[test]
    fn before_any_job_was_done_only_places_are_known() {
        let now: Timestamp = NOW.parse().unwrap();
        let queue = Queue::of(turns(), None, now);
        let first = queue.place(&Job::sample(JobState::Queued, now), now);
        assert_eq!(first, Place { position: Some(1), expected_start: None });
        assert_eq!(first.retry_after_seconds(now), 5);
        let job = Job { id: "w".to_owned(), ..Job::sample(JobState::Queued, now) };
        assert_eq!(queue.place(&job, now).expected_start, Some(at("06:00:00")));
    }
}
