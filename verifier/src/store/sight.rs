//! Seeing writes: when something that was read may have changed, and reading everything as of one
//! moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use anyhow::Context;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Sqlite, SqliteConnection};

use super::Store;

/// Counts writes, so that whoever keeps what was read knows until when it holds.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    generation: Arc<AtomicU64>,
    /// What the observer saw last.
    version: Arc<AtomicI64>,
    /// One connection that only looks whether others wrote; made when it is first needed.
    observer: SqlitePool,
}

impl Sight {
    pub(super) fn new(options: SqliteConnectOptions) -> Sight {
        let observer = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
        Sight { generation: Arc::default(), version: Arc::default(), observer }
    }

    /// Counts what the connections of a pool commit.
    pub(super) fn count(&self, options: PoolOptions<Sqlite>) -> PoolOptions<Sqlite> {
        let generation = self.generation.clone();
        options.after_connect(move |connection, _| {
            let generation = generation.clone();
            Box::pin(async move { count_commits(connection, generation).await })
        })
    }

    pub(super) async fn close(&self) {
        self.observer.close().await;
    }
}

async fn count_commits(
    connection: &mut SqliteConnection,
    generation: Arc<AtomicU64>,
) -> Result<(), sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    handle.set_commit_hook(move || {
        generation.fetch_add(1, Ordering::SeqCst);
        true
    });
    Ok(())
}

impl Store {
    /// Another number than before as soon as anything was written. What was kept under a number
    /// that [`Store::settled`] gave holds as long as this is that number.
    pub fn generation(&self) -> u64 {
        self.sight.generation.load(Ordering::SeqCst)
    }

    /// The number under which what is read from now on may be kept; none while something is being
    /// written. The hook counts just before a commit, so what is read in that moment is older
    /// than its number: only when nobody holds the writer is everything counted also visible.
    pub fn settled(&self) -> Option<u64> {
        let generation = self.generation();
        let idle = self.writer.size() as usize == self.writer.num_idle();
        idle.then_some(generation)
    }

    /// Looks whether other processes wrote; the generation is another one then.
    pub async fn look(&self) -> anyhow::Result<()> {
        // It changes for a connection when any other one commits.
        let version: i64 = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&self.sight.observer)
            .await
            .context("look for writes of others")?;
        if self.sight.version.swap(version, Ordering::SeqCst) != version {
            self.sight.generation.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The store as it is now and stays, whoever writes meanwhile; it cannot be written to.
    pub async fn snapshot(&self) -> anyhow::Result<Store> {
        let options = self.readers.connect_options().as_ref().clone();
        let readers = SqlitePoolOptions::new()
            .max_connections(1)
            // The moment is the connection's: it must not be exchanged for another one.
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::query("BEGIN").execute(&mut *connection).await?;
                    // The moment is that of the first read.
                    sqlx::query("SELECT COUNT(*) FROM releases").fetch_one(connection).await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .context("read the store as of one moment")?;
        let sight = Sight::new(self.readers.connect_options().as_ref().clone());
        Ok(Store { writer: readers.clone(), readers, sight })
    }
}
