//! A whole copy of the store, made while the daemon runs; and putting one in the store's place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::{LOCKED_SECONDS_MAX, MIGRATIONS, turn};
use crate::clock;

/// Whether somebody has the store open is known at once.
const IN_USE_WAIT: Duration = Duration::from_millis(500);

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Records in it.
    pub records: i64,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// Writes the store at `path` to the new file `to`, as it is at one moment; it is on disk and was
/// read back when this returns. Others may go on writing to the store meanwhile.
pub async fn back_up(path: &Path, to: &Path) -> anyhow::Result<Copied> {
    if to.exists() {
        bail!("{} is there already", to.display());
    }
    let partial = beside(to, ".partial");
    remove(&partial)?;
    let mut store = open(path, Duration::from_secs(LOCKED_SECONDS_MAX)).await?;
    sqlx::query("VACUUM INTO ?")
        .bind(partial.display().to_string())
        .execute(&mut store)
        .await
        .with_context(|| format!("copy the store {} to {}", path.display(), partial.display()))?;
    store.close().await.context("close the store")?;
    let copied = examined(&partial).await?;
    put(&partial, to)?;
    Ok(copied)
}

/// Puts the copy `from` in the place of the store at `path`, which is kept: gives its new name.
/// Refuses a copy that is damaged or of a newer version, and a store that somebody uses.
pub async fn restore(from: &Path, path: &Path) -> anyhow::Result<(Copied, Option<PathBuf>)> {
    let directory = path.parent().context("the store lies in no directory")?;
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let _turn = turn(directory).await.with_context(|| format!("lock {}", directory.display()))?;
    let partial = beside(path, ".partial");
    fs::copy(from, &partial)
        .with_context(|| format!("copy {} to {}", from.display(), partial.display()))?;
    let copied = match examined(&partial).await {
        Ok(copied) => copied,
        Err(error) => {
            remove(&partial)?;
            return Err(error.context(format!("{} cannot be restored", from.display())));
        }
    };
    let kept = if path.exists() { Some(set_aside(path).await?) } else { None };
    put(&partial, path)?;
    Ok((copied, kept))
}

/// Gives the store another name beside its own, so that it is never away.
async fn set_aside(path: &Path) -> anyhow::Result<PathBuf> {
    let aside = beside(path, &format!(".before-{}", clock::now().strftime("%Y%m%dT%H%M%S%.3fZ")));
    // In this mode the store is one file; there is no way to it while somebody else has it open.
    let alone = async {
        let mut store = open(path, IN_USE_WAIT).await?;
        sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut store).await?;
        store.close().await?;
        anyhow::Ok(())
    };
    if let Err(error) = alone.await {
        let text = format!("{error:#}");
        if text.contains("locked") || text.contains("busy") {
            bail!("{} is in use: stop the daemon first", path.display());
        }
        // A damaged store is why it is replaced: its journal goes with it.
        tracing::warn!("the store that is replaced: {text}");
    }
    for end in ["-wal", "-shm"] {
        let journal = beside(path, end);
        if journal.exists() {
            fs::rename(&journal, beside(&aside, end))
                .with_context(|| format!("set {} aside", journal.display()))?;
        }
    }
    fs::hard_link(path, &aside).with_context(|| format!("set {} aside", path.display()))?;
    Ok(aside)
}

/// Reads a copy whole; an error if it is damaged, no store of ours or of a newer version.
async fn examined(copy: &Path) -> anyhow::Result<Copied> {
    let reading = || format!("read {}", copy.display());
    let mut store = open(copy, Duration::ZERO).await?;
    let answer: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut store)
        .await
        .with_context(reading)?;
    if answer != "ok" {
        bail!("it is damaged: {answer}");
    }
    let schema: i64 = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(&mut store)
        .await
        .context("it is no store of records")?;
    let newest = MIGRATIONS.iter().map(|step| step.version).max().unwrap_or_default();
    if schema > newest {
        bail!("it was written by a newer verbatim (schema {schema}, this one knows {newest})");
    }
    let records: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM records")
        .fetch_one(&mut store)
        .await
        .with_context(reading)?;
    store.close().await.with_context(reading)?;
    let bytes = fs::metadata(copy).with_context(reading)?.len();
    Ok(Copied { records, bytes })
}

async fn open(path: &Path, wait: Duration) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::from_str("sqlite:")?.filename(path).busy_timeout(wait);
    options.connect().await.with_context(|| format!("open the store {}", path.display()))
}

/// Moves a file to its place, for good.
fn put(partial: &Path, to: &Path) -> anyhow::Result<()> {
    let moving = || format!("write {}", to.display());
    File::open(partial).and_then(|file| file.sync_all()).with_context(moving)?;
    fs::rename(partial, to).with_context(moving)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new("."))).with_context(moving)?;
    directory.sync_all().with_context(moving)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
