//! Leases: what workers do with jobs.
//!
//! A worker that was given up can never record: every write of a worker names the fence of its
//! lease, in the transaction that writes. Leases do not expire by the wall clock, which may be set:
//! whoever looks at [`Store::beats`] twice and sees no sign of life in between may take the job.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::disputes::refuse_unchecked;
use super::notices::{observe, raise, settle_alarm, unstable};
use super::queue::want;
use super::rebuilt::Rebuilt;
use super::{Store, commit, current, records, tags};
use crate::clock;
use crate::observation::{AlarmKind, Observation, ObservationKind};
use crate::queue::{JobState, Lease, LeaseLost, Settled, Why};
use crate::record::{Record, RecordStatus};
use crate::source::TagMove;

/// A job is parked when so many of its workers died: never one that a machine's bad day killed.
const DEATHS_MAX: u32 = 100;
/// A job is rebuilt again so long after a published file changed between two rebuilds of it.
const CHANGED_WAIT_MS: i64 = 10 * 60 * 1000;

impl Store {
    /// Gives the first job that is due to `worker`, who reads all inputs anew.
    pub async fn claim(&self, worker: &str) -> anyhow::Result<Option<Lease>> {
        let now = clock::now_ms();
        let mut writing = self.write().await?;
        let row = sqlx::query(
            "UPDATE jobs SET state = 'running', worker = ?, fence = fence + 1, beat = 0,
                 started_ms = ?, waiting = NULL, again = 0
             WHERE seq = (SELECT seq FROM jobs
                 WHERE state IN ('queued', 'running', 'parked')
                     AND state = 'queued' AND due_ms <= ?
                 ORDER BY class, place LIMIT 1)
             RETURNING id, fence, version, class, attempts",
        )
        .bind(worker)
        .bind(now)
        .bind(now)
        .fetch_optional(&mut *writing)
        .await
        .context("take a job")?;
        let Some(row) = row else { return Ok(None) };
        commit(writing, "claim", "take a job").await?;
        Ok(Some(Lease {
            job: row.try_get("id")?,
            fence: row.try_get("fence")?,
            version: row.try_get::<String, _>("version")?.parse()?,
            attempts: row.try_get("attempts")?,
            is_new: row.try_get::<i64, _>("class")? == Why::Release.class(),
        }))
    }

    /// A sign of life; an error if the lease is lost.
    pub async fn beat(&self, lease: &Lease) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        change(&mut writing, lease, "beat = beat + 1", &[]).await?;
        writing.commit().await.context("show a sign of life")
    }

    /// Whether nobody else has had the job since, or cancelled it.
    pub async fn is_last(&self, lease: &Lease) -> anyhow::Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ? AND fence = ?)")
            .bind(&lease.job)
            .bind(lease.fence)
            .fetch_one(&self.readers)
            .await
            .context("look at a job")
    }

    /// Puts the job back as it was: this worker is told to stop.
    pub async fn put_back(&self, lease: &Lease) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        change(&mut writing, lease, "state = 'queued', worker = NULL", &[]).await?;
        commit(writing, "release", "put a job back").await
    }

    /// The release is not complete yet: look again at `due`. This is no error, and earlier ones are
    /// over.
    pub async fn wait(&self, lease: &Lease, reason: &str, due: Timestamp) -> anyhow::Result<()> {
        let set = "state = 'queued', worker = NULL, waiting = ?, due_ms = ?, attempts = 0,
            deaths = 0, error = NULL";
        let values = [Value::Text(reason), Value::Number(due.as_millisecond())];
        let mut writing = self.write().await?;
        change(&mut writing, lease, set, &values).await?;
        commit(writing, "wait", "let a job wait").await
    }

    /// Trouble of ours: the job runs again at `due`.
    pub async fn retry(&self, lease: &Lease, error: &str, due: Timestamp) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        trouble(&mut writing, lease, error, JobState::Queued, due).await?;
        commit(writing, "retry", "note a job's trouble").await
    }

    /// Trouble that somebody has to look at before the job runs again; an alarm tells them.
    pub async fn park(&self, lease: &Lease, error: &str) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        trouble(&mut writing, lease, error, JobState::Parked, clock::now()).await?;
        raise(&mut writing, AlarmKind::JobParked, &lease.version.to_string(), error).await?;
        commit(writing, "park", "park a job").await
    }

    /// Parks the job of a release whose tag names another commit than when it was recorded. That is
    /// no trouble of ours: it waits until somebody has looked and asks for it.
    pub async fn park_moved(&self, lease: &Lease, moved: &TagMove) -> anyhow::Result<()> {
        let set = "state = 'parked', worker = NULL, waiting = ?, due_ms = ?, attempts = 0,
            deaths = 0, error = NULL";
        let reason = tags::moved_detail(&moved.tag, &moved.recorded, &moved.now);
        let values = [Value::Text(&reason), Value::Number(clock::now_ms())];
        let mut writing = self.write().await?;
        change(&mut writing, lease, set, &values).await?;
        tags::moved(&mut writing, moved).await?;
        commit(writing, "park", "park a job").await
    }

    /// The end of an attempt that came to a verdict. A pass is recorded. Another verdict is not,
    /// before two rebuilds of the same inputs have come to none that is a pass: until then the job
    /// is queued again, to be rebuilt cleanly.
    pub async fn settle(&self, lease: &Lease, record: &Record) -> anyhow::Result<Settled> {
        let mut writing = self.write().await?;
        let row = sqlx::query(
            "SELECT unconfirmed FROM jobs WHERE id = ? AND fence = ? AND state = 'running'",
        )
        .bind(&lease.job)
        .bind(lease.fence)
        .fetch_optional(&mut *writing)
        .await
        .context("look at a job")?;
        let Some(row) = row else { return Err(LeaseLost { job: lease.job.clone() }.into()) };
        let unconfirmed: Option<String> = row.try_get("unconfirmed")?;
        let first = unconfirmed.as_deref().and_then(Rebuilt::read);
        refuse_unchecked(record, first.iter().flat_map(Rebuilt::disputed))?;
        let rebuilt = Rebuilt::of(record);
        let same = first.as_ref().filter(|first| first.is_of(&rebuilt));
        let settled = match (record.status, same) {
            (RecordStatus::Fail | RecordStatus::NotBuilt, None) => {
                confirm(&mut writing, lease, record, first.as_ref()).await?;
                Settled::Confirm
            }
            (RecordStatus::Pass | RecordStatus::Fail | RecordStatus::NotBuilt, _) => {
                let version = &record.release.version;
                tell_changed(&mut writing, lease, record, first.as_ref()).await?;
                let was_moved = current::is_moved(&mut writing, version).await?;
                records::insert(&mut writing, record).await?;
                finish(&mut writing, lease, record).await?;
                // The tag moved while this was at it.
                if !was_moved && current::is_moved(&mut writing, version).await? {
                    want(&mut writing, version, Why::Recheck).await?;
                }
                settle_alarm(&mut *writing, AlarmKind::JobParked, &version.to_string()).await?;
                if let Some(words) = same.and_then(|first| first.unlike(&rebuilt)) {
                    unstable(&mut writing, record, &words).await?;
                }
                Settled::Recorded
            }
        };
        commit(writing, "settle", "record a verdict").await?;
        Ok(settled)
    }

    /// The signs of life of all running jobs: job, fence, beat.
    pub async fn beats(&self) -> anyhow::Result<Vec<(String, i64, i64)>> {
        let query = "SELECT id, fence, beat FROM jobs
            WHERE state IN ('queued', 'running', 'parked') AND state = 'running'";
        let rows =
            sqlx::query(query).fetch_all(&self.readers).await.context("look for dead workers")?;
        let beat =
            |row: &SqliteRow| Ok((row.try_get("id")?, row.try_get("fence")?, row.try_get("beat")?));
        rows.iter().map(beat).collect()
    }

    /// Queues a job again whose worker has shown no sign of life since `beat`. One that killed so
    /// many workers without end would kill the next ones too, and keep all other jobs waiting.
    pub async fn give_up(&self, job: &str, fence: i64, beat: i64) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        let died: Option<(String, u32)> = sqlx::query_as(
            "UPDATE jobs SET state = 'queued', worker = NULL, fence = fence + 1,
                 deaths = deaths + 1
             WHERE id = ? AND fence = ? AND beat = ? AND state = 'running'
             RETURNING version, deaths",
        )
        .bind(job)
        .bind(fence)
        .bind(beat)
        .fetch_optional(&mut *writing)
        .await
        .context("give up a dead worker")?;
        if let Some((version, deaths)) = died.filter(|(_, deaths)| *deaths >= DEATHS_MAX) {
            let error = format!("{deaths} workers died of it, one after the other");
            sqlx::query("UPDATE jobs SET state = 'parked', error = ? WHERE id = ?")
                .bind(&error)
                .bind(job)
                .execute(&mut *writing)
                .await
                .context("park a job")?;
            raise(&mut writing, AlarmKind::JobParked, &version, &error).await?;
        }
        commit(writing, "give_up", "give up a dead worker").await
    }
}

/// A value of a column.
enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

/// One write of a worker: `set` for its job, if the lease still holds.
async fn change(
    writing: &mut Transaction<'static, Sqlite>,
    lease: &Lease,
    set: &str,
    values: &[Value<'_>],
) -> anyhow::Result<()> {
    let query = format!("UPDATE jobs SET {set} WHERE id = ? AND fence = ? AND state = 'running'");
    // `set` is one of the literals of this file.
    let mut query = sqlx::query(sqlx::AssertSqlSafe(query));
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(*text),
            Value::Number(number) => query.bind(*number),
        };
    }
    let query = query.bind(&lease.job).bind(lease.fence);
    let changed = query.execute(&mut **writing).await.context("change a worker's job")?;
    if changed.rows_affected() == 1 {
        return Ok(());
    }
    Err(LeaseLost { job: lease.job.clone() }.into())
}

/// The worker has read nothing yet but what was just kept.
pub(super) async fn begins(
    writing: &mut Transaction<'static, Sqlite>,
    lease: &Lease,
) -> anyhow::Result<()> {
    change(writing, lease, "again = 0", &[]).await
}

async fn trouble(
    writing: &mut Transaction<'static, Sqlite>,
    lease: &Lease,
    error: &str,
    state: JobState,
    due: Timestamp,
) -> anyhow::Result<()> {
    let set = "state = ?, worker = NULL, attempts = attempts + 1, deaths = 0, error = ?,
        due_ms = ?";
    let due = due.as_millisecond();
    let values = [Value::Text(state.as_str()), Value::Text(error), Value::Number(due)];
    change(writing, lease, set, &values).await
}

/// Queues the job again. If a published file has become another one since the `first` rebuild, that
/// is an observation, and a server that gives both by turns does not keep the machine busy.
async fn confirm(
    writing: &mut Transaction<'static, Sqlite>,
    lease: &Lease,
    record: &Record,
    first: Option<&Rebuilt>,
) -> anyhow::Result<()> {
    let changed = tell_changed(writing, lease, record, first).await?;
    let kept = serde_json::to_string(&Rebuilt::of(record)).context("write what was rebuilt")?;
    let now = clock::now_ms();
    let set = "state = 'queued', worker = NULL, attempts = 0, deaths = 0, error = NULL,
        unconfirmed = ?, due_ms = ?, waiting = NULLIF(?, '')";
    let (due, waiting) = match changed {
        true => (now + CHANGED_WAIT_MS, "a published file changed between two rebuilds"),
        false => (now, ""),
    };
    let values = [Value::Text(&kept), Value::Number(due), Value::Text(waiting)];
    change(writing, lease, set, &values).await
}

/// What the job's `first` rebuild was of and the one of `record` is not: a published file that
/// became another one, or the tag's commit. True if there is such a file.
async fn tell_changed(
    writing: &mut Transaction<'static, Sqlite>,
    lease: &Lease,
    record: &Record,
    first: Option<&Rebuilt>,
) -> anyhow::Result<bool> {
    let Some(first) = first else { return Ok(false) };
    let rebuilt = Rebuilt::of(record);
    let mut is_changed = false;
    for (name, was, now) in first.changed_files(&rebuilt) {
        is_changed = true;
        let observation = Observation {
            at: clock::now(),
            kind: ObservationKind::FileChanged,
            version: Some(lease.version.clone()),
            artifact: Some(name.to_owned()),
            detail: format!("{name} had the SHA-256 {was} and is now served with {now}"),
        };
        observe(writing, &observation).await?;
    }
    if let Some((recorded, now)) = first.moved_tag(&rebuilt) {
        let (repository, tag) = (record.source.repository.clone(), record.source.tag.clone());
        let (recorded, now) = (recorded.to_owned(), now.to_owned());
        tags::moved(writing, &TagMove { repository, tag, recorded, now }).await?;
    }
    Ok(is_changed)
}

async fn finish(
    writing: &mut Transaction<'static, Sqlite>,
    lease: &Lease,
    record: &Record,
) -> anyhow::Result<()> {
    let set = "state = 'done', worker = NULL, record = ?, finished_ms = ?, error = NULL";
    let values = [Value::Text(&record.id), Value::Number(clock::now_ms())];
    change(writing, lease, set, &values).await?;
    verify_again(writing, lease).await?;
    sqlx::query(
        "UPDATE durations SET jobs = jobs + 1, sum_ms = sum_ms + taken FROM (
             SELECT MAX(finished_ms - COALESCE(started_ms, finished_ms), 0) AS taken
             FROM jobs WHERE id = ?
         ) WHERE at_most_ms = (SELECT MIN(at_most_ms) FROM durations WHERE at_most_ms >= taken)",
    )
    .bind(&lease.job)
    .execute(&mut **writing)
    .await
    .context("count a job's duration")?;
    Ok(())
}

/// An input changed while the job ran that is done now: the record may be of the old one.
async fn verify_again(
    writing: &mut Transaction<'static, Sqlite>,
    lease: &Lease,
) -> anyhow::Result<()> {
    let again: bool = sqlx::query_scalar("SELECT again FROM jobs WHERE id = ?")
        .bind(&lease.job)
        .fetch_one(&mut **writing)
        .await
        .context("look at a job")?;
    if again {
        want(writing, &lease.version, Why::Recheck).await?;
    }
    Ok(())
}
