//! Tells the service manager how the daemon is, and that it is alive for as long as it is.
//!
//! Alive means that the reaper's last look at store, leases and disk came to its end. Whatever a
//! restart cannot cure (python.org is away, the disk is nearly full) is said, but is no death.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch as signal;

use super::{Daemon, stopped};
use crate::supervisor;

/// How things are is said at least so often.
const SAY_EVERY: Duration = Duration::from_secs(15);

/// When everything was last seen to work.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    /// It begins alive.
    pub fn new() -> Pulse {
        Pulse(Arc::new(Mutex::new(Instant::now())))
    }

    /// Everything works.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Time since the last beat.
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Speaks for the daemon until it is told to stop.
pub async fn keep(daemon: Daemon, mut stop: signal::Receiver<bool>) {
    let watchdog = supervisor::watchdog();
    // Three chances to be heard.
    let every = watchdog.map_or(SAY_EVERY, |longest| (longest / 3).min(SAY_EVERY));
    loop {
        let longest = (daemon.heartbeat() * 2).max(watchdog.unwrap_or(SAY_EVERY));
        let is_alive = daemon.pulse.age() <= longest;
        if is_alive {
            supervisor::alive();
        }
        let status = status(&daemon, is_alive).await;
        supervisor::status(&status.unwrap_or_else(|error| format!("{error:#}")));
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

async fn status(daemon: &Daemon, is_alive: bool) -> anyhow::Result<String> {
    let [queued, running, parked] = daemon.line.store.queue_lengths().await?;
    let alarms = daemon.line.store.alarms().await?.len();
    let mut news = daemon.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !is_alive {
        news.push(format!("nothing could be looked at for {:.0?}", daemon.pulse.age()));
    }
    let fitness = if news.is_empty() { "ready".to_owned() } else { news.join("; ") };
    Ok(format!(
        "{queued} queued, {running} running, {parked} parked, {alarms} open alarms; {fitness}"
    ))
}
