//! The daemon: watches python.org, queues releases, works the queue off, tells webhooks, for years.
//!
//! Timers enqueue; only the worker runs the line. It can be killed at any moment: everything that
//! was promised to anybody is in the store before it is promised, and a job whose worker died runs
//! again. Several daemons may work on one store; fences keep them from recording twice.

mod asking;
mod deliver;
mod files;
mod glance;
mod reaper;
mod reload;
mod retain;
mod vigil;
mod watch;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use tokio::sync::{Notify, watch as signal};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::line::Line;
use crate::queue::{Lease, LeaseLost};
use crate::recipe::NotCovered;
use crate::server::{Gate, Site};
use crate::version::Version;

use self::vigil::Pulse;

pub use reload::{Reload, follow as follow_hangups, hangups};

/// Containers are gone and leases put back within this time after a signal to end.
const STOP_SECONDS_MAX: u64 = 8;
/// A report without a record is removed when it is so old: no worker is at it any more.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// What the daemon's parts share.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The line that its worker runs.
    pub line: Line,
    /// Notified when a job was queued.
    pub wake: Arc<Notify>,
    /// The webhooks that it tells.
    couriers: deliver::Couriers,
    /// Why it is not fit for service, in sentences; the reaper looks.
    pub troubles: Arc<Mutex<Vec<String>>>,
    /// The settings that hold now; `line.config` has those of when this value was made.
    config: Arc<signal::Sender<Config>>,
    /// Who may ask without a token.
    gate: Arc<Gate>,
    /// When the reaper last saw that everything works.
    pulse: Pulse,
}

impl Daemon {
    /// Prepares to work on the line's store; refuses a damaged one.
    pub async fn new(line: Line) -> anyhow::Result<Daemon> {
        line.store.check_integrity().await?;
        // Making one removes what runs that were killed have left.
        drop(line.scratch()?);
        let couriers = deliver::Couriers::new(&line.config.webhooks, &line.store).await?;
        let config = Arc::new(signal::Sender::new(line.config.clone()));
        let gate = Arc::new(Gate::new(&line.config.server));
        let daemon = Daemon {
            line,
            couriers,
            wake: Arc::new(Notify::new()),
            troubles: Arc::new(Mutex::new(vec!["it has only just begun".to_owned()])),
            config,
            gate,
            pulse: Pulse::new(),
        };
        daemon.remove_orphans().await?;
        // A recipe may have come with this very program. What has to be asked of python.org is due
        // when it is due: a program that is started often must not use up its allowance.
        daemon.line.store.hasten_waiting(NotCovered::is).await?;
        daemon.line.store.mend_times().await?;
        Ok(daemon)
    }

    /// Works until `stop` says so: then the job that runs is put back, and this returns.
    pub async fn run(&self, stop: signal::Receiver<bool>) -> anyhow::Result<()> {
        let mut parts = JoinSet::new();
        // Tasks of the runtime, on threads that last: containers die with the thread that starts
        // them.
        parts.spawn(worker::work(self.clone(), stop.clone()));
        parts.spawn(watch::watch(self.clone(), stop.clone()));
        parts.spawn(reaper::reap(self.clone(), stop.clone()));
        parts.spawn(retain::retain(self.clone(), stop.clone()));
        parts.spawn(deliver::deliver(self.clone(), stop.clone()));
        parts.spawn(vigil::keep(self.clone(), stop.clone()));
        let mut stopping = stop;
        let first = tokio::select! {
            part = parts.join_next() => part,
            () = stopped(&mut stopping) => None,
        };
        if let Some(ended) = first {
            // None of them ends by itself: this is a bug, and a restart is the cure.
            ended.context("a part of the daemon died")?;
        }
        let rest = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(STOP_SECONDS_MAX), rest).await.is_err() {
            tracing::warn!("not everything ended in time; the rest is dropped");
        }
        Ok(())
    }

    /// One round: a look at python.org, then every job that is due now, then the end. Whatever it
    /// is at when it is told to stop is dropped; a job that runs is put back first.
    pub async fn once(&self, mut stop: signal::Receiver<bool>) -> anyhow::Result<()> {
        let looked = tokio::select! {
            looked = watch::round(self) => looked,
            () = stopped(&mut stop) => return Ok(()),
        };
        reaper::bury(self, &mut stop).await?;
        worker::drain(self, stop.clone()).await;
        let rest = async {
            deliver::round(self).await;
            retain::round(self).await;
        };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => Ok(()),
            () = rest => looked,
        }
    }

    /// The daemon with the settings that hold now: each round of a part begins with it.
    pub fn current(&self) -> Daemon {
        let config = self.config.borrow().clone();
        Daemon { line: Line { config, ..self.line.clone() }, ..self.clone() }
    }

    /// Follows the settings: changed when an operator changed some.
    fn settings(&self) -> signal::Receiver<Config> {
        self.config.subscribe()
    }

    /// What the server shows, and whom it wakes.
    pub fn site(&self) -> Site {
        let (line, config) = (self.line.clone(), self.config.clone());
        let troubles = self.troubles.clone();
        let troubles = move || troubles.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Site {
            store: self.line.store.clone(),
            journals: self.journals(),
            reports: self.reports(),
            elsewhere: self.line.config.elsewhere(),
            settings: Arc::new(self.line.config.server.clone()),
            gate: self.gate.clone(),
            wake: self.wake.clone(),
            health: Arc::new(troubles),
            uncovered: Arc::new(move |version| uncovered(&line, version)),
            allowance: Arc::new(move || config.borrow().feed.requests_per_day),
        }
    }

    /// Where the reports of records are.
    pub fn reports(&self) -> PathBuf {
        reports(&self.line.config.state.directory)
    }

    /// Where the journals of jobs are.
    pub fn journals(&self) -> PathBuf {
        journals(&self.line.config.state.directory)
    }

    /// How often a worker shows a sign of life.
    fn heartbeat(&self) -> Duration {
        unsigned(self.line.config.queue.lease) / 4
    }

    /// Removes the reports of runs that were killed before they recorded.
    async fn remove_orphans(&self) -> anyhow::Result<()> {
        let reports = self.reports();
        std::fs::create_dir_all(&reports).with_context(|| format!("make {}", reports.display()))?;
        let entries =
            std::fs::read_dir(&reports).with_context(|| format!("read {}", reports.display()))?;
        for entry in entries.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
            if age > ORPHAN_AGE && self.line.store.document(&id).await?.is_none() {
                let path = entry.path();
                std::fs::remove_dir_all(&path)
                    .with_context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Why `version` cannot be rebuilt by anybody yet.
fn uncovered(line: &Line, version: &Version) -> Option<String> {
    // Any other trouble is the job's to tell.
    let error = line.definitions().candidates(version).err()?;
    error.downcast_ref::<NotCovered>().map(ToString::to_string)
}

/// Where the reports of records are, in a state directory.
pub fn reports(state: &Path) -> PathBuf {
    state.join("reports")
}

/// Where the journals of jobs are, in a state directory.
pub fn journals(state: &Path) -> PathBuf {
    state.join("jobs")
}

/// Shows signs of life until the lease is lost.
async fn beating(daemon: &Daemon, lease: &Lease) -> LeaseLost {
    loop {
        tokio::time::sleep(daemon.heartbeat()).await;
        match daemon.line.store.beat(lease).await {
            Ok(()) => {}
            Err(error) => match error.downcast::<LeaseLost>() {
                Ok(lost) => return lost,
                // A store that is locked for a while: the next beat may come through.
                Err(error) => tracing::warn!("job {}: {error:#}", lease.job),
            },
        }
    }
}

/// Random enough to spread what is tried again, from 0 to 1: the tail of a UUID.
fn fraction() -> f64 {
    (uuid::Uuid::now_v7().as_u128() & 0xffff) as f64 / 65536.0
}

/// Ends when the daemon is told to stop; also when nobody is left who could tell it.
async fn stopped(stop: &mut signal::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A span of the configuration, which allows no negative ones.
fn unsigned(span: SignedDuration) -> Duration {
    span.unsigned_abs()
}
