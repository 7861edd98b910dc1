//! What only an operator may do: say that an alarm was looked at, cancel any job.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::model::JobShown;
use super::problem::Problem;
use super::{Shared, token};
use crate::queue::JobState;

/// Says that somebody has looked at an alarm.
#[utoipa::path(delete, path = "/api/v1/alarms/{id}", params(("id" = i64, Path)),
    security(("token" = [])),
    responses((status = 204, description = "it is closed")))]
pub async fn clear_alarm(
    State(app): Shared,
    headers: HeaderMap,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let operator = token::operator(&app.site.store, &headers).await?;
    if !app.site.store.clear_alarm(id).await? {
        return Err(Problem::missing("no such alarm is open"));
    }
    tracing::info!(alarm = id, token = operator.id, "an alarm was cleared");
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels a job, whoever wanted it, even while it runs. A job that is done cannot be undone: 409.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}", params(("id" = String, Path)),
    security(("token" = [])),
    responses((status = 200, body = JobShown),
        (status = 409, description = "the job is done", body = Problem,
            content_type = "application/problem+json")))]
pub async fn cancel_job(
    State(app): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<JobShown>, Problem> {
    let operator = token::operator(&app.site.store, &headers).await?;
    let job = app.site.store.cancel_job(&id).await?;
    let job = job.ok_or_else(|| Problem::missing("there is no job with this id"))?;
    if job.state != JobState::Cancelled {
        return Err(Problem::new(StatusCode::CONFLICT, "the job is done"));
    }
    tracing::info!(job = id, token = operator.id, "a job was cancelled");
    // A worker that runs it notices the lost lease; one that is idle may find another job first.
    app.site.wake.notify_one();
    Ok(Json(job.into()))
}
