//! What every answer has in common: its time limit, its headers, and 304 where nothing changed.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rebuilder::Digest;

use super::problem::{self, Problem};
use crate::store::LOCKED_SECONDS_MAX;

/// From the headers of a request to the headers of its answer. Longer than the store waits for
/// another process that holds it: that delays an answer, and refuses none.
const ANSWER_SECONDS_MAX: u64 = 5 + LOCKED_SECONDS_MAX;
/// Documents are compared as a whole; a record has bounded lists.
const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// Nothing of ours is to be run, framed or asked for by a page.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Around every handler.
pub async fn finish(mut request: Request, next: Next) -> Response {
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads {
        // The answer to HEAD has the headers of GET; hyper leaves its body out.
        *request.method_mut() = Method::GET;
    }
    let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
    let response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long; try again")
                .after(ANSWER_SECONDS_MAX)
                .into_response()
        }
    };
    let mut response = if response.status().is_client_error() || response.status().is_server_error()
    {
        problem::normal(response).await
    } else if reads && is_unmarked_document(&response) {
        conditional(response, known.as_ref()).await
    } else {
        response
    };
    let headers = response.headers_mut();
    let mut default = |name: HeaderName, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::CONTENT_SECURITY_POLICY, POLICY);
    default(header::REFERRER_POLICY, "no-referrer");
    default(header::CACHE_CONTROL, "no-store");
    response
}

/// A JSON document whose handler left it to us to mark it with an entity tag.
fn is_unmarked_document(response: &Response) -> bool {
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE);
    response.status() == StatusCode::OK
        && kind.is_some_and(|kind| kind.as_bytes() == b"application/json")
        && !headers.contains_key(header::ETAG)
}

/// A document with its entity tag; or 304, without it, for a client that has it.
async fn conditional(response: Response, known: Option<&HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, DOCUMENT_BYTES_MAX).await else {
        let detail = "the document is too large to be served";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    };
    let tag = entity_tag(&bytes);
    let has_it =
        known.and_then(|known| known.to_str().ok()).is_some_and(|known| names(known, &tag));
    // A document may be kept, but whoever kept it asks whether it is still the one.
    let keep = HeaderValue::from_static("no-cache");
    parts.headers.entry(header::CACHE_CONTROL).or_insert(keep);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if !has_it {
        return Response::from_parts(parts, Body::from(bytes));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

/// The strong entity tag of these bytes.
pub fn entity_tag(bytes: &[u8]) -> String {
    format!("\"{}\"", &Digest::of(bytes).to_string()[..32])
}

/// Whether a client says that it has what `tag` stands for.
pub fn has(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    known.is_some_and(|known| names(known, tag))
}

/// Whether a list of entity tags names `tag`; weakly compared (RFC 9110, section 13.1.2).
pub fn names(list: &str, tag: &str) -> bool {
    let mut tags = list.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_list_of_entity_tags_is_compared_weakly() {
        assert!(names("\"a\", W/\"b\"", "\"b\""));
        assert!(names("*", "\"b\""));
        assert!(!names("\"a\", \"bb\"", "\"b\""));
        assert!(!names("", "\"b\""));
    }
}
