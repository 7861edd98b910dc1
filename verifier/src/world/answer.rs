//! Answers of the world, true and faulty.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::State;
use super::server::{plain, served};

const CHUNK_BYTES: usize = 64 << 10;
/// What has been handed to the server is on its way after so long.
const FLUSHED_WITHIN: Duration = Duration::from_millis(100);

/// What may go wrong with an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with these headers.
    Status(u16, Vec<(String, String)>),
    /// The connection is cut after so many bytes of the file.
    Cut(u64),
    /// This body instead of the true one.
    Body(Vec<u8>),
    /// A body that announces nothing and does not end.
    Endless,
    /// A body that announces ten gigabytes.
    TenGigabytes,
    /// A redirect.
    Redirect(String),
    /// Headers, and then nothing.
    Silence,
}

/// The answer that a fault makes of the request for `path`.
pub fn faulty(fault: Fault, state: &Mutex<State>, path: &str) -> Response {
    let zeros = || Bytes::from_static(&[0; CHUNK_BYTES]);
    let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(zeros()));
    match fault {
        Fault::Status(status, headers) => {
            let detail =
                json!({"detail": "Request was throttled. Expected available in 1 second."});
            let mut response = plain(status_code(status), Body::from(detail.to_string()));
            for (name, value) in headers {
                set(&mut response, &name, &value);
            }
            response
        }
        Fault::Cut(bytes) => cut(served(state, path).as_deref(), bytes),
        Fault::Body(body) => plain(StatusCode::OK, Body::from(body)),
        Fault::Endless => plain(StatusCode::OK, Body::from_stream(endless)),
        Fault::TenGigabytes => {
            let mut response = plain(StatusCode::OK, Body::from_stream(endless));
            set(&mut response, "content-length", "10000000000");
            response
        }
        Fault::Redirect(to) => {
            let mut response = plain(StatusCode::FOUND, Body::empty());
            set(&mut response, "location", &to);
            response
        }
        Fault::Silence => {
            let nothing = stream::pending::<Result<Bytes, std::io::Error>>();
            plain(StatusCode::OK, Body::from_stream(nothing))
        }
    }
}

/// Announces the whole file and sends only its start.
fn cut(file: Option<&Path>, bytes: u64) -> Response {
    let whole = file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    let length = whole.len().to_string();
    let start = whole.get(..bytes as usize).unwrap_or(&whole).to_vec();
    let cut = stream::once(async {
        // Or else the server closes the connection before it has sent what came first.
        tokio::time::sleep(FLUSHED_WITHIN).await;
        Err(std::io::Error::other("cut"))
    });
    let parts = stream::iter([Ok(Bytes::from(start))]).chain(cut);
    let mut response = plain(StatusCode::OK, Body::from_stream(parts));
    set(&mut response, "content-length", &length);
    response
}

/// A JSON document.
pub fn json(value: &Value) -> Response {
    let mut response = plain(StatusCode::OK, Body::from(value.to_string()));
    set(&mut response, "content-type", "application/json");
    response
}

/// A page for people.
pub fn plain_page(page: String) -> Response {
    let mut response = plain(StatusCode::OK, Body::from(page));
    set(&mut response, "content-type", "text/html");
    response
}

/// RSS 2.0.
pub fn rss(feed: String) -> Response {
    let mut response = plain(StatusCode::OK, Body::from(feed));
    set(&mut response, "content-type", "application/rss+xml; charset=utf-8");
    response
}

/// The API's form of an error.
pub fn problem(status: StatusCode, detail: &str) -> Response {
    let mut response = plain(status, Body::from(json!({ "detail": detail }).to_string()));
    set(&mut response, "content-type", "application/json");
    response
}

/// Streams a file, from the start of the range if one is asked for (RFC 9110, 14.2).
pub async fn file(path: &Path, range: Option<&HeaderValue>, bytes_max: u64) -> Response {
    let opened = async {
        let file = tokio::fs::File::open(path).await?;
        let size = file.metadata().await?.len();
        std::io::Result::Ok((file, size))
    };
    let Ok((mut file, size)) = opened.await else {
        return problem(StatusCode::NOT_FOUND, "Not found.");
    };
    let wanted = range.and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let offset: u64 = wanted.and_then(|text| text.strip_suffix('-')?.parse().ok()).unwrap_or(0);
    if offset > size || file.seek(SeekFrom::Start(offset)).await.is_err() {
        return problem(StatusCode::RANGE_NOT_SATISFIABLE, "No such range.");
    }
    let chunks = stream::unfold(file.take(bytes_max), |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok(Bytes::from(chunk)), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    let status = if offset > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = plain(status, Body::from_stream(chunks));
    set(&mut response, "content-length", &(size - offset).to_string());
    if offset > 0 {
        let range = format!("bytes {offset}-{}/{size}", size.saturating_sub(1));
        set(&mut response, header::CONTENT_RANGE.as_str(), &range);
    }
    response
}

/// Sets a header; one that cannot be sent is left out.
pub fn set(response: &mut Response, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
        response.headers_mut().insert(name, value);
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
