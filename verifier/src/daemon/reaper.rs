//! Gives up workers that show no sign of life, moves what is due when the clock was set, and says
//! whether the daemon is fit for service.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::statvfs::statvfs;
use tokio::sync::watch as signal;

use super::{Daemon, asking, stopped, unsigned, watch};
use crate::clock::Jump;
use crate::observation::AlarmKind;

/// A rebuild needs a few gigabytes; with less than this nothing works.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Whoever sets the clock changes what is due for so long at most.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// When each sign of life was first seen, on the monotonic clock.
type Seen = HashMap<(String, i64, i64), Instant>;

/// Looks at every sign of life, for ever, and more often at the clock.
pub async fn reap(daemon: Daemon, mut stop: signal::Receiver<bool>) {
    let mut seen = Seen::new();
    let mut jump = Jump::new();
    let mut due = Instant::now();
    loop {
        let daemon = daemon.current();
        // First: by a clock that was set, everything else is late.
        if let Err(error) = follow_clock(&daemon, &mut jump).await {
            tracing::warn!("{error:#}");
        }
        if Instant::now() >= due {
            match fitness(&daemon).await {
                Ok(()) => daemon.pulse.beat(),
                Err(error) => tracing::warn!("{error:#}"),
            }
            if let Err(error) = look(&daemon, &mut seen).await {
                tracing::warn!("{error:#}");
            }
            due = Instant::now() + daemon.heartbeat();
        }
        tokio::select! {
            () = tokio::time::sleep(CLOCK_EVERY.min(daemon.heartbeat())) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

/// Gives up the workers that died in an earlier round: those that show no sign of life for a lease.
/// One that is alive is left alone.
pub async fn bury(daemon: &Daemon, stop: &mut signal::Receiver<bool>) -> anyhow::Result<()> {
    let mut seen = Seen::new();
    let patience = unsigned(daemon.line.config.queue.lease) + 2 * daemon.heartbeat();
    let begun = Instant::now();
    while !daemon.line.store.beats().await?.is_empty() && begun.elapsed() < patience {
        look(daemon, &mut seen).await?;
        tokio::select! {
            () = tokio::time::sleep(daemon.heartbeat()) => {}
            () = stopped(stop) => break,
        }
    }
    Ok(())
}

async fn look(daemon: &Daemon, seen: &mut Seen) -> anyhow::Result<()> {
    let now = Instant::now();
    let lease = unsigned(daemon.line.config.queue.lease);
    let beats = daemon.line.store.beats().await?;
    seen.retain(|key, _| beats.contains(key));
    for key in beats {
        let first = *seen.entry(key.clone()).or_insert(now);
        if now - first <= lease {
            continue;
        }
        let (job, fence, beat) = key;
        tracing::warn!("the worker of job {job} shows no sign of life: it runs again");
        daemon.line.store.give_up(&job, fence, beat).await?;
        daemon.wake.notify_one();
    }
    Ok(())
}

/// Says whether the daemon is fit for service, and raises the alarm if its disk is not.
async fn fitness(daemon: &Daemon) -> anyhow::Result<()> {
    let mut troubles = Vec::new();
    if watch::is_stale(daemon).await? {
        let error = daemon.line.store.fact(watch::LAST_ERROR).await?.unwrap_or_default();
        troubles.push(format!("python.org was not read for too long: {error}"));
    }
    let state = &daemon.line.config.state.directory;
    let disk = statvfs(state).with_context(|| format!("measure {}", state.display()))?;
    let free = disk.blocks_available() as u64 * disk.fragment_size() as u64;
    let (kind, subject) = (AlarmKind::DiskNearlyFull, "state.directory");
    if free < FREE_BYTES_MIN {
        let detail = format!("the state directory's disk has only {free} bytes left");
        daemon.line.store.raise(kind, subject, &detail).await?;
        troubles.push(detail);
    } else {
        daemon.line.store.settle_alarm(kind, subject).await?;
    }
    *daemon.troubles.lock().unwrap_or_else(PoisonError::into_inner) = troubles;
    Ok(())
}

async fn follow_clock(daemon: &Daemon, jump: &mut Jump) -> anyhow::Result<()> {
    let milliseconds = jump.milliseconds();
    if milliseconds == 0 {
        return Ok(());
    }
    let detail = format!("the clock of this machine was set by {} s", milliseconds / 1000);
    tracing::warn!("{detail}");
    let facts = [watch::LAST_SUCCESS, watch::NEXT_CHECK, asking::NOT_BEFORE];
    daemon.line.store.move_times(milliseconds, &facts).await?;
    daemon.wake.notify_one();
    daemon.line.store.raise(AlarmKind::ClockJumped, "clock", &detail).await
}
