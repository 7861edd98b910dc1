//! What an operator has to hear: observations, alarms; and the daemon's small memory: facts, and
//! how often python.org's API was asked.

use std::collections::BTreeSet;

use anyhow::Context;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, SqliteExecutor, Transaction};

use super::{Store, commit, name_of, named, time};
use crate::clock;
use crate::evidence::{CheckOutcome, Evidence};
use crate::observation::{Alarm, AlarmKind, Observation, ObservationKind};
use crate::record::Record;
use crate::version::Version;

/// The API's allowance is for this long.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What a request to the API is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiRequest {
    /// The list of releases, at its usual pace.
    List,
    /// Anything else, if fewer than so many of these were sent within the last day.
    Other { most: u32 },
}
/// The fact that every page shows at its top.
pub const NOTICE: &str = "notice";

/// The name of the fact that is shown with this release.
pub fn notice_of(version: &Version) -> String {
    format!("{NOTICE}.{version}")
}

impl Store {
    /// Observations before the place `before`, newest first, with their places.
    pub async fn observations(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> anyhow::Result<Vec<(i64, Observation)>> {
        let rows =
            sqlx::query("SELECT * FROM observations WHERE seq < ? ORDER BY seq DESC LIMIT ?")
                .bind(before.unwrap_or(i64::MAX))
                .bind(limit)
                .fetch_all(&self.readers)
                .await
                .context("list the observations")?;
        rows.iter().map(|row| Ok((row.try_get("seq")?, observation(row)?))).collect()
    }

    /// Opens an alarm, unless the same one is open.
    pub async fn raise(&self, kind: AlarmKind, subject: &str, detail: &str) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        raise(&mut writing, kind, subject, detail).await?;
        writing.commit().await.context("open an alarm")
    }

    /// The trouble is over; nothing happens if there was none.
    pub async fn settle_alarm(&self, kind: AlarmKind, subject: &str) -> anyhow::Result<()> {
        settle_alarm(&self.writer, kind, subject).await
    }

    /// An operator has looked at it; false if no such alarm is open.
    pub async fn clear_alarm(&self, id: i64) -> anyhow::Result<bool> {
        let query = "UPDATE alarms SET cleared_ms = ? WHERE seq = ? AND cleared_ms IS NULL";
        let done = sqlx::query(query).bind(clock::now_ms()).bind(id).execute(&self.writer);
        Ok(done.await.context("clear an alarm")?.rows_affected() == 1)
    }

    /// Open alarms, oldest first.
    pub async fn alarms(&self) -> anyhow::Result<Vec<Alarm>> {
        let rows = sqlx::query("SELECT * FROM alarms WHERE cleared_ms IS NULL ORDER BY seq")
            .fetch_all(&self.readers)
            .await
            .context("list the alarms")?;
        rows.iter().map(alarm).collect()
    }

    /// Takes one request to the API out of the `all` of the day; false if none was left to take.
    pub async fn take_api_request(&self, request: ApiRequest, all: u32) -> anyhow::Result<bool> {
        let now = clock::now_ms();
        let mut writing = self.write().await?;
        sqlx::query("DELETE FROM api_requests WHERE at_ms <= ?")
            .bind(now - DAY_MS)
            .execute(&mut *writing)
            .await
            .context("forget old requests")?;
        let (used, others): (u32, u32) =
            sqlx::query_as("SELECT COUNT(*), COUNT(*) FILTER (WHERE NOT listed) FROM api_requests")
                .fetch_one(&mut *writing)
                .await
                .context("count requests")?;
        let (listed, refused) = match request {
            ApiRequest::List => (true, false),
            ApiRequest::Other { most } => (false, others >= most),
        };
        if refused || used >= all {
            return Ok(false);
        }
        sqlx::query("INSERT INTO api_requests (at_ms, listed) VALUES (?, ?)")
            .bind(now)
            .bind(listed)
            .execute(&mut *writing)
            .await
            .context("count a request")?;
        commit(writing, "api_request", "count a request").await?;
        Ok(true)
    }

    /// Requests to the API within the last day.
    pub async fn api_requests(&self) -> anyhow::Result<u32> {
        self.requests_where("at_ms > ?").await
    }

    /// Those of them that were not for the list at its usual pace.
    pub async fn other_api_requests(&self) -> anyhow::Result<u32> {
        self.requests_where("at_ms > ? AND NOT listed").await
    }

    async fn requests_where(&self, condition: &str) -> anyhow::Result<u32> {
        let query = format!("SELECT COUNT(*) FROM api_requests WHERE {condition}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(clock::now_ms() - DAY_MS)
            .fetch_one(&self.readers)
            .await
            .context("count requests")
    }

    /// A single fact.
    pub async fn fact(&self, name: &str) -> anyhow::Result<Option<String>> {
        sqlx::query_scalar("SELECT value FROM facts WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .with_context(|| format!("read {name}"))
    }

    /// Keeps a single fact.
    pub async fn set_fact(&self, name: &str, value: &str) -> anyhow::Result<()> {
        sqlx::query(
            "INSERT INTO facts (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = ?2",
        )
        .bind(name)
        .bind(value)
        .execute(&self.writer)
        .await
        .with_context(|| format!("keep {name}"))?;
        Ok(())
    }
}

/// Two rebuilds of the same inputs did not agree; `words` say in what.
pub(super) async fn unstable(
    writing: &mut Transaction<'static, Sqlite>,
    record: &Record,
    words: &str,
) -> anyhow::Result<()> {
    let observation = Observation {
        at: clock::now(),
        kind: ObservationKind::RebuildUnstable,
        version: Some(record.release.version.clone()),
        artifact: None,
        detail: format!(
            "two rebuilds of the same inputs do not agree, the second is record {}: {words}",
            record.id
        ),
    };
    observe(writing, &observation).await
}

/// What is claimed about the release of `record` and is not true: an alarm for each file or tag,
/// which the first record clears that could check everything and finds nothing of the kind.
pub(super) async fn disagreements(
    writing: &mut Transaction<'static, Sqlite>,
    record: &Record,
) -> anyhow::Result<()> {
    let disagrees = |one: &&Evidence| one.outcome == CheckOutcome::Disagrees;
    for one in record.evidence.iter().filter(disagrees) {
        let (check, artifact) = (one.check.as_str(), &one.artifact);
        let observation = Observation {
            at: clock::now(),
            kind: ObservationKind::ClaimDisagrees,
            version: Some(record.release.version.clone()),
            artifact: Some(artifact.clone()),
            detail: format!("{check} of {artifact} disagrees: {}", one.detail),
        };
        observe(writing, &observation).await?;
    }
    let is_open = |one: &&Evidence| {
        matches!(one.outcome, CheckOutcome::Disagrees | CheckOutcome::CannotCheck)
    };
    let open: BTreeSet<&str> =
        record.evidence.iter().filter(is_open).map(|one| one.artifact.as_str()).collect();
    let all: BTreeSet<&str> = record.evidence.iter().map(|one| one.artifact.as_str()).collect();
    for artifact in all.difference(&open) {
        settle_alarm(&mut **writing, AlarmKind::ClaimDisagrees, artifact).await?;
    }
    Ok(())
}

/// Stores an observation, and opens the alarm that goes with it.
pub(super) async fn observe(
    writing: &mut Transaction<'static, Sqlite>,
    observation: &Observation,
) -> anyhow::Result<()> {
    let version = observation.version.as_ref().map(ToString::to_string);
    sqlx::query(
        "INSERT INTO observations (at_ms, kind, version, artifact, detail) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(observation.at.as_millisecond())
    .bind(name_of(&observation.kind)?)
    .bind(&version)
    .bind(&observation.artifact)
    .bind(&observation.detail)
    .execute(&mut **writing)
    .await
    .context("keep an observation")?;
    let Some(kind) = observation.kind.alarm() else { return Ok(()) };
    let subject = observation.artifact.clone().or(version).unwrap_or_default();
    raise(writing, kind, &subject, &observation.detail).await
}

/// Opens an alarm, unless the same one is open.
pub(super) async fn raise(
    writing: &mut Transaction<'static, Sqlite>,
    kind: AlarmKind,
    subject: &str,
    detail: &str,
) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO alarms (kind, subject, detail, opened_ms) VALUES (?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(name_of(&kind)?)
    .bind(subject)
    .bind(detail)
    .bind(clock::now_ms())
    .execute(&mut **writing)
    .await
    .context("open an alarm")?;
    Ok(())
}

/// The trouble is over; nothing happens if there was none.
pub(super) async fn settle_alarm(
    writing: impl SqliteExecutor<'_>,
    kind: AlarmKind,
    subject: &str,
) -> anyhow::Result<()> {
    let query = "UPDATE alarms SET cleared_ms = ?
        WHERE kind = ? AND subject = ? AND cleared_ms IS NULL";
    sqlx::query(query)
        .bind(clock::now_ms())
        .bind(name_of(&kind)?)
        .bind(subject)
        .execute(writing)
        .await
        .context("clear an alarm")?;
    Ok(())
}

pub(super) fn observation(row: &SqliteRow) -> anyhow::Result<Observation> {
    let version: Option<String> = row.try_get("version")?;
    Ok(Observation {
        at: time(row.try_get("at_ms")?)?,
        kind: named(row.try_get("kind")?)?,
        version: version.map(|text| text.parse()).transpose()?,
        artifact: row.try_get("artifact")?,
        detail: row.try_get("detail")?,
    })
}

fn alarm(row: &SqliteRow) -> anyhow::Result<Alarm> {
    let cleared: Option<i64> = row.try_get("cleared_ms")?;
    Ok(Alarm {
        id: row.try_get("seq")?,
        kind: named(row.try_get("kind")?)?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
        opened: time(row.try_get("opened_ms")?)?,
        cleared: cleared.map(time).transpose()?,
    })
}
