//! The reports of a record: what explains a difference, what the steps wrote, who is in which
//! archive. They contain what strangers published, and no browser may take them for pages of ours.

use std::io::Read;

use anyhow::Context;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{App, Shared, answer};
use crate::publish::stored;
use crate::retention::{self, Kept};

/// Read and sent at once.
const CHUNK_BYTES: u64 = 64 << 10;
/// A report never changes; it may be removed when it is old.
const CACHED: &str = "public, max-age=3600";

/// A record's reports.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportsListed {
    /// The record.
    pub record: String,
    /// Its files, by name.
    pub reports: Vec<ReportListed>,
}

/// One file.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportListed {
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What it is served as.
    pub media_type: String,
}

/// Which reports of a record are kept.
#[utoipa::path(get, path = "/api/v1/records/{id}/reports", params(("id" = String, Path)),
    responses((status = 200, body = ReportsListed)))]
pub async fn list(
    State(app): Shared,
    Path(id): Path<String>,
) -> Result<Json<ReportsListed>, Problem> {
    let uuid = known(&app, &id).await?;
    let directory = app.site.reports.clone();
    let names = spawn_blocking(move || stored::names(&directory, &uuid)).await;
    let names = names.context("list reports")??;
    let listed = |name: String| ReportListed {
        url: app.site.settings.public(&format!("/api/v1/records/{id}/reports/{name}")),
        media_type: stored::kind(&name).0.to_owned(),
        name,
    };
    let reports = names.into_iter().map(listed).collect();
    Ok(Json(ReportsListed { record: id.clone(), reports }))
}

/// One report of a record.
#[utoipa::path(get, path = "/api/v1/records/{id}/reports/{name}",
    params(("id" = String, Path), ("name" = String, Path),
        ("accept-encoding" = Option<String>, Header)),
    responses((status = 200, content(
        (String = "text/plain; charset=utf-8"),
        (String = "text/html; charset=utf-8"),
        (serde_json::Value = "application/json")))))]
pub async fn report(
    State(app): Shared,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::missing("no such report of this record is kept");
    if !stored::is_name(&name) {
        return Err(missing());
    }
    let path = app.site.reports.join(known(&app, &id).await?).join(&name);
    let opened = spawn_blocking(move || retention::open(&path)).await.context("open a report")?;
    let kept = opened.context("open a report")?.ok_or_else(missing)?;
    let as_kept = matches!(kept, Kept::Compressed(_)) && takes_zstd(&headers);
    // What is written once has one tag for each form in which it is sent.
    let (media_type, policy) = stored::kind(&name);
    let form = if as_kept { "zstd" } else { "plain" };
    let tag = answer::entity_tag(format!("{id}/{name}/{form}").as_bytes());
    let fields = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, CACHED),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::VARY, "accept-encoding"),
    ];
    if answer::has(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, fields).into_response());
    }
    let reader = match kept {
        Kept::Compressed(file) if as_kept => Box::new(file),
        kept => spawn_blocking(|| kept.reader())
            .await
            .context("open a report")?
            .context("open a report")?,
    };
    let kind = [(header::CONTENT_TYPE, media_type)];
    let mut response = (fields, kind, Body::from_stream(chunks(reader))).into_response();
    if as_kept {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    }
    Ok(response)
}

/// The id of a record that is in the store, written anew: nothing of what a client sent reaches the
/// file system.
async fn known(app: &App, id: &str) -> Result<String, Problem> {
    let missing = || Problem::missing("there is no record with this id");
    let uuid = uuid::Uuid::try_parse(id).map_err(|_| missing())?;
    if app.site.store.record_finished(id).await?.is_none() {
        return Err(missing());
    }
    Ok(uuid.hyphenated().to_string())
}

/// Whether a client takes zstd (RFC 9110, section 12.5.3).
fn takes_zstd(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("zstd") && weight.is_some_and(|weight| weight > 0.0)
    })
}

fn chunks(reader: Box<dyn Read + Send>) -> impl Stream<Item = std::io::Result<Vec<u8>>> {
    stream::try_unfold(reader, |mut reader| async move {
        let read = spawn_blocking(move || {
            let mut chunk = Vec::new();
            reader.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk)?;
            std::io::Result::Ok((chunk, reader))
        });
        let (chunk, reader) = read.await??;
        Ok((!chunk.is_empty()).then_some((chunk, reader)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_says_so_gets_zstd() {
        let takes = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            takes_zstd(&headers)
        };
        assert!(takes("zstd") && takes("gzip, ZSTD;q=0.5") && takes("br,zstd"));
        assert!(!takes("gzip, br") && !takes("zstd;q=0") && !takes("*") && !takes("zstdx"));
        assert!(!takes_zstd(&HeaderMap::new()));
    }
}
