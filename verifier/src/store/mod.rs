//! Room 5, record: the one module that speaks SQL.
//!
//! Records are added and read, nothing else. Beside them the store keeps what the daemon has to
//! remember: releases as last believed, the queue, observations and alarms.
//!
//! It promises: when a function that writes returns, what it wrote is on disk; what one function
//! writes is there as a whole or not at all.

mod backup;
mod current;
mod deliveries;
mod disputes;
mod lease;
mod notices;
mod pages;
mod queue;
mod rebuilt;
mod records;
mod releases;
mod shown;
mod sight;
mod standing;
mod tags;
mod times;
mod tokens;
mod watch;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

pub use backup::{Copied, back_up, restore};
pub use current::FileStanding;
pub use deliveries::{DeliveryRow, DeliveryState};
pub use disputes::Unsettled;
pub use notices::{ApiRequest, NOTICE, notice_of};
pub use pages::{DurationRow, Totals};
pub use records::{ArtifactRow, ChangeRow, RecordRow};
pub use releases::ReleaseRow;
pub use shown::{LiveJob, ReleaseLine};
pub use standing::{ChangeNews, JobStanding, Standing};
pub use tags::TagNews;
pub use tokens::{Scope, TokenRow};
pub use watch::{FileLook, FileRow, Look};

use crate::fault;

/// Another process may hold the store this long before it is an error. Answers wait for it too, so
/// it is shorter than the minute that proxies give them (nginx, `proxy_read_timeout`).
pub const LOCKED_SECONDS_MAX: u64 = 45;
/// Connections that only read.
const READERS: u32 = 3;
/// The schema's history. Each step is applied once, in order, and never edited.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The records of one state directory, and what the daemon remembers.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection: what this process writes is written in turn.
    writer: SqlitePool,
    readers: SqlitePool,
    sight: sight::Sight,
}

impl Store {
    /// Opens the store at `path`, makes it if it is not there, and brings its schema up to date,
    /// after a copy of it was written beside it. A store of a newer version is refused.
    pub async fn open(path: &Path) -> anyhow::Result<Store> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)
            .with_context(|| format!("make {}", directory.display()))?;
        let _turn =
            turn(directory).await.with_context(|| format!("lock {}", directory.display()))?;
        let options = SqliteConnectOptions::from_str("sqlite:")?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A record is on disk before anything is published.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(LOCKED_SECONDS_MAX));
        let opening = || format!("open the store {}", path.display());
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(LOCKED_SECONDS_MAX))
        };
        let sight = sight::Sight::new(options.clone().pragma("query_only", "ON"));
        let writer = sight.count(pool(1));
        let writer = writer.connect_with(options.clone()).await.with_context(opening)?;
        migrate(&writer, path)
            .await
            .with_context(|| format!("bring the store {} up to date", path.display()))?;
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        let store = Store { writer, readers, sight };
        store.complete_releases().await?;
        Ok(store)
    }

    /// Reads every page; an error if the file is damaged.
    pub async fn check_integrity(&self) -> anyhow::Result<()> {
        let answer: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&self.readers)
            .await
            .context("check the store")?;
        if answer != "ok" {
            bail!("the store is damaged ({answer}): restore it from a backup");
        }
        Ok(())
    }

    /// Ends the connections, so that the store is one file again.
    pub async fn close(&self) {
        self.sight.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that holds the right to write from its beginning.
    async fn write(&self) -> anyhow::Result<Transaction<'static, Sqlite>> {
        let begin = || self.writer.begin_with("BEGIN IMMEDIATE");
        let begun = match begin().await {
            // SQLite undoes a transaction by itself when the disk is full, and sqlx, which then
            // cannot undo it, would wait for its end for ever: that connection is of no use.
            Err(sqlx::Error::InvalidSavePointStatement | sqlx::Error::BeginFailed) => {
                let useless = self.writer.acquire().await.context("leave the store")?;
                useless.close().await.context("leave the store")?;
                begin().await
            }
            begun => begun,
        };
        begun.context("begin to write to the store")
    }
}

/// Commits what was written, between the two points of `fault.rs` that bear the write's name.
async fn commit(
    writing: Transaction<'static, Sqlite>,
    write: &'static str,
    trying: &'static str,
) -> anyhow::Result<()> {
    fault::before(write)?;
    writing.commit().await.context(trying)?;
    fault::after(write)
}

/// Applies what is missing of [`MIGRATIONS`]; a store with something in it is copied first.
async fn migrate(writer: &SqlitePool, path: &Path) -> anyhow::Result<()> {
    let tables: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
    )
    .fetch_one(writer)
    .await?;
    let newest = MIGRATIONS.iter().map(|step| step.version).max().unwrap_or_default();
    if tables > 0 {
        let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM _sqlx_migrations")
            .fetch_one(writer)
            .await?;
        let applied: i64 = row.try_get("version")?;
        if applied > newest {
            bail!(
                "it was written by a newer verbatim (schema {applied}, this one knows {newest}): \
                 install that version again, or restore the backup made before the upgrade"
            );
        }
        if applied < newest {
            backup(writer, path, applied).await?;
        }
    }
    MIGRATIONS.run(writer).await?;
    Ok(())
}

/// A whole copy beside the store, `records.sqlite.schema-2`.
async fn backup(writer: &SqlitePool, path: &Path, applied: i64) -> anyhow::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".schema-{applied}"));
    let copy = PathBuf::from(name);
    if copy.exists() {
        // A migration that was interrupted: the copy may be of any moment before it.
        std::fs::remove_file(&copy).with_context(|| format!("remove {}", copy.display()))?;
    }
    sqlx::query("VACUUM INTO ?")
        .bind(copy.display().to_string())
        .execute(writer)
        .await
        .with_context(|| format!("copy the store to {}", copy.display()))?;
    Ok(())
}

/// Waits until no other process opens a store in `directory`; ours until the file is closed.
/// SQLite's own locks do not keep two first migrations apart.
async fn turn(directory: &Path) -> anyhow::Result<File> {
    let lock = File::open(directory)?;
    let give_up = Instant::now() + Duration::from_secs(LOCKED_SECONDS_MAX);
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A time as the daemon's tables keep it.
fn time(milliseconds: i64) -> anyhow::Result<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(milliseconds).context("read a time of the store")
}

/// A member of a closed set, by the name that JSON gives it.
fn named<T: serde::de::DeserializeOwned>(name: &str) -> anyhow::Result<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned()))
        .with_context(|| format!("read {name:?} of the store"))
}

/// The name that JSON gives a member of a closed set.
fn name_of<T: serde::Serialize>(member: &T) -> anyhow::Result<String> {
    match serde_json::to_value(member).context("name a value for the store")? {
        serde_json::Value::String(name) => Ok(name),
        other => bail!("{other} is no name for the store"),
    }
}
