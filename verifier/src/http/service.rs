//! Exchanges with a running `verbatim serve`: a request and its answer, or a job's events.
//!
//! Every answer is bounded in size and time. A token goes over https or loopback only.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};

use super::{Client, HttpError, Transport, check_transport, is_loopback, sent};

/// A record with its longest lists.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const ANSWER_SECONDS_MAX: u64 = 60;
/// The server sends a sign of life every 15 seconds.
const SILENT_SECONDS_MAX: u64 = 60;

/// What the service answered, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after_seconds: Option<u64>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A body that goes on and on.
#[derive(Debug)]
pub struct Stream {
    url: Url,
    response: Response,
    received: u64,
}

impl Stream {
    /// What comes next; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        let limit = Duration::from_secs(SILENT_SECONDS_MAX);
        let url = || self.url.clone();
        let received = self.received;
        match tokio::time::timeout(limit, self.response.chunk()).await {
            Ok(Ok(chunk)) => {
                let chunk = chunk.map(|chunk| chunk.to_vec());
                self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Ok(chunk)
            }
            Ok(Err(_)) => Err(HttpError::Cut { url: url(), received }),
            Err(_) => Err(HttpError::TooSlow { url: url(), seconds: SILENT_SECONDS_MAX }),
        }
    }
}

impl Client {
    /// One exchange. Trouble with the network is an error; any answer is an answer.
    pub async fn exchange(
        &self,
        method: Method,
        url: &Url,
        token: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, HttpError> {
        let mut request = self.to_service(method, url, token)?;
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
        let exchange = async { answer(url, request.send().await).await };
        match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::TooSlow { url: url.clone(), seconds: ANSWER_SECONDS_MAX }),
        }
    }

    /// A job's events after the one that is called `last`. Anything but a stream of them is an
    /// answer.
    pub async fn events(
        &self,
        url: &Url,
        token: &str,
        last: &str,
    ) -> Result<Result<Stream, Answer>, HttpError> {
        let mut request = self.to_service(Method::GET, url, token)?;
        request = request.header(ACCEPT, "text/event-stream");
        // An id that cannot be a header's value is none of ours: then everything comes again.
        if let Some(last) = HeaderValue::from_str(last).ok().filter(|last| !last.is_empty()) {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.map_err(|error| sent(url, &error))?;
        if response.status().as_u16() == 200 {
            return Ok(Ok(Stream { url: url.clone(), response, received: 0 }));
        }
        answer(url, Ok(response)).await.map(Err)
    }

    fn to_service(
        &self,
        method: Method,
        url: &Url,
        token: &str,
    ) -> Result<RequestBuilder, HttpError> {
        check_transport(url, Transport::Secure)?;
        let client = if is_loopback(url) { &self.direct } else { &self.inner };
        let request = client.request(method, url.clone());
        if token.is_empty() {
            return Ok(request);
        }
        let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) else {
            let reason = "the token has characters that no token has".to_owned();
            return Err(HttpError::Refused { url: url.clone(), reason });
        };
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }
}

async fn answer(url: &Url, sending: reqwest::Result<Response>) -> Result<Answer, HttpError> {
    let mut response = sending.map_err(|error| sent(url, &error))?;
    let status = response.status().as_u16();
    let header = response.headers().get(RETRY_AFTER);
    let retry_after_seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    loop {
        let received = body.len() as u64;
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|_| HttpError::Cut { url: url.clone(), received })?;
        let Some(chunk) = chunk else { break };
        if received + chunk.len() as u64 > ANSWER_BYTES_MAX {
            return Err(HttpError::TooLarge { url: url.clone(), limit: ANSWER_BYTES_MAX });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, retry_after_seconds, body })
}
