//! The one module that opens outbound sockets: GET with bounds on size, time and redirects; and
//! POST to webhooks (`http/post.rs`).
//!
//! It promises: never more than `size_bytes_max` bytes, never longer than `seconds_max`, no
//! redirect to another host or from https to http, and plain http only where the caller says that
//! the bytes are checked by hash or the host is loopback. It never judges what it fetched.

mod address;
mod post;
mod secrets;
mod service;

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use rebuilder::Digest;
use reqwest::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;

pub use post::{Answered, Post, PostError, Reach, Sender};
pub use reqwest::Method as HttpMethod;
pub use secrets::{bare, has_secrets, place_without_secrets, without_secrets};
pub use service::{Answer, Stream};

const REDIRECTS_MAX: usize = 5;
const CONNECT_SECONDS_MAX: u64 = 20;
const SILENT_SECONDS_MAX: u64 = 60;
const RETRIES_MAX: usize = 2;
/// A longer header is cut where it is kept.
const HEADER_CHARS_MAX: usize = 100;
/// A longer wait is the caller's to plan, not ours to sleep through.
const RETRY_AFTER_SECONDS_MAX: u64 = 5;

/// Why there is no answer. Always operating trouble, never a result. Its words have no user or
/// password of a URL.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// 404 or 410.
    #[error("{} does not exist (HTTP {status})", bare(url))]
    NotFound { url: Url, status: u16 },
    /// 429, or 503 with a time.
    #[error("{} wants to be left alone: try again in {retry_after_seconds} s", bare(url))]
    Throttled { url: Url, retry_after_seconds: u64 },
    /// Any other status that is not success.
    #[error("{} answered HTTP {status}", bare(url))]
    Status { url: Url, status: u16 },
    /// The body is longer than the caller allows.
    #[error("{} sends more than the {limit} bytes that are allowed", bare(url))]
    TooLarge { url: Url, limit: u64 },
    /// The body ended early.
    #[error("{} was cut short after {received} bytes", bare(url))]
    Cut { url: Url, received: u64 },
    /// The whole exchange took too long.
    #[error("{} took longer than {seconds} s", bare(url))]
    TooSlow { url: Url, seconds: u64 },
    /// Plain http, or a redirect to somewhere else.
    #[error("{} is refused: {reason}", bare(url))]
    Refused { url: Url, reason: String },
    /// DNS, TCP, TLS or HTTP framing.
    #[error("cannot reach {}: {reason}", bare(url))]
    Unreachable { url: Url, reason: String },
    /// Our own disk.
    #[error("cannot write {path}: {source}")]
    Disk { path: String, source: io::Error },
}

impl HttpError {
    /// Whether the same request may succeed a moment later.
    fn is_passing(&self) -> bool {
        match self {
            HttpError::Status { status, .. } => *status >= 500,
            HttpError::Throttled { retry_after_seconds, .. } => {
                *retry_after_seconds <= RETRY_AFTER_SECONDS_MAX
            }
            HttpError::Cut { .. } | HttpError::Unreachable { .. } => true,
            HttpError::NotFound { .. }
            | HttpError::TooLarge { .. }
            | HttpError::TooSlow { .. }
            | HttpError::Refused { .. }
            | HttpError::Disk { .. } => false,
        }
    }
}

/// Which transport a URL may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// https; plain http to loopback only.
    Secure,
    /// Plain http too: the bytes are checked against a digest or signature afterwards.
    CheckedByDigest,
}

/// One request and its bounds.
#[derive(Clone, Debug)]
pub struct Get {
    /// What to fetch.
    pub url: Url,
    /// Longest body, in bytes.
    pub size_bytes_max: u64,
    /// Longest time for the whole exchange, in seconds.
    pub seconds_max: u64,
    /// Which transport is good enough.
    pub transport: Transport,
}

/// What a server says of a file without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `Content-Length`, in bytes.
    pub size: Option<u64>,
    /// `Last-Modified`, as it is written.
    pub modified: Option<String>,
}

/// The client; cheap to clone, one pool of connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
    /// A proxy that the machine is set up to use cannot reach this machine's own loopback.
    direct: reqwest::Client,
    /// How often passing trouble is tried again.
    retries: usize,
}

/// What all our clients have in common: the name, the TLS, the patience to connect.
#[expect(clippy::disallowed_methods, reason = "this is the one module that may")]
fn client() -> reqwest::ClientBuilder {
    // A second call finds the provider installed, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("verbatim/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
}

impl Client {
    /// A client with this machine's certificate roots.
    pub fn new() -> anyhow::Result<Client> {
        let following = || {
            client()
                .read_timeout(Duration::from_secs(SILENT_SECONDS_MAX))
                .redirect(redirect::Policy::custom(same_host))
        };
        let (inner, direct) = (following().build()?, following().no_proxy().build()?);
        Ok(Client { inner, direct, retries: RETRIES_MAX })
    }

    /// The same client for a server that counts requests: each is sent once.
    pub fn without_retries(&self) -> Client {
        Client { retries: 0, ..self.clone() }
    }

    /// The whole body in memory; passing trouble is retried.
    pub async fn bytes(&self, get: &Get) -> Result<Vec<u8>, HttpError> {
        let attempt = || async {
            within(get, async {
                let mut body = Vec::new();
                let mut response = self.send(get, 0).await?;
                while let Some(chunk) = next_chunk(&mut response, get, body.len() as u64).await? {
                    body.extend_from_slice(&chunk);
                }
                Ok(body)
            })
            .await
        };
        attempt.retry(self.backoff()).when(HttpError::is_passing).adjust(wait_as_asked).await
    }

    fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(300))
            .with_max_times(self.retries)
            .with_jitter()
    }

    /// What the server says of a file without sending it.
    pub async fn head(&self, get: &Get) -> Result<Head, HttpError> {
        within(get, async {
            let response = self.ask(get, Method::HEAD, 0).await?;
            let text = |name: HeaderName| {
                let value = response.headers().get(name)?.to_str().ok()?;
                Some(value.chars().take(HEADER_CHARS_MAX).collect::<String>())
            };
            let size = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
            Ok(Head { size, modified: text(LAST_MODIFIED) })
        })
        .await
    }

    /// Streams the body to the file `to`, calling `progress` with the bytes received so far, and
    /// returns digest and size. Passing trouble before the first byte is retried; a body that is
    /// cut is resumed once.
    pub async fn download(
        &self,
        get: &Get,
        to: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Digest, u64), HttpError> {
        let disk = |source| HttpError::Disk { path: to.display().to_string(), source };
        within(get, async {
            let mut file = tokio::fs::File::create(to).await.map_err(disk)?;
            let mut body = Received { hasher: Sha256::new(), size_bytes: 0 };
            let start = || self.send(get, 0);
            let response = start
                .retry(self.backoff())
                .when(HttpError::is_passing)
                .adjust(wait_as_asked)
                .await?;
            let first = body.append(response, get, &mut file, progress).await;
            match first {
                Err(HttpError::Cut { .. }) => {
                    let response = self.send(get, body.size_bytes).await?;
                    body.append(response, get, &mut file, progress).await?;
                }
                other => other?,
            }
            file.sync_all().await.map_err(disk)?;
            let digest = Digest::from_hasher(body.hasher);
            Ok((digest, body.size_bytes))
        })
        .await
    }

    /// Sends the request from byte `offset` on and checks the head of the answer.
    async fn send(&self, get: &Get, offset: u64) -> Result<Response, HttpError> {
        self.ask(get, Method::GET, offset).await
    }

    async fn ask(&self, get: &Get, method: Method, offset: u64) -> Result<Response, HttpError> {
        let url = get.url.clone();
        check_transport(&url, get.transport)?;
        let client = if is_loopback(&url) { &self.direct } else { &self.inner };
        let mut request = client.request(method, url.clone());
        // The downloads API answers in HTML to some clients that do not ask for JSON.
        request = request.header(ACCEPT, "application/json, */*;q=0.5");
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        let response = request.send().await.map_err(|error| sent(&url, &error))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND || status == StatusCode::GONE {
            return Err(HttpError::NotFound { url, status: status.as_u16() });
        }
        let is_timed = response.headers().contains_key(RETRY_AFTER);
        if status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::SERVICE_UNAVAILABLE && is_timed
        {
            let retry_after_seconds = retry_after_seconds(&response);
            return Err(HttpError::Throttled { url, retry_after_seconds });
        }
        if !status.is_success() {
            return Err(HttpError::Status { url, status: status.as_u16() });
        }
        if offset > 0 && !resumes_at(&response, offset) {
            return Err(HttpError::Cut { url, received: offset });
        }
        if response.content_length().is_some_and(|length| offset + length > get.size_bytes_max) {
            return Err(HttpError::TooLarge { url, limit: get.size_bytes_max });
        }
        Ok(response)
    }
}

/// What of a body has been written and hashed.
struct Received {
    hasher: Sha256,
    size_bytes: u64,
}

impl Received {
    async fn append(
        &mut self,
        mut response: Response,
        get: &Get,
        file: &mut tokio::fs::File,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), HttpError> {
        while let Some(chunk) = next_chunk(&mut response, get, self.size_bytes).await? {
            self.hasher.update(&chunk);
            self.size_bytes += chunk.len() as u64;
            let path = || get.url.path().to_owned();
            file.write_all(&chunk)
                .await
                .map_err(|source| HttpError::Disk { path: path(), source })?;
            progress(self.size_bytes);
        }
        Ok(())
    }
}

async fn next_chunk(
    response: &mut Response,
    get: &Get,
    received: u64,
) -> Result<Option<Vec<u8>>, HttpError> {
    let url = || get.url.clone();
    let chunk = response.chunk().await.map_err(|error| {
        if error.is_timeout() {
            return HttpError::TooSlow { url: url(), seconds: SILENT_SECONDS_MAX };
        }
        HttpError::Cut { url: url(), received }
    })?;
    let Some(chunk) = chunk else { return Ok(None) };
    if received + chunk.len() as u64 > get.size_bytes_max {
        return Err(HttpError::TooLarge { url: url(), limit: get.size_bytes_max });
    }
    Ok(Some(chunk.to_vec()))
}

async fn within<T>(
    get: &Get,
    exchange: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    let seconds = get.seconds_max;
    match tokio::time::timeout(Duration::from_secs(seconds), exchange).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::TooSlow { url: get.url.clone(), seconds }),
    }
}

/// A server that names a wait gets it.
fn wait_as_asked(error: &HttpError, delay: Option<Duration>) -> Option<Duration> {
    match error {
        HttpError::Throttled { retry_after_seconds, .. } => {
            delay.map(|_| Duration::from_secs(*retry_after_seconds))
        }
        _ => delay,
    }
}

/// RFC 9110, 10.2.3: seconds or a date; nothing at all is taken as a minute.
fn retry_after_seconds(response: &Response) -> u64 {
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    asked.and_then(|text| seconds_asked(text, SystemTime::now())).unwrap_or(60)
}

fn seconds_asked(text: &str, now: SystemTime) -> Option<u64> {
    let until = || httpdate::parse_http_date(text).ok();
    // A date that is past says nothing; part of a second is a whole one.
    let of_date = || Some(until()?.duration_since(now).ok()?.as_secs() + 1);
    text.parse().ok().or_else(of_date)
}

/// RFC 9110, 14.4: a 206 whose range starts where we stopped.
fn resumes_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

/// Whether `url` names this machine itself.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn check_transport(url: &Url, transport: Transport) -> Result<(), HttpError> {
    let good_enough = match url.scheme() {
        "https" => true,
        "http" => transport == Transport::CheckedByDigest || is_loopback(url),
        _ => false,
    };
    if good_enough {
        return Ok(());
    }
    let reason = format!("{} is not allowed here, only https is", url.scheme());
    Err(HttpError::Refused { url: url.clone(), reason })
}

fn same_host(attempt: redirect::Attempt) -> redirect::Action {
    let Some(from) = attempt.previous().last() else { return attempt.stop() };
    let to = attempt.url();
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(RedirectRefused("too many redirects".to_owned()));
    }
    match refusal(from, to) {
        Some(reason) => attempt.error(RedirectRefused(reason)),
        None => attempt.follow(),
    }
}

/// Why a redirect is not followed.
fn refusal(from: &Url, to: &Url) -> Option<String> {
    if from.scheme() == "https" && to.scheme() != "https" {
        return Some("it redirects to plain http".to_owned());
    }
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    let upgraded = from.scheme() == "http" && to.scheme() == "https" && to.port().is_none();
    if from.host() != to.host() || !(same_port || upgraded) {
        let host = to.host_str().unwrap_or("none");
        return Some(format!("it redirects to another host, {host}"));
    }
    None
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RedirectRefused(String);

/// Tells our own refusals from the network's trouble.
fn sent(url: &Url, error: &reqwest::Error) -> HttpError {
    let url = url.clone();
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut innermost = error.to_string();
    for cause in causes {
        if let Some(refused) = cause.downcast_ref::<RedirectRefused>() {
            return HttpError::Refused { url, reason: refused.to_string() };
        }
        innermost = cause.to_string();
    }
    if error.is_timeout() {
        return HttpError::TooSlow { url, seconds: SILENT_SECONDS_MAX };
    }
    HttpError::Unreachable { url, reason: without_secrets(&innermost).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_with_the_host_and_never_becomes_plain_http() {
        let cases = [
            ("https://a.example/x", "https://a.example/y", None),
            ("https://a.example/x", "https://a.example:443/y", None),
            ("http://a.example/x", "https://a.example/x", None),
            ("http://127.0.0.1:8000/x", "http://127.0.0.1:8000/y", None),
            ("https://a.example/x", "https://b.example/x", Some("another host, b.example")),
            ("https://a.example/x", "https://a.example.b.example/x", Some("another host")),
            ("https://a.example/x", "https://a.example:8443/x", Some("another host")),
            ("https://a.example/x", "http://a.example/x", Some("plain http")),
            ("https://a.example:80/x", "http://a.example/x", Some("plain http")),
            ("http://127.0.0.1:8000/x", "http://127.0.0.1:8001/x", Some("another host")),
            ("http://127.0.0.1/x", "file:///etc/passwd", Some("another host")),
        ];
        for (from, to, expected) in cases {
            let refused = refusal(&from.parse().unwrap(), &to.parse().unwrap());
            match (&refused, expected) {
                (None, None) => {}
                (Some(reason), Some(expected)) if reason.contains(expected) => {}
                _ => panic!("{from} to {to}: {refused:?}"),
            }
        }
    }

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_until_a_date_to_come() {
        let now = httpdate::parse_http_date("Sun, 15 Jun 2025 18:00:00 GMT").unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            ("Sun, 15 Jun 2025 18:10:00 GMT", Some(601)),
            ("Sun, 15 Jun 2025 17:59:59 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(seconds_asked(text, now), seconds, "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_and_for_bytes_that_are_checked_by_digest() {
        let allowed = |url: &str, transport| check_transport(&url.parse().unwrap(), transport);
        for url in
            ["https://a.example/", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost/"]
        {
            assert!(allowed(url, Transport::Secure).is_ok(), "{url}");
        }
        for url in ["http://a.example/", "http://127.0.0.1.a.example/", "http://10.0.0.1/"] {
            assert!(allowed(url, Transport::Secure).is_err(), "{url}");
            assert!(allowed(url, Transport::CheckedByDigest).is_ok(), "{url}");
        }
        assert!(allowed("ftp://a.example/", Transport::CheckedByDigest).is_err());
    }
}
