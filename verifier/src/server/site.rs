//! Everything that is published, at every path that no route of the API has. What was rendered is
//! kept until something is written, and then sent without asking the store or the routes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;

use super::answer::names;
use super::memory::Rendered;
use super::problem::{self, Problem};
use super::{App, Shared};
use crate::clock;
use crate::publish::pages::{self, Frame, Here};
use crate::publish::site::{self, Caching};

/// Answers with what is published at the path. The layers around this made GET of HEAD.
pub async fn show(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let (head, _) = request.into_parts();
    let Some(rendered) = rendered(&app, head.uri.path()).await? else {
        return missing(&app, &head.headers).await;
    };
    if head.method != Method::GET {
        let allowed = [(header::ALLOW, "GET, HEAD")];
        return Ok((allowed, problem::method_not_allowed().await).into_response());
    }
    Ok(answer(&rendered, &head.headers))
}

/// A page for people, a problem document for programs.
async fn missing(app: &App, asked: &HeaderMap) -> Result<Response, Problem> {
    let accepted = asked.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    if !accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        return Ok(([(header::VARY, "accept")], problem::not_found()).into_response());
    }
    let page = pages::missing(&Frame::read(&app.shown, Here::Elsewhere).await?)?;
    let headers = [
        (header::CONTENT_TYPE, pages::HTML),
        (header::CONTENT_SECURITY_POLICY, pages::POLICY),
        (header::VARY, "accept"),
    ];
    Ok((StatusCode::NOT_FOUND, headers, page).into_response())
}

/// The answer to a request for something that was rendered since the last write. Nothing else is
/// done for it: a badge is asked for more often than all the rest.
pub fn kept(app: &App, request: &Request<Incoming>) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let kept = app.memory.get(request.uri().path(), app.shown.store.generation())?;
    Some(answer(&kept, request.headers()))
}

/// What is at `path`: from memory if nothing was written since it was rendered.
async fn rendered(app: &App, path: &str) -> anyhow::Result<Option<Arc<Rendered>>> {
    let store = &app.shown.store;
    if let Some(kept) = app.memory.get(path, store.generation()) {
        return Ok(Some(kept));
    }
    // Asked before anything is read: what is read then is at least as new.
    let settled = store.settled();
    let Some(resource) = site::resource(&app.shown, path).await? else { return Ok(None) };
    let caching = resource.caching;
    let rendered = Arc::new(Rendered::new(resource, clock::now()));
    if let Some(generation) = settled
        && caching != Caching::Live
    {
        app.memory.keep(path, generation, rendered.clone());
    }
    Ok(Some(rendered))
}

/// The answer, or 304 for a client that has it.
fn answer(rendered: &Rendered, asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = rendered.headers.clone();
    if has_it(rendered, asked) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
        return response;
    }
    *response.body_mut() = Body::from(rendered.body.clone());
    response
}

/// Entity tags are exact and come first (RFC 9110, section 13.2.2). A time is believed only of what
/// never changes; a server may ignore it otherwise (section 13.1.3).
fn has_it(rendered: &Rendered, asked: &HeaderMap) -> bool {
    let text = |name| asked.get(name).and_then(|value| value.to_str().ok());
    if let Some(known) = asked.get(header::IF_NONE_MATCH) {
        return known.to_str().is_ok_and(|known| names(known, &rendered.tag));
    }
    let since =
        text(header::IF_MODIFIED_SINCE).and_then(|text| httpdate::parse_http_date(text).ok());
    since.zip(rendered.unchanged_since).is_some_and(|(since, unchanged_since)| {
        let since = since.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).is_ok_and(|since| unchanged_since <= since)
    })
}
