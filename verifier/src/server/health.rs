//! For machines that watch this one: is it alive, is it ready, and its numbers.

use std::fmt::Write;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::Shared;
use super::problem::Problem;
use crate::clock;
use crate::store::{DurationRow, Store};

/// The text format that Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The process answers.
#[utoipa::path(get, path = "/healthz",
    responses((status = 200, body = String, content_type = "text/plain; charset=utf-8")))]
pub async fn alive() -> Response {
    ([(header::CONTENT_TYPE, PLAIN)], "alive\n").into_response()
}

/// The service does what it is for; otherwise 503, which says why not.
#[utoipa::path(get, path = "/readyz",
    responses((status = 200, body = String, content_type = "text/plain; charset=utf-8")))]
pub async fn ready(State(app): Shared) -> Result<Response, Problem> {
    let mut reasons = (app.site.health)();
    if let Err(error) = app.site.store.queue_lengths().await {
        tracing::error!(error = format!("{error:#}"), "the store cannot be read");
        reasons.push("the store cannot be read".to_owned());
    }
    if *app.ending.borrow() {
        reasons.push("the service is stopping".to_owned());
    }
    if reasons.is_empty() {
        return Ok(([(header::CONTENT_TYPE, PLAIN)], "ready\n").into_response());
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reasons.join("; ")))
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String,
        content_type = "text/plain; version=0.0.4; charset=utf-8")))]
pub async fn metrics(State(app): Shared) -> Result<Response, Problem> {
    let text = numbers(&app.site.store, clock::now()).await?;
    Ok(([(header::CONTENT_TYPE, METRICS)], text).into_response())
}

async fn numbers(store: &Store, now: Timestamp) -> anyhow::Result<String> {
    let mut page = String::new();
    let [queued, running, parked] = store.queue_lengths().await?;
    let live = [("queued", queued), ("running", running), ("parked", parked)];
    family(&mut page, "verbatim_queue_jobs", "gauge", "Jobs that are not over.", "state", live);
    let totals = store.totals().await?;
    let plain = |value| [("", value)];
    family(
        &mut page,
        "verbatim_jobs_total",
        "counter",
        "Jobs ever queued.",
        "",
        plain(totals.jobs),
    );
    let records = plain(totals.records);
    family(&mut page, "verbatim_records_total", "counter", "Records in the store.", "", records);
    let verdicts = store.release_statuses().await?;
    let verdicts = verdicts.iter().map(|(status, count)| (status.as_str(), *count));
    let help = "Releases by the status of their newest record.";
    family(&mut page, "verbatim_releases", "gauge", help, "status", verdicts);
    let alarms = plain(store.alarms().await?.len() as i64);
    family(&mut page, "verbatim_alarms", "gauge", "Open alarms.", "", alarms);
    let asked = plain(i64::from(store.api_requests().await?));
    let help = "Requests to the downloads API within a day.";
    family(&mut page, "verbatim_feed_requests_a_day", "gauge", help, "", asked);
    let read = store.fact("feed.last_success").await?.and_then(|text| text.parse().ok());
    let age = read.map(|read: Timestamp| ("", now.duration_since(read).as_secs()));
    let help = "Seconds since python.org's list was last read.";
    family(&mut page, "verbatim_feed_age_seconds", "gauge", help, "", age);
    let usual = store.usual_duration_ms().await?.map(|usual| ("", usual / 1000));
    let help = "Median duration of the last twenty jobs.";
    family(&mut page, "verbatim_job_usual_duration_seconds", "gauge", help, "", usual);
    histogram(&mut page, &store.durations().await?);
    Ok(page)
}

/// How long jobs took: each bucket counts those of the smaller ones, too.
fn histogram(page: &mut String, rows: &[DurationRow]) {
    let name = "verbatim_job_duration_seconds";
    let help = "How long jobs took from the beginning of the last attempt to the verdict.";
    family(page, name, "histogram", help, "", []);
    let (mut jobs, mut sum_ms) = (0, 0);
    for row in rows {
        jobs += row.jobs;
        sum_ms += row.sum_ms;
        let bound = match row.at_most_ms {
            i64::MAX => "+Inf".to_owned(),
            at_most_ms => (at_most_ms / 1000).to_string(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {jobs}");
    }
    let sum = sum_ms as f64 / 1000.0;
    let _ = writeln!(page, "{name}_sum {sum}\n{name}_count {jobs}");
}

/// One metric with its values, by label. What is not known is left out.
fn family<'a>(
    page: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'a str, i64)>,
) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (value, number) in values {
        let _ = match value {
            "" => writeln!(page, "{name} {number}"),
            _ => writeln!(page, "{name}{{{label}=\"{value}\"}} {number}"),
        };
    }
}
