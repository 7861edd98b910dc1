//! The daemon that is asked: its API as far as `verbatim request` needs it.

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::events::TooLong;
use crate::compare::report::printable;
use crate::config::Config;
use crate::http::{Answer, Client, HttpError, HttpMethod, Stream};
use crate::queue::JobState;
use crate::record::Record;
use crate::version::Version;

/// The longest sentence of the server that is repeated.
const SENTENCE_CHARS_MAX: usize = 500;

/// A running daemon.
#[derive(Debug)]
pub struct Service {
    client: Client,
    server: String,
    token: String,
}

/// A request that was taken.
#[derive(Debug, Deserialize)]
pub struct Asked {
    /// By which it can be taken back.
    pub request: String,
    /// The job that answers it.
    pub job: String,
    /// Where people look.
    pub page: String,
    position: Option<u64>,
    expected_start: Option<Timestamp>,
}

impl Asked {
    /// When a job at `position` begins, as far as was known when it was asked for.
    fn expected_at(&self, position: Option<u64>) -> Option<Timestamp> {
        self.expected_start.filter(|_| self.position == position)
    }
}

/// A job as it is now.
#[derive(Debug, Deserialize)]
pub struct JobNow {
    pub id: String,
    pub state: JobState,
    pub record: Option<String>,
    error: Option<String>,
    waiting: Option<String>,
    position: Option<u64>,
    expected_start: Option<Timestamp>,
}

impl JobNow {
    /// Its place in the queue, in words.
    pub fn place(&self, asked: &Asked) -> String {
        let mut words = match self.position {
            Some(position) => format!("queued at place {position}"),
            None => "queued".to_owned(),
        };
        if let Some(reason) = &self.waiting {
            words.push_str(&format!("; waits: {reason}"));
        }
        if let Some(start) = self.expected_start.or_else(|| asked.expected_at(self.position)) {
            words.push_str(&format!("; expected to begin at {start:.0}"));
        }
        words
    }
}

/// Why a job cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The network.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It answers something else.
    #[error("{}", .0)]
    Refused(String, u16),
    /// It sends what it should not.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// An operator has to look at the job.
    #[error("job {} is parked until an operator has looked: {}", .0.id, reason(.0))]
    Parked(Box<JobNow>),
}

fn reason(job: &JobNow) -> String {
    let reason = job.error.as_deref().or(job.waiting.as_deref());
    printable(reason.unwrap_or("it does not say why"))
}

impl Trouble {
    /// Whether it may be over a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Trouble::Http(HttpError::Refused { .. } | HttpError::TooLarge { .. }) => false,
            Trouble::Http(_) => true,
            Trouble::Refused(_, status) => *status >= 500 || *status == 429,
            Trouble::TooLong(_) | Trouble::Parked(_) => false,
        }
    }
}

impl Service {
    /// The daemon at `server`, or at the configured place, with the configured token.
    pub fn new(config: &Config, server: Option<&Url>) -> anyhow::Result<Service> {
        let configured = config.request.server.as_ref().unwrap_or(&config.server.public_url);
        let server = server.unwrap_or(configured).as_str().trim_end_matches('/').to_owned();
        let token = config.request.token()?;
        Ok(Service { client: Client::new()?, server, token })
    }

    /// Asks for a rebuild.
    pub async fn ask(&self, version: &Version) -> anyhow::Result<Asked> {
        let body = serde_json::json!({ "version": version.to_string() }).to_string();
        let asking = || format!("ask {} for a rebuild of {version}", self.server);
        let url = self.url("requests")?;
        let answer =
            self.client.exchange(HttpMethod::POST, &url, &self.token, Some(body.into())).await;
        let answer = answer.with_context(asking)?;
        if answer.status == 401 {
            let what = if self.token.is_empty() { "it wants a token" } else { "not this token" };
            let (who, said) = (asking(), sentence(&answer));
            bail!("{who}: {what} ({said}); see request.token_file of the configuration");
        }
        let asked: Asked = expect(answer, 202).with_context(asking)?;
        // It becomes part of URLs.
        safe(&asked.job).with_context(asking)?;
        Ok(asked)
    }

    /// Takes a request back; gives the job that would have answered it.
    pub async fn take_back(&self, request: &str) -> anyhow::Result<JobNow> {
        let url = self.url(&format!("requests/{}", safe(request)?))?;
        let answer = self.client.exchange(HttpMethod::DELETE, &url, &self.token, None).await;
        let answer = answer.map(|answer| expect(answer, 200));
        answer?.with_context(|| format!("take back request {request}"))
    }

    /// The job as it is now.
    pub async fn job(&self, job: &str) -> Result<JobNow, Trouble> {
        let url = self.place(&format!("jobs/{job}"))?;
        let answer = self.client.exchange(HttpMethod::GET, &url, &self.token, None).await?;
        expect(answer, 200)
    }

    /// What happens to the job after the event `last`; none if nothing more will.
    pub async fn events(&self, job: &str, last: &str) -> Result<Option<Stream>, Trouble> {
        let url = self.place(&format!("jobs/{job}/events"))?;
        match self.client.events(&url, &self.token, last).await? {
            Ok(stream) => Ok(Some(stream)),
            Err(answer) if answer.status == 204 => Ok(None),
            Err(answer) => Err(refused(&answer)),
        }
    }

    /// A record.
    pub async fn record(&self, record: &str) -> anyhow::Result<Record> {
        let url = self.url(&format!("records/{}", safe(record)?))?;
        let answer = self.client.exchange(HttpMethod::GET, &url, &self.token, None).await?;
        expect(answer, 200).with_context(|| format!("read record {record}"))
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        let text = format!("{}/api/v1/{path}", self.server);
        Url::parse(&text).with_context(|| format!("make the URL {text}"))
    }

    fn place(&self, path: &str) -> Result<Url, Trouble> {
        self.url(path).map_err(|error| Trouble::Refused(format!("{error:#}"), 0))
    }
}

/// An id as ours are: nothing in it changes a URL's path.
fn safe(id: &str) -> anyhow::Result<&str> {
    uuid::Uuid::try_parse(id).with_context(|| format!("{:?} is no id", printable(id)))?;
    Ok(id)
}

fn expect<T: DeserializeOwned>(answer: Answer, status: u16) -> Result<T, Trouble> {
    if answer.status != status {
        return Err(refused(&answer));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        Trouble::Refused(format!("the server's answer is not understood: {error}"), 0)
    })
}

fn refused(answer: &Answer) -> Trouble {
    let wait = answer.retry_after_seconds.map(|wait| format!("; come again in {wait} s"));
    let (status, sentence) = (answer.status, sentence(answer));
    let text = format!("HTTP {status}: {sentence}{}", wait.unwrap_or_default());
    Trouble::Refused(text, status)
}

/// The one sentence of a problem document.
fn sentence(answer: &Answer) -> String {
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("no reason is given");
    printable(&detail.chars().take(SENTENCE_CHARS_MAX).collect::<String>())
}
