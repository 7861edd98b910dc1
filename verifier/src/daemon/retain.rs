//! Compresses byproducts when they are old, and removes them when the operator's policy says so.
//!
//! Only what is over is touched: logs of jobs that can still run, and reports without a record, are
//! left alone. While nobody has looked at a clock that was set, nothing is removed: everything may
//! seem old.

use std::fs::{self, DirEntry, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::sync::watch as signal;

use super::{Daemon, stopped};
use crate::clock;
use crate::observation::AlarmKind;
use crate::retention::{self, COMPRESSED, Fate, UNFINISHED};

/// Days are what counts.
const ROUND_EVERY: Duration = Duration::from_secs(6 * 3600);

/// Looks at everything now and then, until it is told to stop.
pub async fn retain(daemon: Daemon, mut stop: signal::Receiver<bool>) {
    loop {
        let daemon = daemon.current();
        tokio::select! {
            () = round(&daemon) => {}
            () = stopped(&mut stop) => return,
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND_EVERY) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

/// One look at everything.
pub async fn round(daemon: &Daemon) {
    let looked = async {
        let Some(_turn) = turn(&daemon.journals())? else { return Ok(()) };
        let removes = !clock_was_set(daemon).await?;
        logs(daemon, removes).await?;
        reports(daemon, removes).await
    };
    if let Err(error) = looked.await {
        tracing::warn!("{error:#}");
    }
}

/// One process at a time; ours until the file is closed.
fn turn(journals: &Path) -> anyhow::Result<Option<File>> {
    let trying = || -> std::io::Result<Option<File>> {
        fs::create_dir_all(journals)?;
        let lock = File::open(journals)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    trying().with_context(|| format!("lock {}", journals.display()))
}

async fn clock_was_set(daemon: &Daemon) -> anyhow::Result<bool> {
    let alarms = daemon.line.store.alarms().await?;
    Ok(alarms.iter().any(|alarm| alarm.kind == AlarmKind::ClockJumped))
}

async fn logs(daemon: &Daemon, removes: bool) -> anyhow::Result<()> {
    let policy = daemon.line.config.retention;
    for (entry, modified) in entries(&daemon.journals())? {
        let path = entry.path();
        let fate = policy.log(modified, clock::now());
        if is_leftover(&path) {
            tidied(&path, fs::remove_file(&path).context("remove"));
            continue;
        }
        if fate == Fate::Keep || fate == Fate::Compress && is_compressed(&path) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.split('.').next().unwrap_or_default();
        let job = daemon.line.store.job(id).await?;
        if job.is_some_and(|job| !job.state.is_over()) {
            continue;
        }
        match fate {
            Fate::Remove if removes => tidied(&path, fs::remove_file(&path).context("remove")),
            Fate::Compress => compress(path).await,
            Fate::Remove | Fate::Keep => {}
        }
    }
    Ok(())
}

async fn reports(daemon: &Daemon, removes: bool) -> anyhow::Result<()> {
    let policy = daemon.line.config.retention;
    for (directory, _) in entries(&daemon.reports())? {
        let (path, id) = (directory.path(), directory.file_name().to_string_lossy().into_owned());
        if !path.is_dir() {
            continue;
        }
        let files = entries(&path)?;
        // Members were written within seconds of each other.
        let Some(newest) = files.iter().map(|(_, modified)| *modified).max() else { continue };
        match policy.report(newest, clock::now()) {
            Fate::Keep => continue,
            Fate::Remove if removes && !daemon.line.store.is_newest(&id).await? => {
                tidied(&path, fs::remove_dir_all(&path).context("remove"));
                continue;
            }
            Fate::Remove | Fate::Compress => {}
        }
        if policy.compress_after_days == 0 {
            continue;
        }
        for (file, _) in files {
            if is_leftover(&file.path()) {
                tidied(&file.path(), fs::remove_file(file.path()).context("remove"));
            } else if !is_compressed(&file.path()) {
                compress(file.path()).await;
            }
        }
    }
    Ok(())
}

/// What stands in a directory and when it was written; nothing if there is no such directory.
fn entries(directory: &Path) -> anyhow::Result<Vec<(DirEntry, SystemTime)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("read {}", directory.display()))?,
    };
    // What cannot be looked at is gone, or will be looked at next time.
    let timed = |entry: DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry));
    Ok(entries.flatten().filter_map(timed).map(|(modified, entry)| (entry, modified)).collect())
}

async fn compress(path: PathBuf) {
    let file = path.clone();
    let work = tokio::task::spawn_blocking(move || retention::compress(&file));
    let done = work.await.context("compress").and_then(|done| done);
    tidied(&path, done);
}

/// One file that cannot be tidied is no reason to leave the others.
fn tidied(path: &Path, done: anyhow::Result<()>) {
    match done {
        Ok(()) => tracing::debug!("tidied {}", path.display()),
        Err(error) => tracing::warn!("tidy {}: {error:#}", path.display()),
    }
}

fn is_compressed(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(COMPRESSED)
}

fn is_leftover(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(UNFINISHED)
}
