//! `verbatim request`: asks a running daemon for a rebuild and follows it to its verdict.
//!
//! The job belongs to the daemon: whoever stops following it stops nothing.

mod events;
mod service;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use url::Url;

use self::events::{Event, Events};
use self::service::{Asked, JobNow, Service};
use crate::cli::{exit_status, print};
use crate::compare::report::printable;
use crate::config::Config;
use crate::http::Stream;
use crate::publish;
use crate::queue::JobState;
use crate::record::Record;
use crate::version::Version;

/// How often a job's place in the queue is asked for while it does not run.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A daemon that is away for so long is not waited for any more.
const AWAY_MAX: Duration = Duration::from_secs(600);
/// Between two attempts to follow on, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What `verbatim request` is told.
#[derive(Args, Debug)]
pub struct RequestArgs {
    /// Version as python.org writes it: 3.13.5
    #[arg(required_unless_present = "cancel")]
    version: Option<Version>,
    /// Take the request ID back instead; a job that nobody else wants is cancelled
    #[arg(long, value_name = "ID", conflicts_with = "version")]
    cancel: Option<String>,
    /// Where the daemon serves [default: request.server, else server.public_url]
    #[arg(long, value_name = "URL")]
    server: Option<Url>,
    /// Print the record as JSON and nothing else
    #[arg(long)]
    json: bool,
}

/// Asks, follows, prints the record; until `interrupted`, which leaves the job to the daemon.
pub async fn run(
    config: &Config,
    args: &RequestArgs,
    interrupted: impl Future<Output = &'static str>,
) -> anyhow::Result<ExitCode> {
    let service = Service::new(config, args.server.as_ref())?;
    let Some(version) = &args.version else {
        let job = service.take_back(args.cancel.as_deref().unwrap_or_default()).await?;
        say(&format!("the request is taken back; job {} is {}", job.id, job.state.as_str()));
        return Ok(ExitCode::SUCCESS);
    };
    let asked = service.ask(version).await?;
    say(&format!("job {}: {}", asked.job, asked.page));
    say(&format!("to take it back: verbatim request --cancel {}", asked.request));
    let record = tokio::select! {
        record = verdict(&service, &asked) => record?,
        signal = interrupted => bail!(
            "stopped following by {signal}; job {} goes on: {}", asked.job, asked.page
        ),
    };
    if args.json {
        print(&(serde_json::to_string_pretty(&record).context("write the record")? + "\n"))?;
    } else {
        print(&publish::text(&record))?;
    }
    Ok(ExitCode::from(exit_status(&record)))
}

/// Follows the job to its record.
async fn verdict(service: &Service, asked: &Asked) -> anyhow::Result<Record> {
    let job = Follower::new(service, asked).end().await?;
    match (job.state, &job.record) {
        (JobState::Done, Some(record)) => service.record(record).await,
        _ => bail!("job {} was cancelled: nothing is judged", job.id),
    }
}

/// One job, and how far it was followed.
struct Follower<'a> {
    service: &'a Service,
    asked: &'a Asked,
    /// Where the next stream of events goes on.
    last: String,
    /// What was said of its place in the queue.
    place: String,
    /// Whether it may have another place by now.
    is_waiting: bool,
}

impl<'a> Follower<'a> {
    fn new(service: &'a Service, asked: &'a Asked) -> Follower<'a> {
        Follower { service, asked, last: String::new(), place: String::new(), is_waiting: true }
    }

    /// The job when it is over. A daemon that is away for a while is waited for.
    async fn end(&mut self) -> anyhow::Result<JobNow> {
        let mut heard = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let before = self.last.clone();
            let trouble = match self.stream().await {
                Ok(Followed::Over(job)) => return Ok(*job),
                Ok(Followed::Ended) => None,
                Err(error) if error.is_passing() => Some(error),
                Err(error) => return Err(error.into()),
            };
            if self.last != before || trouble.is_none() {
                (heard, pause) = (Instant::now(), PAUSE_MIN);
            }
            if let Some(error) = trouble {
                if heard.elapsed() > AWAY_MAX {
                    let context = format!("follow job {}, which may go on", self.asked.job);
                    return Err(anyhow::Error::from(error).context(context));
                }
                tracing::info!("{error}; trying again");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Follows until the stream ends.
    async fn stream(&mut self) -> Result<Followed, service::Trouble> {
        let Some(mut stream) = self.service.events(&self.asked.job, &self.last).await? else {
            // There is nothing after the last event.
            return self.look().await;
        };
        let mut events = Events::default();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            let Some(piece) = self.piece(&mut stream, &mut tick).await? else {
                return Ok(Followed::Ended);
            };
            let Some(piece) = piece else { continue };
            for event in events.push(&piece)? {
                self.last.clone_from(&event.id);
                if let Some(job) = self.show(&event) {
                    return Ok(Followed::Over(Box::new(job)));
                }
            }
        }
    }

    /// The next piece of the stream; an empty one when it was time to look at the queue.
    async fn piece(
        &mut self,
        stream: &mut Stream,
        tick: &mut tokio::time::Interval,
    ) -> Result<Option<Option<Vec<u8>>>, service::Trouble> {
        tokio::select! {
            piece = stream.next() => Ok(piece?.map(Some)),
            _ = tick.tick(), if self.is_waiting => {
                self.look().await?;
                Ok(Some(None))
            }
        }
    }

    /// Asks for the job itself, and says where it is in the queue.
    async fn look(&mut self) -> Result<Followed, service::Trouble> {
        let job = self.service.job(&self.asked.job).await?;
        match job.state {
            JobState::Parked => return Err(service::Trouble::Parked(Box::new(job))),
            JobState::Done | JobState::Cancelled => return Ok(Followed::Over(Box::new(job))),
            JobState::Running => self.is_waiting = false,
            JobState::Queued => {
                let place = job.place(self.asked);
                if place != self.place {
                    say(&place);
                    self.place = place;
                }
            }
        }
        Ok(Followed::Ended)
    }

    /// Shows an event; gives the job if it was the last one.
    fn show(&mut self, event: &Event) -> Option<JobNow> {
        if event.kind == "state" {
            if let Ok(job) = serde_json::from_str(&event.data) {
                return Some(job);
            }
            self.is_waiting = true;
        }
        let news: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
        let text = news["text"].as_str().unwrap_or_default();
        match event.kind.as_str() {
            "log" => say(&format!("    | {text}")),
            "state" => say(text),
            _ => say(&format!("  {text}")),
        }
        None
    }
}

/// How following a stream of events ended.
enum Followed {
    /// The job is over.
    Over(Box<JobNow>),
    /// It is not, as far as is known.
    Ended,
}

/// To standard error: what a server sends has nothing to say to a terminal but text.
fn say(text: &str) {
    eprintln!("{}", printable(text));
}
