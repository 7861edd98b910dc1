//! A job's news while they happen: server-sent events, which end with the job.
//!
//! The id of an event is the place after its line in the journal, so that a client that was cut
//! off goes on where it was.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use tokio::sync::OwnedSemaphorePermit;

use super::journal::{Journal, Line};
use super::model::{EventSent, JobShown, QueueNews};
use super::problem::Problem;
use super::singles::known_job;
use super::{App, Shared};
use crate::clock;
use crate::journal::{Kind, RUNNING, Told};
use crate::queue::Job;

/// How long a line waits at most until it is sent.
const LOOK: Duration = Duration::from_millis(250);
/// So that proxies do not think that the connection is dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// A worker has said its last word so long after its job was over, or it is dead.
const LAST_WORD_MAX: SignedDuration = SignedDuration::from_secs(5);
/// When to come again if too many follow jobs.
const CROWDED_SECONDS: u64 = 30;
/// The end of the last event's id.
const LAST: &str = "-end";

/// Follows a job: events `stage`, `log` and `state` with `{"at", "text"}`; the last one is a
/// `state` with the job itself. `Last-Event-ID` goes on after that event. While the job is queued,
/// each new place in the queue is an event `queue`, with `position` and `expected_start`, too.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/events",
    params(("id" = String, Path), ("last-event-id" = Option<String>, Header)),
    responses((status = 200, body = EventSent, content_type = "text/event-stream"),
        (status = 204, description = "there was nothing after that event")))]
pub async fn follow(
    State(app): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = known_job(&app, &id).await?;
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let seen = seen.unwrap_or_default();
    if seen.ends_with(LAST) && job.state.is_over() {
        // The answer that keeps a browser from asking again and again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Ok(permit) = app.followers.clone().try_acquire_owned() else {
        let detail = "too many follow jobs now";
        let crowded = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        return Err(crowded.after(CROWDED_SECONDS));
    };
    let offset = seen.trim_end_matches(LAST).parse().unwrap_or(0);
    let tail = Tail {
        app,
        job: job.id,
        offset,
        journal: None,
        seen: None,
        over: None,
        told: None,
        is_heard_out: false,
        ended: false,
        _permit: permit,
    };
    let events = stream::unfold(tail, |mut tail| async move {
        let news = tail.next().await?;
        Some((stream::iter(news.into_iter().map(Ok::<Event, Infallible>)), tail))
    });
    let alive = KeepAlive::new().interval(SIGN_OF_LIFE);
    Ok(Sse::new(events.flatten()).keep_alive(alive).into_response())
}

/// One client that follows one job.
struct Tail {
    app: Arc<App>,
    job: String,
    offset: u64,
    journal: Option<Journal>,
    /// The store's number when the job was looked at last.
    seen: Option<u64>,
    /// The job, once it is over.
    over: Option<Job>,
    /// The place in the queue that was told last.
    told: Option<u64>,
    /// Whether the line that was read last is how an attempt ended.
    is_heard_out: bool,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    /// The next events; none when there will be no more.
    async fn next(&mut self) -> Option<Vec<Event>> {
        let mut ending = self.app.ending.clone();
        while !self.ended && !*ending.borrow() {
            match self.look().await {
                Ok(news) if !news.is_empty() => return Some(news),
                Ok(_) => {}
                Err(error) => {
                    // The client asks again, from where it is.
                    let error = format!("{error:#}");
                    tracing::warn!(job = self.job, error, "a job cannot be followed");
                    return None;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = ending.changed() => {}
            }
        }
        None
    }

    async fn look(&mut self) -> anyhow::Result<Vec<Event>> {
        // Before the journal: what it says when the job is over is read then.
        if let Some(place) = self.look_at_job().await? {
            return Ok(vec![
                Event::default().id(self.offset.to_string()).event("queue").json_data(place)?,
            ]);
        }
        if self.journal.is_none() {
            self.journal = Journal::open(&self.app.site.journals, &self.job, self.offset).await?;
        }
        if let Some(journal) = &mut self.journal {
            let lines = journal.lines().await?;
            if let Some(last) = lines.last() {
                self.offset = last.end;
                let Told { kind, text, .. } = &last.told;
                self.is_heard_out = *kind == Kind::State && text != RUNNING;
                return lines.iter().map(event).collect();
            }
        }
        let Some(job) = self
            .over
            .take_if(|job| self.journal.is_none() || self.is_heard_out || is_long_over(job))
        else {
            return Ok(Vec::new());
        };
        self.ended = true;
        Ok(vec![last_event(self.offset, job)?])
    }

    /// Looks at the job, but only if something was written since it was looked at last: many look
    /// several times a second. Gives its place in the queue if that is another one.
    async fn look_at_job(&mut self) -> anyhow::Result<Option<QueueNews>> {
        let store = &self.app.site.store;
        let settled = store.settled();
        if self.over.is_some() || settled.is_some() && settled == self.seen {
            return Ok(None);
        }
        let job = store.job(&self.job).await?;
        self.seen = settled;
        let Some(job) = job else { return Ok(None) };
        if job.state.is_over() {
            self.over = Some(job);
            return Ok(None);
        }
        let now = clock::now();
        let queue = self.app.board.queue(store).await?;
        if queue.settled != settled {
            // It was read a moment before, and may be read again soon.
            self.seen = None;
        }
        let place = queue.place(&job, now);
        if place.position == self.told {
            return Ok(None);
        }
        self.told = place.position;
        Ok(QueueNews::of(place, now))
    }
}

/// The verdict is in the store before its worker can write to the journal that it is.
fn is_long_over(job: &Job) -> bool {
    job.finished.is_none_or(|at| clock::now().duration_since(at).abs() > LAST_WORD_MAX)
}

fn event(line: &Line) -> anyhow::Result<Event> {
    let event = Event::default().id(line.end.to_string()).event(line.told.kind.as_str());
    Ok(event.json_data(&line.told)?)
}

fn last_event(offset: u64, job: Job) -> anyhow::Result<Event> {
    let event = Event::default().id(format!("{offset}{LAST}")).event("state");
    Ok(event.json_data(JobShown::from(job))?)
}
