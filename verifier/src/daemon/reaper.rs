//! Gives up workers that show no sign of life, and moves what is due when the clock was set.

use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::watch as signal;

use super::{Daemon, stopped, unsigned};
use crate::clock::Jump;
use crate::observation::AlarmKind;

/// When each sign of life was first seen, on the monotonic clock.
type Seen = HashMap<(String, i64, i64), Instant>;

/// Looks at every sign of life, for ever.
pub async fn reap(daemon: Daemon, mut stop: signal::Receiver<bool>) {
    let mut seen = Seen::new();
    let mut jump = Jump::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(daemon.heartbeat()) => {}
            () = stopped(&mut stop) => return,
        }
        if let Err(error) = look(&daemon, &mut seen).await {
            tracing::warn!("{error:#}");
        }
        if let Err(error) = follow_clock(&daemon, &mut jump).await {
            tracing::warn!("{error:#}");
        }
    }
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

async fn follow_clock(daemon: &Daemon, jump: &mut Jump) -> anyhow::Result<()> {
    let milliseconds = jump.milliseconds();
    if milliseconds == 0 {
        return Ok(());
    }
    let detail = format!("the clock of this machine was set by {} s", milliseconds / 1000);
    tracing::warn!("{detail}");
    daemon.line.store.move_times(milliseconds).await?;
    daemon.wake.notify_one();
    daemon.line.store.raise(AlarmKind::ClockJumped, "clock", &detail).await
}
