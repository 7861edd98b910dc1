//! Room 5, record: the one module that speaks SQL. Records are added and read, nothing else.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::record::{Record, RecordStatus};
use crate::version::Version;

/// Another process may hold the store this long before it is an error.
const LOCKED_SECONDS_MAX: u64 = 60;

/// The records of one state directory.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the store at `path`, makes it if it is not there, and brings its schema up to date.
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
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .connect_with(options)
            .await
            .with_context(|| format!("open the store {}", path.display()))?;
        sqlx::migrate!("migrations/sqlite")
            .run(&pool)
            .await
            .with_context(|| format!("bring the store {} up to date", path.display()))?;
        Ok(Store { pool })
    }

    /// Adds a record; when this returns it is durable.
    pub async fn append(&self, record: &Record) -> anyhow::Result<()> {
        let document = serde_json::to_string(record).context("write a record")?;
        sqlx::query(
            "INSERT INTO records (id, version, status, finished, document) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&record.id)
        .bind(record.release.version.to_string())
        .bind(status_name(record.status))
        .bind(record.finished.to_string())
        .bind(document)
        .execute(&self.pool)
        .await
        .context("add a record to the store")?;
        Ok(())
    }

    /// Every record of a version, oldest first.
    pub async fn of_version(&self, version: &Version) -> anyhow::Result<Vec<Record>> {
        let rows = sqlx::query("SELECT document FROM records WHERE version = ? ORDER BY id")
            .bind(version.to_string())
            .fetch_all(&self.pool)
            .await
            .with_context(|| format!("read the records of {version}"))?;
        let parse = |row: sqlx::sqlite::SqliteRow| {
            let document: String = row.try_get("document")?;
            serde_json::from_str(&document).context("read a record of the store")
        };
        rows.into_iter().map(parse).collect()
    }

    /// Ends the connections, so that the store is one file again.
    pub async fn close(&self) {
        self.pool.close().await;
    }
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

fn status_name(status: RecordStatus) -> &'static str {
    match status {
        RecordStatus::Pass => "pass",
        RecordStatus::Fail => "fail",
        RecordStatus::NotBuilt => "not_built",
    }
}
