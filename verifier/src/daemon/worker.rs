//! The worker: the only part of the daemon that runs the line. One job at a time.

use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use tokio::sync::watch as signal;

use super::{Daemon, beating, stopped};
use crate::clock;
use crate::feed;
use crate::journal::{Journal, Kind};
use crate::line::{self, Choices, ForJob, Line, MovedTag};
use crate::observation::AlarmKind;
use crate::progress::Progress;
use crate::queue::{Lease, LeaseLost, retry_delay};
use crate::record::Record;
use crate::release::Release;
use crate::source::SourceError;

/// Jobs of other processes, and those whose time has come, are looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A job that waits for the API's allowance looks again after this time.
const ALLOWANCE_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Takes jobs until it is told to stop.
pub async fn work(daemon: Daemon, mut stop: signal::Receiver<bool>) {
    let worker = uuid::Uuid::now_v7().to_string();
    while !*stop.borrow() {
        let daemon = daemon.current();
        match daemon.line.store.claim(&worker).await {
            Ok(Some(lease)) => {
                attempt(&daemon, &lease, &mut stop).await;
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("{error:#}"),
        }
        tokio::select! {
            () = daemon.wake.clone().notified_owned() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stopped(&mut stop) => {}
        }
    }
}

/// Takes jobs until none is due.
pub async fn drain(daemon: &Daemon, mut stop: signal::Receiver<bool>) {
    let worker = uuid::Uuid::now_v7().to_string();
    while !*stop.borrow() {
        match daemon.line.store.claim(&worker).await {
            Ok(Some(lease)) => attempt(daemon, &lease, &mut stop).await,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("{error:#}");
                return;
            }
        }
    }
}

/// Why an attempt came to no verdict.
enum Pause {
    /// The release is not complete: no error.
    Waiting { reason: String, wait: SignedDuration },
    /// Somebody has to look before it makes sense to try again.
    Parked { error: String, alarm: AlarmKind },
    /// Trouble of ours.
    Trouble { error: String },
    /// Another worker has the job now, or nobody wants it.
    Lost,
}

async fn attempt(daemon: &Daemon, lease: &Lease, stop: &mut signal::Receiver<bool>) {
    let span = tracing::info_span!("job", id = lease.job, version = %lease.version);
    tracing::info!(parent: &span, "begins");
    let path = daemon.journals().join(format!("{}.ndjson", lease.job));
    let journal = match Journal::open(&path) {
        Ok(journal) => journal,
        Err(error) => {
            let error = format!("write the journal {}: {error}", path.display());
            return pause(daemon, lease, Pause::Trouble { error }).await;
        }
    };
    journal.write(Kind::State, "running");
    let line = Line { progress: Progress::to_journal(journal.clone()), ..daemon.line.clone() };
    let ended = tokio::select! {
        result = verified(&line, daemon, lease) => result.map_err(|error| paused(&error, daemon)),
        _ = beating(daemon, lease) => Err(Pause::Lost),
        () = stopped(stop) => {
            journal.write(Kind::State, "stopped: it runs again");
            if let Err(error) = daemon.line.store.put_back(lease).await {
                tracing::warn!(parent: &span, "{error:#}");
            }
            return;
        }
    };
    match ended {
        Ok(()) => {
            journal.write(Kind::State, "judged");
            tracing::info!(parent: &span, "judged");
        }
        Err(pause_of) => {
            journal.write(Kind::State, &pause_of.text());
            tracing::info!(parent: &span, "{}", pause_of.text());
            pause(daemon, lease, pause_of).await;
        }
    }
}

/// The line, on behalf of a job.
async fn verified(line: &Line, daemon: &Daemon, lease: &Lease) -> anyhow::Result<()> {
    let release = release(line, lease).await?;
    let job = ForJob { lease: lease.clone(), release, reports: daemon.reports() };
    let choices = Choices { report: None, moved_tag: MovedTag::Refuse, job: Some(job) };
    // Boxed: the compiler does not see through so deep a future that it may change threads.
    let verifying: Pin<Box<dyn Future<Output = anyhow::Result<Record>> + Send + '_>> =
        Box::pin(line::verify(line, &lease.version, &choices));
    let record = verifying.await?;
    line.store.settle_alarm(AlarmKind::JobParked, &record.release.version.to_string()).await
}

/// The release with its files; python.org is asked only if they are not known.
async fn release(line: &Line, lease: &Lease) -> anyhow::Result<Release> {
    if let Some(release) = line.store.release(&lease.version).await?
        && !release.files.is_empty()
    {
        return Ok(release);
    }
    let version = &lease.version;
    let announced = line.store.announced(version).await?;
    let announced = announced.with_context(|| format!("python.org does not announce {version}"))?;
    let allowance = line.config.feed.requests_per_day;
    if line.store.take_api_request(allowance).await?.is_none() {
        return Err(AllowanceUsedUp.into());
    }
    let release = feed::with_files(&line.client, &line.config.feed, &announced).await?;
    line.store.learn_files(&release).await?;
    if release.files.is_empty() {
        return Err(NoFiles.into());
    }
    Ok(release)
}

#[derive(Debug, thiserror::Error)]
#[error("the day's requests to python.org's API are used up")]
struct AllowanceUsedUp;

#[derive(Debug, thiserror::Error)]
#[error("python.org announces no source file yet")]
struct NoFiles;

/// Which kind of trouble this is.
fn paused(error: &anyhow::Error, daemon: &Daemon) -> Pause {
    let text = format!("{error:#}");
    let wait = daemon.line.config.queue.wait;
    for cause in error.chain() {
        if cause.is::<LeaseLost>() {
            return Pause::Lost;
        }
        if cause.is::<NoFiles>() {
            return Pause::Waiting { reason: NoFiles.to_string(), wait };
        }
        if cause.is::<AllowanceUsedUp>() {
            let reason = AllowanceUsedUp.to_string();
            return Pause::Waiting { reason, wait: ALLOWANCE_WAIT };
        }
        match cause.downcast_ref::<SourceError>() {
            Some(SourceError::NoTag { tag, .. }) => {
                let reason = format!("the repository has no tag {tag} yet");
                return Pause::Waiting { reason, wait };
            }
            Some(SourceError::Moved { .. }) => {
                return Pause::Parked { error: text, alarm: AlarmKind::TagMoved };
            }
            Some(SourceError::Unreachable { .. } | SourceError::Empty { .. }) | None => {}
        }
    }
    Pause::Trouble { error: text }
}

impl Pause {
    fn text(&self) -> String {
        match self {
            Pause::Waiting { reason, .. } => format!("waiting: {reason}"),
            Pause::Parked { error, .. } => format!("parked: {error}"),
            Pause::Trouble { error } => format!("trouble of ours: {error}"),
            Pause::Lost => "given up: no longer this worker's".to_owned(),
        }
    }
}

async fn pause(daemon: &Daemon, lease: &Lease, pause: Pause) {
    let store = &daemon.line.store;
    let kept = match &pause {
        Pause::Lost => Ok(()),
        Pause::Waiting { reason, wait } => store.wait(lease, reason, clock::now() + *wait).await,
        Pause::Parked { error, alarm } => park(daemon, lease, error, *alarm).await,
        Pause::Trouble { error } => again(daemon, lease, error).await,
    };
    if let Err(error) = kept {
        // Then nobody beats for it any more, and it runs again when that is noticed.
        tracing::warn!("job {}: {error:#}", lease.job);
    }
}

async fn park(daemon: &Daemon, lease: &Lease, error: &str, alarm: AlarmKind) -> anyhow::Result<()> {
    daemon.line.store.retry(lease, error, None).await?;
    daemon.line.store.raise(alarm, &lease.version.to_string(), error).await
}

/// Operating errors are tried again, later and later; after a day somebody has to look.
async fn again(daemon: &Daemon, lease: &Lease, error: &str) -> anyhow::Result<()> {
    let now = clock::now();
    let queue = &daemon.line.config.queue;
    let lasts = lease.first_error.map(|first| now.duration_since(first));
    if lasts.is_some_and(|lasts| lasts >= queue.park) {
        return park(daemon, lease, error, AlarmKind::JobParked).await;
    }
    let due = now + retry_delay(queue.retry, lease.attempts, super::fraction());
    daemon.line.store.retry(lease, error, Some(due)).await
}
