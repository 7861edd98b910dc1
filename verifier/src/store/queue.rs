//! The queue: jobs and the requests for them. What workers do with jobs is in `lease.rs`.

use anyhow::{Context, bail};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::notices::settle_alarm;
use super::{Store, commit, time};
use crate::clock;
use crate::observation::AlarmKind;
use crate::queue::{Job, JobState, LIVE_JOBS_MAX, Why};
use crate::version::Version;

// Where jobs in one state are looked for, the condition of the index on live jobs, or on those that
// are over, stands beside, word for word: otherwise SQLite reads every job that ever was.
const JOB: &str = "SELECT *, NULL AS position FROM jobs WHERE id = ?";
// A job has a place where `Turn::has_place` says so.
const PLACED_JOB: &str = "SELECT *,
    CASE WHEN state = 'queued' AND waiting IS NULL AND error IS NULL THEN (
        SELECT COUNT(*) + 1 FROM jobs AS other
        WHERE other.state IN ('queued', 'running', 'parked') AND other.state = 'queued'
        AND other.waiting IS NULL AND other.error IS NULL
        AND (other.class, other.place) < (jobs.class, jobs.place)
    ) END AS position FROM jobs WHERE id = ?";

impl Store {
    /// Wants `version` verified for a reason of our own. One job a release: if there is one
    /// already, it gets the more urgent reason.
    pub async fn enqueue(&self, version: &Version, why: Why) -> anyhow::Result<Job> {
        let mut writing = self.write().await?;
        let id = want(&mut writing, version, why).await?;
        writing.commit().await.context("queue a job")?;
        self.job(&id).await?.context("read the job that was queued")
    }

    /// Wants `version` verified because `asked_by` asks; gives the request's id, which cancels it.
    pub async fn request(
        &self,
        version: &Version,
        asked_by: &str,
    ) -> anyhow::Result<(String, Job)> {
        let mut writing = self.write().await?;
        let job = want(&mut writing, version, Why::Request).await?;
        let request = uuid::Uuid::now_v7().to_string();
        sqlx::query("INSERT INTO requests (id, job, asked_by, at_ms) VALUES (?, ?, ?, ?)")
            .bind(&request)
            .bind(&job)
            .bind(asked_by)
            .bind(clock::now_ms())
            .execute(&mut *writing)
            .await
            .context("keep a request")?;
        commit(writing, "request", "keep a request").await?;
        let row = sqlx::query(PLACED_JOB)
            .bind(&job)
            .fetch_one(&self.readers)
            .await
            .context("read the job that was asked for")?;
        Ok((request, self::job(&row)?))
    }

    /// Takes a request back. A job that nobody else wants is cancelled, even while it runs. None
    /// if there is no such request.
    pub async fn cancel(&self, request: &str) -> anyhow::Result<Option<Job>> {
        let mut writing = self.write().await?;
        let job: Option<String> = sqlx::query_scalar(
            "UPDATE requests SET cancelled_ms = COALESCE(cancelled_ms, ?) WHERE id = ?
             RETURNING job",
        )
        .bind(clock::now_ms())
        .bind(request)
        .fetch_optional(&mut *writing)
        .await
        .context("take back a request")?;
        let Some(job) = job else { return Ok(None) };
        let unwanted = "NOT EXISTS (SELECT 1 FROM requests
            WHERE requests.job = jobs.id AND cancelled_ms IS NULL)";
        let cancel = format!(
            "UPDATE jobs SET state = 'cancelled', finished_ms = ?, fence = fence + 1
             WHERE id = ? AND state IN ('queued', 'running', 'parked') AND base_class IS NULL
             AND {unwanted} RETURNING version"
        );
        let lower = format!(
            "UPDATE jobs SET class = base_class WHERE id = ? AND state = 'queued'
             AND base_class IS NOT NULL AND {unwanted}"
        );
        let cancelled: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(cancel))
            .bind(clock::now_ms())
            .bind(&job)
            .fetch_optional(&mut *writing)
            .await
            .context("cancel a job")?;
        no_longer_parked(&mut writing, cancelled).await?;
        sqlx::query(sqlx::AssertSqlSafe(lower))
            .bind(&job)
            .execute(&mut *writing)
            .await
            .context("lower a job")?;
        commit(writing, "cancel", "take back a request").await?;
        self.job(&job).await
    }

    /// Cancels a job that is not over, whoever wants it. None if there is no such job. The operator
    /// has decided about the release, and not only about who asked for it: the job has a base class
    /// then, whoever wanted it.
    pub async fn cancel_job(&self, id: &str) -> anyhow::Result<Option<Job>> {
        let mut writing = self.write().await?;
        let cancelled: Option<String> = sqlx::query_scalar(
            "UPDATE jobs SET state = 'cancelled', worker = NULL, finished_ms = ?, fence = fence + 1,
                 base_class = COALESCE(base_class, class)
             WHERE id = ? AND state IN ('queued', 'running', 'parked') RETURNING version",
        )
        .bind(clock::now_ms())
        .bind(id)
        .fetch_optional(&mut *writing)
        .await
        .context("cancel a job")?;
        no_longer_parked(&mut writing, cancelled).await?;
        commit(writing, "cancel_job", "cancel a job").await?;
        self.job(id).await
    }

    /// Every job that waits for a reason of this kind is looked at again now.
    pub async fn hasten_waiting(&self, is_such: fn(&str) -> bool) -> anyhow::Result<()> {
        let waiting: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, waiting FROM jobs
             WHERE state IN ('queued', 'running', 'parked') AND state = 'queued'
                 AND waiting IS NOT NULL",
        )
        .fetch_all(&self.readers)
        .await
        .context("list the jobs that wait")?;
        for (job, _) in waiting.iter().filter(|(_, reason)| is_such(reason)) {
            // Whoever has it by now does not wait any more.
            sqlx::query("UPDATE jobs SET due_ms = ? WHERE id = ? AND state = 'queued'")
                .bind(clock::now_ms())
                .bind(job)
                .execute(&self.writer)
                .await
                .context("hasten the jobs that wait")?;
        }
        Ok(())
    }

    /// One job, without its place in the queue.
    pub async fn job(&self, id: &str) -> anyhow::Result<Option<Job>> {
        let row = sqlx::query(JOB)
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .with_context(|| format!("read job {id}"))?;
        row.as_ref().map(job).transpose()
    }

    /// Jobs before the place `before`, newest first, with their places.
    pub async fn jobs(
        &self,
        state: Option<JobState>,
        before: Option<i64>,
        limit: u32,
    ) -> anyhow::Result<Vec<(i64, Job)>> {
        let query = match state {
            None => {
                "SELECT *, NULL AS position FROM jobs
                WHERE ?2 IS NULL AND seq < ?1 ORDER BY seq DESC LIMIT ?3"
            }
            Some(state) if state.is_over() => {
                "SELECT *, NULL AS position FROM jobs
                WHERE state IN ('done', 'cancelled') AND state = ?2 AND seq < ?1
                ORDER BY seq DESC LIMIT ?3"
            }
            Some(_) => {
                "SELECT *, NULL AS position FROM jobs INDEXED BY jobs_live
                WHERE state IN ('queued', 'running', 'parked') AND state = ?2 AND seq < ?1
                ORDER BY seq DESC LIMIT ?3"
            }
        };
        let rows = sqlx::query(query)
            .bind(before.unwrap_or(i64::MAX))
            .bind(state.map(JobState::as_str))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .context("list the jobs")?;
        rows.iter().map(|row| Ok((row.try_get("seq")?, job(row)?))).collect()
    }

    /// Jobs that are not over, in the order in which they run: running, queued, parked.
    pub async fn live_jobs(&self, limit: u32) -> anyhow::Result<Vec<Job>> {
        let rows = sqlx::query(
            "SELECT *, CASE WHEN state = 'queued' AND waiting IS NULL AND error IS NULL
                 THEN SUM(state = 'queued' AND waiting IS NULL AND error IS NULL) OVER (
                     ORDER BY class, place ROWS UNBOUNDED PRECEDING) END AS position
             FROM jobs WHERE state IN ('queued', 'running', 'parked')
             ORDER BY state = 'parked', state = 'queued', class, place LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .context("list the queue")?;
        rows.iter().map(job).collect()
    }
}

/// A parked job that was cancelled comes to no verdict, which would clear its alarm.
async fn no_longer_parked(
    writing: &mut Transaction<'static, Sqlite>,
    cancelled: Option<String>,
) -> anyhow::Result<()> {
    let Some(version) = cancelled else { return Ok(()) };
    settle_alarm(&mut **writing, AlarmKind::JobParked, &version).await
}

/// The job of `version` that is not over, with at least this urgency.
pub(super) async fn want(
    writing: &mut Transaction<'static, Sqlite>,
    version: &Version,
    why: Why,
) -> anyhow::Result<String> {
    let base = (why != Why::Request).then_some(why.class());
    let now = clock::now_ms();
    // A parked job is tried again at once: somebody asks for it now. What is tried again at once
    // has its place in the queue, and its last trouble no longer holds it up. A job that runs may
    // have read an input before it changed (class 2): then another one comes after it.
    let live: Option<String> = sqlx::query_scalar(
        "UPDATE jobs SET
             place = CASE WHEN ?1 < class THEN (
                 SELECT MAX(place) + 1 FROM jobs AS other
                 WHERE other.state IN ('queued', 'running', 'parked')
             ) ELSE place END,
             class = MIN(class, ?1),
             base_class = CASE WHEN ?2 IS NULL THEN base_class
                 ELSE MIN(COALESCE(base_class, ?2), ?2) END,
             due_ms = CASE WHEN state = 'parked' OR ?1 <= 1 AND waiting IS NULL THEN ?3
                 ELSE due_ms END,
             error = CASE WHEN state = 'parked' OR state = 'queued' AND ?1 <= 1 AND waiting IS NULL
                 THEN NULL ELSE error END,
             attempts = CASE state WHEN 'parked' THEN 0 ELSE attempts END,
             deaths = CASE state WHEN 'parked' THEN 0 ELSE deaths END,
             waiting = CASE state WHEN 'parked' THEN NULL ELSE waiting END,
             again = CASE WHEN state = 'running' AND ?1 = 2 THEN 1 ELSE again END,
             state = CASE state WHEN 'parked' THEN 'queued' ELSE state END
         WHERE version = ?4 AND state IN ('queued', 'running', 'parked') RETURNING id",
    )
    .bind(why.class())
    .bind(base)
    .bind(now)
    .bind(version.to_string())
    .fetch_optional(&mut **writing)
    .await
    .context("look for a job")?;
    if let Some(id) = live {
        return Ok(id);
    }
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running', 'parked')",
    )
    .fetch_one(&mut **writing)
    .await
    .context("measure the queue")?;
    if count >= LIVE_JOBS_MAX {
        bail!("the queue is full ({LIVE_JOBS_MAX} jobs)");
    }
    let id = uuid::Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO jobs (id, version, class, base_class, place, state, created_ms, due_ms)
         VALUES (?, ?, ?, ?, (SELECT COALESCE(MAX(place), 0) + 1 FROM jobs
             WHERE state IN ('queued', 'running', 'parked')), 'queued', ?, ?)",
    )
    .bind(&id)
    .bind(version.to_string())
    .bind(why.class())
    .bind(base)
    .bind(now)
    .bind(now)
    .execute(&mut **writing)
    .await
    .context("queue a job")?;
    Ok(id)
}

/// An input of `version` changed that nobody has judged yet: a job that runs may have read the old
/// one, and one that waits for its release may have got what it waits for.
pub(super) async fn reconsider(
    writing: &mut Transaction<'static, Sqlite>,
    version: &Version,
) -> anyhow::Result<()> {
    let query = "UPDATE jobs SET again = (state = 'running'),
            due_ms = CASE WHEN waiting IS NULL THEN due_ms ELSE ?1 END
        WHERE version = ?2 AND state IN ('queued', 'running', 'parked') AND state != 'parked'";
    sqlx::query(query)
        .bind(clock::now_ms())
        .bind(version.to_string())
        .execute(&mut **writing)
        .await
        .context("keep that an input changed")?;
    Ok(())
}

pub(super) fn job(row: &SqliteRow) -> anyhow::Result<Job> {
    let moment = |name: &str| -> anyhow::Result<Option<Timestamp>> {
        row.try_get::<Option<i64>, _>(name)?.map(time).transpose()
    };
    let class: i64 = row.try_get("class")?;
    let state: String = row.try_get("state")?;
    let position: Option<i64> = row.try_get("position")?;
    let state = JobState::named(&state).with_context(|| format!("{state:?} is no job state"))?;
    Ok(Job {
        id: row.try_get("id")?,
        version: row.try_get::<String, _>("version")?.parse()?,
        why: Why::of_class(class).with_context(|| format!("{class} is no class of jobs"))?,
        state,
        created: time(row.try_get("created_ms")?)?,
        due: time(row.try_get("due_ms")?)?,
        started: moment("started_ms")?,
        finished: moment("finished_ms")?,
        attempts: row.try_get("attempts")?,
        error: row.try_get("error")?,
        waiting: row.try_get("waiting")?,
        record: row.try_get("record")?,
        position: position.and_then(|position| u64::try_from(position).ok()),
    })
}
