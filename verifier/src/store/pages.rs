//! What only the server asks: parts of long lists, how the queue is, and totals that are read, not
//! counted.

use anyhow::Context;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::records::artifact_row;
use super::{ArtifactRow, Store, time};
use crate::queue::{JobState, Turn};

/// How much there ever was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Jobs ever queued.
    pub jobs: i64,
    /// Records.
    pub records: i64,
}

/// How many of the jobs that are done took how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationRow {
    /// At most so long, and longer than the row before says; the last row has no bound.
    pub at_most_ms: i64,
    /// So many jobs.
    pub jobs: i64,
    /// So long together.
    pub sum_ms: i64,
}

impl Store {
    /// How many jobs are queued, running and parked.
    pub async fn queue_lengths(&self) -> anyhow::Result<[i64; 3]> {
        let row = sqlx::query(
            "SELECT COALESCE(SUM(state = 'queued'), 0) AS queued,
                 COALESCE(SUM(state = 'running'), 0) AS running,
                 COALESCE(SUM(state = 'parked'), 0) AS parked
             FROM jobs WHERE state IN ('queued', 'running', 'parked')",
        )
        .fetch_one(&self.readers)
        .await
        .context("measure the queue")?;
        Ok([row.try_get("queued")?, row.try_get("running")?, row.try_get("parked")?])
    }

    /// The ids and turns of the jobs that run or are queued, in the order in which they run.
    pub async fn turns(&self) -> anyhow::Result<Vec<(String, Turn)>> {
        let rows = sqlx::query(
            "SELECT id, state, started_ms, due_ms,
                 waiting IS NOT NULL OR error IS NOT NULL AS is_held_up
             FROM jobs WHERE state IN ('queued', 'running', 'parked') AND state != 'parked'
             ORDER BY state = 'queued', class, place",
        )
        .fetch_all(&self.readers)
        .await
        .context("list the queue")?;
        rows.iter().map(turn).collect()
    }

    /// The median time that the last twenty jobs took, in milliseconds; none before the first.
    pub async fn usual_duration_ms(&self) -> anyhow::Result<Option<i64>> {
        let mut durations: Vec<i64> = sqlx::query_scalar(
            "SELECT finished_ms - started_ms FROM jobs WHERE state = 'done'
             ORDER BY finished_ms DESC LIMIT 20",
        )
        .fetch_all(&self.readers)
        .await
        .context("measure the last jobs")?;
        durations.sort_unstable();
        Ok(durations.get(durations.len() / 2).copied())
    }

    /// How long jobs took, by rising bounds.
    pub async fn durations(&self) -> anyhow::Result<Vec<DurationRow>> {
        let rows =
            sqlx::query("SELECT at_most_ms, jobs, sum_ms FROM durations ORDER BY at_most_ms")
                .fetch_all(&self.readers)
                .await
                .context("read how long jobs took")?;
        let row = |row: &SqliteRow| {
            let (at_most_ms, jobs) = (row.try_get("at_most_ms")?, row.try_get("jobs")?);
            Ok(DurationRow { at_most_ms, jobs, sum_ms: row.try_get("sum_ms")? })
        };
        rows.iter().map(row).collect()
    }

    /// The files whose published bytes have this SHA-256, newest record first, after the record
    /// and place `after`; with their records and places.
    pub async fn artifacts_page(
        &self,
        sha256: &str,
        after: Option<(i64, i64)>,
        limit: u32,
    ) -> anyhow::Result<Vec<((i64, i64), ArtifactRow)>> {
        let (seq, place) = after.unwrap_or((i64::MAX, 0));
        let rows = sqlx::query(
            "SELECT seq, place, id, version, name, verdict, tier, disputed, published, rebuilt
             FROM artifacts JOIN records USING (seq)
             WHERE published = ?1 AND (seq < ?2 OR seq = ?2 AND place > ?3)
             ORDER BY seq DESC, place LIMIT ?4",
        )
        .bind(sha256)
        .bind(seq)
        .bind(place)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .context("look up a file")?;
        rows.iter().map(placed).collect()
    }

    /// Totals, in the same time whatever they are.
    pub async fn totals(&self) -> anyhow::Result<Totals> {
        let row = sqlx::query(
            "SELECT (SELECT COALESCE(MAX(seq), 0) FROM jobs) AS jobs,
                 (SELECT COALESCE(MAX(seq), 0) FROM records) AS records",
        )
        .fetch_one(&self.readers)
        .await
        .context("read the totals")?;
        Ok(Totals { jobs: row.try_get("jobs")?, records: row.try_get("records")? })
    }

    /// How many releases have which status; `not_checked` if none now.
    pub async fn release_statuses(&self) -> anyhow::Result<Vec<(String, i64)>> {
        let rows = sqlx::query(
            "SELECT COALESCE(current, 'not_checked') AS status, COUNT(*) AS count
             FROM releases GROUP BY 1 ORDER BY 1",
        )
        .fetch_all(&self.readers)
        .await
        .context("count the releases")?;
        rows.iter().map(|row| Ok((row.try_get("status")?, row.try_get("count")?))).collect()
    }
}

fn turn(row: &SqliteRow) -> anyhow::Result<(String, Turn)> {
    let started: Option<i64> = row.try_get("started_ms")?;
    let state: String = row.try_get("state")?;
    let turn = Turn {
        state: JobState::named(&state).with_context(|| format!("{state:?} is no job state"))?,
        started: started.map(time).transpose()?,
        due: time(row.try_get("due_ms")?)?,
        is_held_up: row.try_get("is_held_up")?,
    };
    Ok((row.try_get("id")?, turn))
}

fn placed(row: &SqliteRow) -> anyhow::Result<((i64, i64), ArtifactRow)> {
    Ok(((row.try_get("seq")?, row.try_get("place")?), artifact_row(row)?))
}
