//! The worker: the only part of the daemon that runs the line. One job at a time.

use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use tokio::sync::watch as signal;

use super::asking::{self, Purpose, throttled};
use super::{Daemon, beating, stopped};
use crate::clock;
use crate::feed::{self, AllowanceUsedUp};
use crate::http::without_secrets;
use crate::journal::{Journal, Kind, RUNNING};
use crate::line::{self, Choices, ForJob, Line, MovedTag};
use crate::progress::Progress;
use crate::queue::{Lease, LeaseLost, outlasts, retry_delay};
use crate::recipe::NotCovered;
use crate::record::Record;
use crate::release::Release;
use crate::source::{self, SourceError};

/// Jobs of other processes, and those whose time has come, are looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A job that waits for the API's allowance looks again after this time.
const ALLOWANCE_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// A release that is not complete is looked at again when it is older by such a part.
const AGE_PARTS: i32 = 4;
/// … but at least so often.
const INCOMPLETE_WAIT_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Recipes change with the program, whose start looks at what waits, or by an operator's hand.
const RECIPE_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// An attempt that has settled its job is over so soon.
const SETTLED_MAX: Duration = Duration::from_secs(5);

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
    /// The tag moved. Somebody has to look before it makes sense to try again.
    Moved { error: String, tag: source::TagMove },
    /// Trouble of ours; it makes no sense to try again any sooner.
    Trouble { error: String, wait: SignedDuration },
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
            let trouble = Pause::Trouble { error, wait: SignedDuration::ZERO };
            return pause(daemon, lease, trouble).await;
        }
    };
    journal.write(Kind::State, RUNNING);
    let line = Line { progress: Progress::to_journal(journal.clone()), ..daemon.line.clone() };
    let ended = tokio::select! {
        result = verified(&line, daemon, lease) => result.map_err(|error| paused(&error, daemon)),
        () = lost(daemon, lease) => Err(Pause::Lost),
        () = stopped(stop) => {
            journal.write(Kind::State, "stopped: it runs again");
            if let Err(error) = daemon.line.store.put_back(lease).await {
                tracing::warn!(parent: &span, "{error:#}");
            }
            return;
        }
    };
    match ended {
        Ok(state) => {
            journal.write(Kind::State, state);
            tracing::info!(parent: &span, "{state}");
        }
        Err(pause_of) => {
            journal.write(Kind::State, &pause_of.text());
            tracing::info!(parent: &span, "{}", pause_of.text());
            pause(daemon, lease, pause_of).await;
        }
    }
}

/// Returns when the lease is lost, and the attempt has had time to end that ended the lease itself.
async fn lost(daemon: &Daemon, lease: &Lease) {
    beating(daemon, lease).await;
    if daemon.line.store.is_last(lease).await.unwrap_or(false) {
        tokio::time::sleep(SETTLED_MAX).await;
    }
}

/// The line, on behalf of a job; gives what became of the job.
async fn verified(line: &Line, daemon: &Daemon, lease: &Lease) -> anyhow::Result<&'static str> {
    // Before anything is asked of anybody.
    line.definitions().candidates(&lease.version)?;
    let release = release(line, lease).await?;
    let age = age(&release);
    let job = ForJob { lease: lease.clone(), release, reports: daemon.reports() };
    let choices = Choices { report: None, moved_tag: MovedTag::Refuse, job: Some(job) };
    // Boxed: the compiler does not see through so deep a future that it may change threads.
    let verifying: Pin<Box<dyn Future<Output = anyhow::Result<Record>> + Send + '_>> =
        Box::pin(line::verify(line, &lease.version, &choices));
    if let Err(error) = verifying.await {
        return Err(untagged(line, age, error).await);
    }
    let job = line.store.job(&lease.job).await?;
    let is_over = job.is_some_and(|job| job.state.is_over());
    Ok(if is_over { "judged" } else { "rebuilt; it is rebuilt once more" })
}

/// The release with its files; python.org is asked only if they are not known.
async fn release(line: &Line, lease: &Lease) -> anyhow::Result<Release> {
    if let Some(release) = line.store.release(&lease.version).await?
        && incomplete(line, &release).is_none()
    {
        return Ok(release);
    }
    let version = &lease.version;
    let announced = line.store.announced(version).await?;
    let announced = announced.with_context(|| format!("python.org does not announce {version}"))?;
    let purpose = if lease.is_new { Purpose::Release } else { Purpose::Rest };
    let asked = asking::ask(line, purpose, async |client, feed| {
        feed::with_files(client, feed, &announced).await
    });
    let release = asked.await?;
    line.store.learn_first(&release, lease).await?;
    // With the files that this answer lacks.
    let release = line.store.release(version).await?.unwrap_or(release);
    match incomplete(line, &release) {
        Some(incomplete) => Err(incomplete.into()),
        None => Ok(release),
    }
}

/// What a release still lacks. Signatures come last, and one that is old and has none will not get
/// any.
fn incomplete(line: &Line, release: &Release) -> Option<Incomplete> {
    let age = age(release);
    if release.files.is_empty() {
        let reason = "python.org announces no source file yet".to_owned();
        return Some(Incomplete { reason, age });
    }
    let file = &release.unsigned()?.name;
    let reason = format!("python.org announces no signature of {file} yet");
    (age < line.config.queue.unsigned).then_some(Incomplete { reason, age })
}

/// An error that says no more than that the tag is not there is what the release lacks. A tag that
/// was listed a moment ago is about to be: it is waited for as for that of a new release.
async fn untagged(line: &Line, age: SignedDuration, error: anyhow::Error) -> anyhow::Error {
    let no_tag = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(SourceError::NoTag { repository, tag }) => Some((repository, tag)),
        _ => None,
    });
    let Some((repository, tag)) = no_tag else { return error };
    let reason = format!("the repository has no tag {tag} yet");
    match line.store.has_tag(repository, tag).await {
        Ok(true) => Incomplete { reason, age: SignedDuration::ZERO }.into(),
        Ok(false) => Incomplete { reason, age }.into(),
        Err(error) => error,
    }
}

/// Since the date of the release, or until then.
fn age(release: &Release) -> SignedDuration {
    clock::now().duration_since(release.announced).abs()
}

#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct Incomplete {
    reason: String,
    /// The older the release, the longer is waited.
    age: SignedDuration,
}

/// Which kind of trouble this is.
fn paused(error: &anyhow::Error, daemon: &Daemon) -> Pause {
    // Everybody sees it: in the journal, of the job, in the alarm.
    let text = without_secrets(&format!("{error:#}")).into_owned();
    let wait = daemon.line.config.queue.wait;
    for cause in error.chain() {
        if cause.is::<LeaseLost>() {
            return Pause::Lost;
        }
        if cause.is::<NotCovered>() {
            return Pause::Waiting { reason: text, wait: RECIPE_WAIT };
        }
        if let Some(Incomplete { age, .. }) = cause.downcast_ref() {
            // Each look is a request to the API, or fetches the files: the older, the more seldom.
            let wait = wait.max((*age / AGE_PARTS).min(INCOMPLETE_WAIT_MAX));
            return Pause::Waiting { reason: text, wait };
        }
        if cause.is::<AllowanceUsedUp>() {
            let reason = AllowanceUsedUp.to_string();
            return Pause::Waiting { reason, wait: ALLOWANCE_WAIT };
        }
        match cause.downcast_ref::<SourceError>() {
            Some(SourceError::Moved(tag)) => {
                return Pause::Moved { error: text, tag: tag.clone() };
            }
            Some(
                SourceError::NoTag { .. }
                | SourceError::Unreachable { .. }
                | SourceError::Empty { .. },
            )
            | None => {}
        }
    }
    let wait = throttled(error).unwrap_or_default().cast_signed();
    Pause::Trouble { error: text, wait: SignedDuration::from_secs(wait) }
}

impl Pause {
    fn text(&self) -> String {
        match self {
            Pause::Waiting { reason, .. } => format!("waiting: {reason}"),
            Pause::Moved { error, .. } => format!("parked: {error}"),
            Pause::Trouble { error, .. } => format!("trouble of ours: {error}"),
            Pause::Lost => "given up: no longer this worker's".to_owned(),
        }
    }
}

async fn pause(daemon: &Daemon, lease: &Lease, pause: Pause) {
    let store = &daemon.line.store;
    let kept = match &pause {
        Pause::Lost => Ok(()),
        Pause::Waiting { reason, wait } => store.wait(lease, reason, clock::now() + *wait).await,
        Pause::Moved { tag, .. } => store.park_moved(lease, tag).await,
        Pause::Trouble { error, wait } => again(daemon, lease, error, *wait).await,
    };
    if let Err(error) = kept {
        // Then nobody beats for it any more, and it runs again when that is noticed.
        tracing::warn!("job {}: {error:#}", lease.job);
    }
}

/// Operating errors are tried again, later and later; in the end somebody has to look.
async fn again(
    daemon: &Daemon,
    lease: &Lease,
    error: &str,
    wait: SignedDuration,
) -> anyhow::Result<()> {
    let (store, queue) = (&daemon.line.store, &daemon.line.config.queue);
    if outlasts(queue.retry, queue.park, lease.attempts) {
        return store.park(lease, error).await;
    }
    let delay = retry_delay(queue.retry, lease.attempts, super::fraction());
    store.retry(lease, error, clock::now() + delay.max(wait)).await
}
