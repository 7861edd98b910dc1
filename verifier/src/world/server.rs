//! The world's HTTP server: the downloads API, the files and the git repository.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::Response;
use quick_xml::escape::escape;
use serde_json::Value;

use super::answer::{self, Fault};
use super::{State, git, recovered};

/// What git sends when it asks for one commit is a few hundred bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

type SharedState = Arc<Mutex<State>>;

/// All routes in one: the path is looked at for faults first.
pub fn router(state: SharedState) -> Router {
    Router::new().fallback(handle).with_state(state)
}

/// The state, also after a panic elsewhere.
pub fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    recovered(state.lock())
}

/// What is to be sent, decided while the state was locked.
enum Plan {
    Fault(Fault),
    Json(Vec<Value>),
    File(PathBuf),
    Listing(String),
    Announcements(String),
    Git(Arc<git::Host>),
    Error(StatusCode, &'static str),
}

async fn handle(Shared(state): Shared<SharedState>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let range = request.headers().get(header::RANGE).cloned();
    let plan = {
        let mut state = locked(&state);
        state.ranges.extend(range.as_ref().and_then(|range| Some(range.to_str().ok()?.to_owned())));
        plan(&mut state, &path, request.uri().query().unwrap_or_default())
    };
    match plan {
        Plan::Fault(fault) => answer::faulty(fault, &state, &path),
        Plan::Json(rows) => answer::json(&Value::Array(rows)),
        Plan::Listing(page) => answer::plain_page(page),
        Plan::Announcements(feed) => answer::rss(feed),
        Plan::Error(status, detail) => answer::problem(status, detail),
        Plan::File(file) => answer::file(&file, range.as_ref(), u64::MAX).await,
        Plan::Git(host) => {
            let (parts, body) = request.into_parts();
            match to_bytes(body, REQUEST_BYTES_MAX).await {
                Ok(body) => host.answer(&parts, &body).await,
                Err(_) => answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "too much"),
            }
        }
    }
}

fn plan(state: &mut State, path: &str, query: &str) -> Plan {
    state.requests.push(path.to_owned());
    if let Some(fault) = state.take_fault(path) {
        return Plan::Fault(fault);
    }
    if let Some(file) = state.served.get(path) {
        return Plan::File(file.clone());
    }
    if let Some(listing) = listing(state, path) {
        return Plan::Listing(listing);
    }
    match path {
        "/api/v2/downloads/release/" => Plan::Json(state.releases.clone()),
        "/api/v2/downloads/release_file/" => files_of(state, query),
        "/downloads/feed.rss" => Plan::Announcements(announcements(state)),
        _ if path.starts_with("/cpython.git/") => match &state.git {
            Some(host) => Plan::Git(host.clone()),
            None => Plan::Error(StatusCode::NOT_FOUND, "Not found."),
        },
        _ => Plan::Error(StatusCode::NOT_FOUND, "Not found."),
    }
}

/// What python.org's server shows of a directory below `/ftp/python/`.
fn listing(state: &State, path: &str) -> Option<String> {
    if !path.starts_with("/ftp/python/") || !path.ends_with('/') {
        return None;
    }
    let below = state.served.keys().filter_map(|served| served.strip_prefix(path));
    let names: BTreeSet<&str> =
        below.map(|rest| rest.find('/').map_or(rest, |slash| &rest[..=slash])).collect();
    let link = |name: &&str| format!("<a href=\"{name}\">{name}</a>\n");
    let links: String = names.iter().map(link).collect();
    Some(format!("<html><body><pre><a href=\"../\">../</a>\n{links}</pre></body></html>"))
}

/// The last ten releases, as python.org's RSS names them.
fn announcements(state: &State) -> String {
    let names = state.releases.iter().rev().take(10).filter_map(|row| row["name"].as_str());
    let item = |name: &str| format!("<item><title>{}</title></item>\n", escape(name));
    let items: String = names.map(item).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<rss version=\"2.0\"><channel>\
         <title>Python releases</title>\n{items}</channel></rss>"
    )
}

/// The API answers 400 to a filter that it does not know.
fn files_of(state: &State, query: &str) -> Plan {
    let key = query.strip_prefix("release=").and_then(|key| key.parse::<u64>().ok());
    let Some(key) = key else {
        return Plan::Error(StatusCode::BAD_REQUEST, "Unknown filter.");
    };
    let of_release = state.files.iter().filter(|(release, _)| *release == key);
    Plan::Json(of_release.map(|(_, row)| row.clone()).collect())
}

/// The file that is served at `path`, for a fault that cuts it short.
pub fn served(state: &Mutex<State>, path: &str) -> Option<PathBuf> {
    locked(state).served.get(path).cloned()
}

/// An answer that only has a body.
pub fn plain(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
