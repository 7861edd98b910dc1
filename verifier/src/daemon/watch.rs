//! Watches python.org: what is announced, and whether what was published stays what it is.
//!
//! It enqueues and observes; it never runs the line. An answer that is empty, cut or broken changes
//! nothing that is known.

use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::SignedDuration;
use tokio::sync::watch as signal;

use super::{Daemon, stopped, unsigned};
use crate::clock;
use crate::feed;
use crate::http::{Get, HttpError, Transport};
use crate::observation::AlarmKind;
use crate::scratch::Scratch;
use crate::store::{FileLook, FileRow, Look};

/// Published files are looked at this often, a few at a time.
const FILES_EVERY: Duration = Duration::from_secs(60);
/// Files looked at in one go: some thousands a day.
const HEADS_AT_ONCE: u32 = 10;
const HASHES_AT_ONCE: u32 = 1;
/// The longest wait after python.org could not be read.
const BACKOFF_MAX: Duration = Duration::from_secs(4 * 3600);
/// A list that could not be read for so many intervals is stale.
const STALE_INTERVALS: i32 = 4;
/// Ten times today's .tgz.
const FILE_BYTES_MAX: u64 = 300 << 20;
const FILE_SECONDS_MAX: u64 = 1800;

/// The facts that are kept of the feed.
pub const LAST_SUCCESS: &str = "feed.last_success";
pub const LAST_ERROR: &str = "feed.last_error";
pub const NEXT_CHECK: &str = "feed.next_check";

/// Looks at python.org for ever.
pub async fn watch(daemon: Daemon, mut stop: signal::Receiver<bool>) {
    let mut settings = daemon.settings();
    let mut failures: u32 = 0;
    let mut next_list = Instant::now();
    let mut next_files = Instant::now() + FILES_EVERY;
    loop {
        let daemon = daemon.current();
        let interval = unsigned(daemon.line.config.feed.interval);
        let now = Instant::now();
        if now >= next_list {
            let wait = match list(&daemon).await {
                Ok(()) => {
                    failures = 0;
                    interval
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    trouble(&daemon, &error).await;
                    wait_after(&error, interval, failures)
                }
            };
            next_list = Instant::now() + wait;
            note_next(&daemon, wait).await;
        }
        if now >= next_files {
            if let Err(error) = files(&daemon).await {
                tracing::warn!("{error:#}");
            }
            next_files = Instant::now() + FILES_EVERY;
        }
        let next = next_list.min(next_files);
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            Ok(()) = settings.changed() => {
                // A shorter interval counts from now; a wait that python.org asked for stays.
                let interval = unsigned(settings.borrow().feed.interval);
                if failures == 0 {
                    next_list = next_list.min(Instant::now() + interval);
                }
            }
            () = stopped(&mut stop) => return,
        }
    }
}

/// One look at everything.
pub async fn round(daemon: &Daemon) -> anyhow::Result<()> {
    let listed = list(daemon).await;
    if let Err(error) = &listed {
        trouble(daemon, error).await;
    }
    files(daemon).await?;
    listed
}

/// Asks for the list of releases, and queues what is new.
async fn list(daemon: &Daemon) -> anyhow::Result<()> {
    let (line, feed) = (&daemon.line, &daemon.line.config.feed);
    let left = line.store.take_api_request(feed.requests_per_day).await?;
    left.context("ask python.org what is released: the day's requests are used up")?;
    let releases = feed::releases(&line.client, feed).await?;
    let queued = line.store.learn(&releases, feed.since).await?;
    line.store.set_fact(LAST_SUCCESS, &clock::now().to_string()).await?;
    line.store.set_fact(LAST_ERROR, "").await?;
    line.store.settle_alarm(AlarmKind::FeedStale, "feed").await?;
    tracing::info!("python.org announces {} releases; {queued} queued", releases.len());
    if queued > 0 {
        daemon.wake.notify_one();
    }
    Ok(())
}

/// Keeps what went wrong, and raises the alarm when it lasts too long.
async fn trouble(daemon: &Daemon, error: &anyhow::Error) {
    let text = format!("{error:#}");
    tracing::warn!("{text}");
    let store = &daemon.line.store;
    let kept = async {
        store.set_fact(LAST_ERROR, &text).await?;
        if is_stale(daemon).await? {
            store.raise(AlarmKind::FeedStale, "feed", &text).await?;
        }
        anyhow::Ok(())
    };
    if let Err(error) = kept.await {
        tracing::warn!("{error:#}");
    }
}

/// Whether the list of releases could not be read for too long.
pub async fn is_stale(daemon: &Daemon) -> anyhow::Result<bool> {
    let Some(last) = daemon.line.store.fact(LAST_SUCCESS).await? else { return Ok(true) };
    let last: jiff::Timestamp = last.parse().context("read when the feed was last read")?;
    let longest = daemon.line.config.feed.interval.saturating_mul(STALE_INTERVALS);
    Ok(clock::now().duration_since(last) > longest)
}

/// As long as the server asks; else later and later, but no later than usual if that is later.
fn wait_after(error: &anyhow::Error, interval: Duration, failures: u32) -> Duration {
    for cause in error.chain() {
        if let Some(HttpError::Throttled { retry_after_seconds, .. }) = cause.downcast_ref() {
            return Duration::from_secs((*retry_after_seconds).min(24 * 3600)).max(interval);
        }
    }
    let doubled = interval.saturating_mul(1_u32.checked_shl(failures.min(10)).unwrap_or(1));
    doubled.min(BACKOFF_MAX.max(interval))
}

async fn note_next(daemon: &Daemon, wait: Duration) {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_hours(24));
    let next = (clock::now() + wait).to_string();
    if let Err(error) = daemon.line.store.set_fact(NEXT_CHECK, &next).await {
        tracing::warn!("{error:#}");
    }
}

/// Looks again at the published files that are due.
async fn files(daemon: &Daemon) -> anyhow::Result<()> {
    let store = &daemon.line.store;
    for (look, count) in [(Look::Head, HEADS_AT_ONCE), (Look::Hash, HASHES_AT_ONCE)] {
        for file in store.files_due(look, count).await? {
            let found = match look {
                Look::Head => head(daemon, &file).await,
                Look::Hash => hash(daemon, &file).await,
            };
            match found {
                Ok(found) => {
                    if store.looked(&file, look, &found).await? {
                        daemon.wake.notify_one();
                    }
                }
                // Trouble on the way says nothing about the file.
                Err(error) => tracing::warn!("look at {} again: {error:#}", file.name),
            }
        }
    }
    Ok(())
}

fn get(file: &FileRow) -> Get {
    Get {
        url: file.url.clone(),
        size_bytes_max: FILE_BYTES_MAX,
        seconds_max: FILE_SECONDS_MAX,
        transport: Transport::Secure,
    }
}

/// Size and date, as the server gives them without sending the file.
async fn head(daemon: &Daemon, file: &FileRow) -> anyhow::Result<FileLook> {
    let head = match daemon.line.client.head(&get(file)).await {
        Ok(head) => head,
        Err(HttpError::NotFound { url, status }) => return Ok(vanished(file, &url, status)),
        Err(error) => return Err(error.into()),
    };
    if head.size.is_some_and(|size| size != file.bytes.unsigned_abs()) {
        let detail = format!(
            "{} had {} bytes and is now served with {}",
            file.name,
            file.bytes,
            head.size.unwrap_or_default()
        );
        return Ok(FileLook::Changed { detail });
    }
    let redated = file.modified.is_some() && head.modified != file.modified;
    // A new date proves nothing: the bytes do.
    if redated { hash(daemon, file).await } else { Ok(FileLook::Same { modified: head.modified }) }
}

/// Every byte.
async fn hash(daemon: &Daemon, file: &FileRow) -> anyhow::Result<FileLook> {
    let place = daemon.line.config.state.directory.join("scratch");
    let scratch = Scratch::new(&place, "look").context("make room for a file")?;
    let path = scratch.file("file");
    let (sha256, bytes) = match daemon.line.client.download(&get(file), &path, &|_| {}).await {
        Ok(found) => found,
        Err(HttpError::NotFound { url, status }) => return Ok(vanished(file, &url, status)),
        Err(error) => return Err(error.into()),
    };
    if sha256.to_string() != file.sha256 {
        let detail = format!(
            "{} had the SHA-256 {} and is now served with {sha256} ({bytes} bytes)",
            file.name, file.sha256
        );
        return Ok(FileLook::Changed { detail });
    }
    let head = daemon.line.client.head(&get(file)).await?;
    Ok(FileLook::Same { modified: head.modified })
}

fn vanished(file: &FileRow, url: &url::Url, status: u16) -> FileLook {
    FileLook::Vanished { detail: format!("{} is not served any more: {url}, {status}", file.name) }
}
