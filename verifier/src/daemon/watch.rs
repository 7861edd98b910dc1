//! Watches python.org: what is announced, and whether what is known of it stays true.
//!
//! It enqueues and observes; it never runs the line. An answer that is empty, cut or broken changes
//! nothing that is known.

use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::SignedDuration;
use tokio::sync::watch as signal;

use super::asking::{self, Purpose, has_spare_requests, throttled};
use super::glance::Glance;
use super::{Daemon, files, stopped, unsigned};
use crate::clock;
use crate::feed::{self, AllowanceUsedUp};
use crate::http::without_secrets;
use crate::observation::AlarmKind;

/// Published files are looked at this often, a few at a time.
const FILES_EVERY: Duration = Duration::from_secs(60);
/// The longest wait after python.org could not be read.
const BACKOFF_MAX: Duration = Duration::from_secs(4 * 3600);
/// A list that could not be read for so many intervals is stale.
const STALE_INTERVALS: i32 = 4;
/// After the first sign of a release the list is read more often, so many times as often, …
const EXPECTING_LOOKS: u32 = 4;
/// … for so long: the API's rows may come hours after the files.
const EXPECTING_MAX: Duration = Duration::from_secs(6 * 3600);

/// The facts that are kept of the feed.
pub const LAST_SUCCESS: &str = "feed.last_success";
pub const LAST_ERROR: &str = "feed.last_error";
pub const NEXT_CHECK: &str = "feed.next_check";

/// Looks at python.org until it is told to stop, and then drops what it is at.
pub async fn watch(daemon: Daemon, mut stop: signal::Receiver<bool>) {
    tokio::select! {
        () = look(&daemon) => {}
        () = stopped(&mut stop) => {}
    }
}

/// When what is due next.
struct Due {
    list: Instant,
    glance: Instant,
    files: Instant,
    /// The list is not asked for earlier, whatever happens: python.org or our backoff wants it so.
    not_before: Instant,
    /// Until when a release is expected of which there was a sign.
    expecting: Option<Instant>,
    /// Whether the list is read next before its usual time.
    sooner: bool,
    /// Looks at the list that failed, since one that did not.
    failures: u32,
}

async fn look(daemon: &Daemon) {
    let mut settings = daemon.settings();
    let now = Instant::now();
    let mut due = Due {
        list: now,
        glance: now,
        files: now + FILES_EVERY,
        not_before: now,
        expecting: None,
        sooner: false,
        failures: 0,
    };
    let mut glance = Glance::default();
    loop {
        look_at_what_is_due(&daemon.current(), &mut due, &mut glance).await;
        let next = due.list.min(due.glance).min(due.files);
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            Ok(()) = settings.changed() => {
                // A shorter interval counts from now; a wait that python.org asked for stays.
                let feed = settings.borrow().feed.clone();
                due.glance = due.glance.min(Instant::now() + unsigned(feed.glance));
                if due.failures == 0 {
                    due.list = due.list.min(Instant::now() + unsigned(feed.interval));
                }
            }
        }
    }
}

async fn look_at_what_is_due(daemon: &Daemon, due: &mut Due, glance: &mut Glance) {
    if Instant::now() >= due.list {
        look_at_list(daemon, due).await;
    }
    if Instant::now() >= due.glance {
        if glance.look(daemon).await {
            due.expecting = Some(Instant::now() + EXPECTING_MAX);
            bring_forward(daemon, due).await;
        }
        due.glance = Instant::now() + unsigned(daemon.line.config.feed.glance);
    }
    if Instant::now() >= due.files {
        if let Err(error) = files::look(daemon).await {
            tracing::warn!("{error:#}");
        }
        due.files = Instant::now() + FILES_EVERY;
    }
}

/// A release is about to be announced: the list is read now, if that may be.
async fn bring_forward(daemon: &Daemon, due: &mut Due) {
    if has_spare_requests(&daemon.line).await {
        due.sooner = true;
        due.list = due.list.min(Instant::now().max(due.not_before));
    }
}

async fn look_at_list(daemon: &Daemon, due: &mut Due) {
    let interval = unsigned(daemon.line.config.feed.interval);
    // What is read more often than usual is not what is left for the list.
    let purpose = match std::mem::take(&mut due.sooner) {
        true => Purpose::Rest,
        false => Purpose::List,
    };
    let wait = match list(daemon, purpose).await {
        Ok(queued) => {
            due.failures = 0;
            if queued > 0 {
                due.expecting = None;
            }
            if let Err(error) = refresh(daemon).await {
                tracing::warn!("{error:#}");
            }
            let expecting = due.expecting.is_some_and(|until| Instant::now() < until);
            due.sooner = expecting && has_spare_requests(&daemon.line).await;
            due.not_before = Instant::now();
            if due.sooner { interval / EXPECTING_LOOKS } else { interval }
        }
        Err(error) => {
            due.failures = due.failures.saturating_add(1);
            trouble(daemon, &error).await;
            let wait = wait_after(&error, interval, due.failures);
            due.not_before = Instant::now() + wait;
            wait
        }
    };
    due.list = Instant::now() + wait;
    note_next(daemon, wait).await;
}

/// One look at everything.
pub async fn round(daemon: &Daemon) -> anyhow::Result<()> {
    let listed = list(daemon, Purpose::List).await;
    match &listed {
        Ok(_) => {
            if let Err(error) = refresh(daemon).await {
                tracing::warn!("{error:#}");
            }
        }
        Err(error) => trouble(daemon, error).await,
    }
    Glance::default().look(daemon).await;
    files::look(daemon).await?;
    listed.map(|_| ())
}

/// Asks for the list of releases, and queues what is new; gives how many that were.
async fn list(daemon: &Daemon, purpose: Purpose) -> anyhow::Result<usize> {
    let (line, feed) = (&daemon.line, &daemon.line.config.feed);
    let asked = asking::ask(line, purpose, feed::releases).await;
    let releases = asked.context("ask python.org what is released")?;
    let queued = line.store.learn(&releases, feed.since).await?;
    line.store.set_fact(LAST_SUCCESS, &clock::now().to_string()).await?;
    line.store.set_fact(LAST_ERROR, "").await?;
    line.store.settle_alarm(AlarmKind::FeedStale, "feed").await?;
    tracing::info!("python.org announces {} releases; {queued} queued", releases.len());
    if queued > 0 {
        daemon.wake.notify_one();
    }
    Ok(queued)
}

/// Asks again for the files and claims of the release for which that is due most.
async fn refresh(daemon: &Daemon) -> anyhow::Result<()> {
    let (line, feed) = (&daemon.line, &daemon.line.config.feed);
    let Some(known) = line.store.stalest_release(feed.refresh).await? else { return Ok(()) };
    let version = &known.version;
    let asked = asking::ask(line, Purpose::Rest, async |client, feed| {
        feed::with_files(client, feed, &known).await
    });
    let asked = asked.await;
    let asked = asked.and_then(|release| {
        let any = !release.files.is_empty();
        any.then_some(release).context("the answer names no source file: it is not believed")
    });
    match asked {
        Ok(release) => {
            if line.store.learn_files(&release).await? {
                daemon.wake.notify_one();
            }
            Ok(())
        }
        Err(error) if error.is::<AllowanceUsedUp>() => Ok(()),
        Err(error) => {
            line.store.asked_in_vain(version).await?;
            Err(error.context(format!("ask for the files of {version} again")))
        }
    }
}

/// Keeps what went wrong, and raises the alarm when it lasts too long.
async fn trouble(daemon: &Daemon, error: &anyhow::Error) {
    let text = without_secrets(&format!("{error:#}")).into_owned();
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
    // A time to come is of a clock that was wrong, and says nothing.
    Ok(clock::now().duration_since(last).abs() > longest)
}

/// As long as the server asks; else later and later, but no later than usual if that is later.
fn wait_after(error: &anyhow::Error, interval: Duration, failures: u32) -> Duration {
    if let Some(seconds) = throttled(error) {
        return Duration::from_secs(seconds).max(interval);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpError;

    #[test]
    fn waits_double_up_to_four_hours_and_a_wait_that_is_asked_for_holds() {
        let half = Duration::from_secs(1_800);
        let trouble = anyhow::anyhow!("no answer");
        let minutes = |failures| wait_after(&trouble, half, failures).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 99].map(minutes), [60, 120, 240, 240, 240]);
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(wait_after(&trouble, day, 1), day);
        let url = "https://www.python.org/".parse().unwrap();
        let throttled = HttpError::Throttled { url, retry_after_seconds: 7_200 }.into();
        assert_eq!(wait_after(&throttled, half, 1).as_secs(), 7_200);
        assert_eq!(wait_after(&throttled, day, 1), day);
    }
}
