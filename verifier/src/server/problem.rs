//! Errors as clients see them: problem documents (RFC 9457), whoever noticed the error.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::publish::pages;

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// The longest sentence of the framework that is passed on.
const SENTENCE_BYTES_MAX: usize = 2_000;

/// Why a request was not answered (RFC 9457). `type` is not given: `about:blank`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The status of the answer.
    pub status: u16,
    /// What that status is called.
    pub title: String,
    /// What went wrong this time, in one sentence.
    pub detail: String,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem with one sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Problem { status: status.as_u16(), title, detail: detail.into(), retry_after: None }
    }

    /// There is no such thing.
    pub fn missing(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request cannot be understood.
    pub fn unclear(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Come back in so many seconds.
    pub fn after(self, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }
}

impl From<anyhow::Error> for Problem {
    /// Trouble of ours: the log says what, the client hears only that.
    fn from(error: anyhow::Error) -> Problem {
        tracing::error!(error = format!("{error:#}"), "a request could not be answered");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "trouble of ours; the log says more")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Nothing is at this path.
pub fn not_found() -> Problem {
    Problem::missing("nothing is served at this path")
}

/// The path knows other methods.
pub async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not know this method")
}

/// An error of the framework becomes a problem document; its sentence is kept. Pages are ours.
pub async fn normal(response: Response) -> Response {
    let is_ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        [MEDIA_TYPE, pages::HTML].iter().any(|ours| kind.as_bytes() == ours.as_bytes())
    });
    if is_ours {
        return response;
    }
    let (parts, body) = response.into_parts();
    let sentence = sentence(body).await;
    let detail = sentence.unwrap_or_else(|| "the request was refused".to_owned());
    let mut answer = Problem::new(parts.status, detail).into_response();
    if let Some(allowed) = parts.headers.get(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    answer
}

async fn sentence(body: Body) -> Option<String> {
    let bytes = to_bytes(body, SENTENCE_BYTES_MAX).await.ok()?;
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    (!text.is_empty()).then_some(text)
}
