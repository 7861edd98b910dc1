//! One thing each: a job, a job's log, a record, a release; and how the service is.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::journal::Journal;
use super::model::{FeedStatus, JobShown, QueueStatus, ReleaseShown, Status};
use super::problem::Problem;
use super::{App, Shared};
use crate::clock;
use crate::queue::{Job, JobState};
use crate::version::Version;

/// The job `id`.
pub async fn known_job(app: &App, id: &str) -> Result<Job, Problem> {
    let job = app.site.store.job(id).await?;
    job.ok_or_else(|| Problem::missing("there is no job with this id"))
}

/// A job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", params(("id" = String, Path)),
    responses((status = 200, body = JobShown,
        headers(("retry-after" = Option<u64>, description = "when to look, if it is queued")))))]
pub async fn job(State(app): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let job = known_job(&app, &id).await?;
    let is_queued = job.state == JobState::Queued;
    let now = clock::now();
    let place = app.board.queue(&app.site.store).await?.place(&job, now);
    let mut response = Json(JobShown::at(job, place)).into_response();
    if is_queued {
        let again = HeaderValue::from(place.retry_after_seconds(now));
        response.headers_mut().insert(header::RETRY_AFTER, again);
    }
    Ok(response)
}

/// What a job's worker wrote so far, as text.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log", params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/plain; charset=utf-8")))]
pub async fn log(State(app): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let job = known_job(&app, &id).await?;
    let journal = Journal::open(&app.site.journals, &job.id, 0).await?;
    let journal = journal.ok_or_else(|| Problem::missing("no log of this job is kept"))?;
    let text = stream::try_unfold(journal, |mut journal| async move {
        let lines = journal.lines().await.map_err(std::io::Error::other)?;
        let text: String = lines.iter().map(|line| line.told.plain()).collect();
        anyhow::Ok((!lines.is_empty()).then_some((text, journal)))
    });
    let kind = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
    Ok(([kind], Body::from_stream(text)).into_response())
}

/// A record, as it was stored.
#[utoipa::path(get, path = "/api/v1/records/{id}", params(("id" = String, Path)),
    responses((status = 200, body = serde_json::Value)))]
pub async fn record(State(app): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let document = app.site.store.document(&id).await?;
    let document = document.ok_or_else(|| Problem::missing("there is no record with this id"))?;
    // A record never changes.
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, document).into_response())
}

/// A release and its files.
#[utoipa::path(get, path = "/api/v1/releases/{version}", params(("version" = String, Path)),
    responses((status = 200, body = ReleaseShown)))]
pub async fn release(
    State(app): Shared,
    Path(version): Path<String>,
) -> Result<Json<ReleaseShown>, Problem> {
    let missing = || Problem::missing("no such release is known");
    let version: Version = version.parse().map_err(|_| missing())?;
    let store = &app.site.store;
    let row = store.release_row(&version).await?.ok_or_else(missing)?;
    Ok(Json(ReleaseShown::new(row, store.release(&version).await?)))
}

/// How the service is.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status)))]
pub async fn status(State(app): Shared) -> Result<Json<Status>, Problem> {
    let store = &app.site.store;
    let [queued, running, parked] = store.queue_lengths().await?;
    let usual_duration_ms = store.usual_duration_ms().await?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        feed: FeedStatus {
            last_success: store.fact("feed.last_success").await?,
            next_check: store.fact("feed.next_check").await?,
            last_error: store.fact("feed.last_error").await?.filter(|error| !error.is_empty()),
            requests_left: (app.site.allowance)().saturating_sub(store.api_requests().await?),
        },
        queue: QueueStatus { queued, running, parked, usual_duration_ms },
        alarms: store.alarms().await?.len(),
    }))
}
