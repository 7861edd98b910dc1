//! Lists: jobs, records, releases, files, observations, alarms.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor::{Page, Part};
use super::model::{
    AlarmListed, ArtifactListed, ArtifactShown, DeliveryListed, JobShown, ObservationListed,
    RecordListed, ReleaseListed,
};
use super::problem::Problem;
use super::{Shared, cursor, token};
use crate::clock;
use crate::queue::JobState;
use crate::version::Version;

type Listed<T> = Result<Json<Page<T>>, Problem>;

/// A struct of query parameters: those of a list of its own, and which part of the list.
macro_rules! paging {
    (
        $(#[$documented:meta])*
        $name:ident { $($(#[$described:meta])* $field:ident: $kind:ty,)* }
    ) => {
        $(#[$documented])*
        #[derive(Debug, Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            $($(#[$described])* $field: $kind,)*
            /// The `next` of an earlier answer.
            cursor: Option<String>,
            /// At most so many items; 50 if not given.
            #[param(minimum = 1, maximum = 100)]
            limit: Option<u32>,
        }
    };
}

paging! {
    /// Which part of a list.
    Paging {}
}

paging! {
    /// Which jobs.
    JobsPaging {
        /// Only jobs in this state: `queued`, `running`, `parked`, `done` or `cancelled`.
        #[param(value_type = Option<String>)]
        state: Option<JobState>,
    }
}

paging! {
    /// Which records.
    RecordsPaging {
        /// Only records of this version.
        version: Option<String>,
    }
}

paging! {
    /// Which releases.
    ReleasesPaging {
        /// Only releases of this series, `3.13`.
        series: Option<String>,
    }
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", params(JobsPaging),
    responses((status = 200, body = Page<JobShown>)))]
pub async fn jobs(State(app): Shared, Query(asked): Query<JobsPaging>) -> Listed<JobShown> {
    let part = Part::of("jobs", asked.cursor.as_deref(), asked.limit)?;
    let before = part.after_number()?;
    let rows = app.site.store.jobs(asked.state, before, part.rows).await?;
    let (queue, now) = (app.board.queue(&app.site.store).await?, clock::now());
    let shown = |(_, job)| {
        let place = queue.place(&job, now);
        JobShown::at(job, place)
    };
    Ok(Json(part.page(rows, |(seq, _)| seq.to_string(), shown)))
}

/// Records, newest first.
#[utoipa::path(get, path = "/api/v1/records", params(RecordsPaging),
    responses((status = 200, body = Page<RecordListed>)))]
pub async fn records(
    State(app): Shared,
    Query(asked): Query<RecordsPaging>,
) -> Listed<RecordListed> {
    let part = Part::of("records", asked.cursor.as_deref(), asked.limit)?;
    let before = part.after_number()?;
    let version: Option<Version> = match &asked.version {
        Some(text) => Some(text.parse().map_err(|_| Problem::unclear("this is no version"))?),
        None => None,
    };
    let rows = app.site.store.records(version.as_ref(), before, part.rows).await?;
    Ok(Json(part.page(rows, |row| row.seq.to_string(), RecordListed::from)))
}

/// Releases, the newest version first.
#[utoipa::path(get, path = "/api/v1/releases", params(ReleasesPaging),
    responses((status = 200, body = Page<ReleaseListed>)))]
pub async fn releases(
    State(app): Shared,
    Query(asked): Query<ReleasesPaging>,
) -> Listed<ReleaseListed> {
    let part = Part::of("releases", asked.cursor.as_deref(), asked.limit)?;
    let store = &app.site.store;
    let rows = store.releases(asked.series.as_deref(), part.after.as_deref(), part.rows).await?;
    Ok(Json(part.page(rows, |row| row.sort_key.clone(), ReleaseListed::from)))
}

/// Whether the file with this SHA-256 was reproduced, by which record, and everything that records
/// say of it, the newest first. Empty if no release was found to publish it.
#[utoipa::path(get, path = "/api/v1/artifacts/{sha256}",
    params(("sha256" = String, Path, description = "of the published bytes",
        pattern = "^[0-9a-fA-F]{64}$"), Paging),
    responses((status = 200, body = ArtifactShown)))]
pub async fn artifacts(
    State(app): Shared,
    Path(sha256): Path<String>,
    Query(asked): Query<Paging>,
) -> Result<Json<ArtifactShown>, Problem> {
    let sha256: rebuilder::Digest =
        sha256.parse().map_err(|_| Problem::unclear("this is no SHA-256"))?;
    let part = Part::of("artifacts", asked.cursor.as_deref(), asked.limit)?;
    let after = part.after.as_deref().map(|place| place.split_once('.').and_then(both));
    let after = match after {
        Some(Some(place)) => Some(place),
        Some(None) => return Err(cursor::unreadable()),
        None => None,
    };
    let store = &app.site.store;
    let newest =
        store.artifacts_page(&sha256.to_string(), None, 1).await?.pop().map(|(_, row)| row);
    let rows = store.artifacts_page(&sha256.to_string(), after, part.rows).await?;
    let place = |((seq, place), _): &((i64, i64), _)| format!("{seq}.{place}");
    let page = part.page(rows, place, |(_, row)| ArtifactListed::from(row));
    Ok(Json(ArtifactShown::new(sha256, newest, page)))
}

fn both((record, place): (&str, &str)) -> Option<(i64, i64)> {
    Some((record.parse().ok()?, place.parse().ok()?))
}

/// What was seen of python.org's world, newest first.
#[utoipa::path(get, path = "/api/v1/observations", params(Paging),
    responses((status = 200, body = Page<ObservationListed>)))]
pub async fn observations(
    State(app): Shared,
    Query(asked): Query<Paging>,
) -> Listed<ObservationListed> {
    let part = Part::of("observations", asked.cursor.as_deref(), asked.limit)?;
    let rows = app.site.store.observations(part.after_number()?, part.rows).await?;
    Ok(Json(part.page(rows, |(seq, _)| seq.to_string(), |(_, seen)| seen.into())))
}

/// Open alarms, oldest first.
#[utoipa::path(get, path = "/api/v1/alarms", params(Paging),
    responses((status = 200, body = Page<AlarmListed>)))]
pub async fn alarms(State(app): Shared, Query(asked): Query<Paging>) -> Listed<AlarmListed> {
    let part = Part::of("alarms", asked.cursor.as_deref(), asked.limit)?;
    let after = part.after_number()?.unwrap_or(i64::MIN);
    let mut open = app.site.store.alarms().await?;
    open.retain(|alarm| alarm.id > after);
    Ok(Json(part.page(open, |alarm| alarm.id.to_string(), AlarmListed::from)))
}

/// What webhooks were told or are to be told, newest first; for operators.
#[utoipa::path(get, path = "/api/v1/deliveries", params(Paging), security(("token" = [])),
    responses((status = 200, body = Page<DeliveryListed>)))]
pub async fn deliveries(
    State(app): Shared,
    headers: HeaderMap,
    Query(asked): Query<Paging>,
) -> Listed<DeliveryListed> {
    token::operator(&app.site.store, &headers).await?;
    let part = Part::of("deliveries", asked.cursor.as_deref(), asked.limit)?;
    let rows = app.site.store.deliveries(part.after_number()?, part.rows).await?;
    Ok(Json(part.page(rows, |row| row.seq.to_string(), DeliveryListed::from)))
}
