//! Requests for rebuilds: asked for by version, never by URL; taken back by whoever knows their id.

use std::time::Duration;

use axum::extract::{Extension, FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestExt};

use super::board::Place;
use super::connection::Peer;
use super::model::{JobShown, Taken, Wanted};
use super::problem::Problem;
use super::{App, Shared, gate, token};
use crate::clock;
use crate::queue::{Job, LIVE_JOBS_MAX};
use crate::version::Version;

/// A body of a few bytes is sent within this time.
const BODY_SECONDS_MAX: u64 = 10;
/// When to come again if the queue is full.
const FULL_SECONDS: u64 = 600;

/// A body that came in time.
pub struct Timely<T>(T);

impl<S: Send + Sync> FromRequest<S> for Timely<Wanted> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Timely<Wanted>, Response> {
        let limit = Duration::from_secs(BODY_SECONDS_MAX);
        match tokio::time::timeout(limit, request.extract::<Json<Wanted>, _>()).await {
            Ok(Ok(Json(wanted))) => Ok(Timely(wanted)),
            Ok(Err(rejection)) => Err(rejection.into_response()),
            Err(_) => {
                let late = "the body did not come in time";
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, late).into_response())
            }
        }
    }
}

/// Asks for a release to be verified. The same release asked for twice while it waits or runs is
/// one job.
#[utoipa::path(post, path = "/api/v1/requests", request_body = Wanted,
    security((), ("token" = [])),
    responses((status = 202, body = Taken, headers(("location" = String),
            ("retry-after" = u64, description = "when to look")),
        links(
            ("job" = (operation_id = "job", parameters(("id" = "$response.body#/job")))),
            ("take_back" = (operation_id = "take_back",
                parameters(("id" = "$response.body#/request")))),
        ))))]
pub async fn ask(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Timely(wanted): Timely<Wanted>,
) -> Result<Response, Problem> {
    let asked_by = match token::bearer(&app.site.store, &headers).await? {
        // Either scope allows to ask.
        Some(bearer) => format!("token {}", bearer.id),
        None => {
            app.site.gate.pass(gate::address(peer, &headers))?;
            "anonymous".to_owned()
        }
    };
    let version: Version = wanted.version.parse().map_err(|_| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "`version` is not a version such as 3.13.5")
    })?;
    if app.site.store.announced(&version).await?.is_none() {
        let detail = format!("python.org does not publish {version}, as far as is known here");
        return Err(Problem::missing(detail));
    }
    // It would wait for a verdict that nobody can come to.
    if let Some(why) = (app.site.uncovered)(&version) {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    let (request, job) = match app.site.store.request(&version, &asked_by).await {
        Ok(taken) => taken,
        Err(error) => return Err(refused(&app, error).await),
    };
    app.site.wake.notify_one();
    tracing::info!(%version, job = job.id, asked_by, "a rebuild was asked for");
    let location = format!("/api/v1/jobs/{}", job.id);
    let now = clock::now();
    let place = app.board.queue(&app.site.store).await?.place(&job, now);
    let again = place.retry_after_seconds(now).to_string();
    let headers = [(header::LOCATION, location), (header::RETRY_AFTER, again)];
    let taken = taken(&app, request, &job, place);
    Ok((StatusCode::ACCEPTED, headers, Json(taken)).into_response())
}

/// A full queue is no trouble of ours that a log has to explain.
async fn refused(app: &App, error: anyhow::Error) -> Problem {
    let live = app.site.store.queue_lengths().await.map(|lengths| lengths.iter().sum::<i64>());
    if live.is_ok_and(|live| live >= LIVE_JOBS_MAX) {
        let detail = "the queue is full; ask again later";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(FULL_SECONDS);
    }
    error.into()
}

fn taken(app: &App, request: String, job: &Job, place: Place) -> Taken {
    Taken {
        request,
        job: job.id.clone(),
        position: place.position,
        expected_start: place.expected_start,
        page: app.site.settings.public(&format!("/jobs/{}", job.id)),
    }
}

/// Takes a request back. A job that nobody else wants is cancelled, even while it runs.
#[utoipa::path(delete, path = "/api/v1/requests/{id}",
    params(("id" = String, Path, description = "of the request; to know it is the right")),
    responses((status = 200, description = "the job that answered it", body = JobShown)))]
pub async fn take_back(
    State(app): Shared,
    Path(id): Path<String>,
) -> Result<Json<JobShown>, Problem> {
    let job = app.site.store.cancel(&id).await?;
    let job = job.ok_or_else(|| Problem::missing("there is no request with this id"))?;
    // A worker that runs it notices the lost lease; one that is idle may find another job first.
    app.site.wake.notify_one();
    Ok(Json(job.into()))
}
