//! Records: added and read. Listing reads columns and never parses documents.

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{Store, commit, current, name_of, time};
use crate::clock;
use crate::record::{Record, RecordStatus};
use crate::source::Source;
use crate::version::Version;

/// A record in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordRow {
    /// Its place in the store: newer is greater.
    #[serde(skip)]
    pub seq: i64,
    /// UUID version 7.
    pub id: String,
    /// The release.
    pub version: Version,
    /// `pass`, `fail` or `not_built`.
    pub status: String,
    /// When the last verdict was known.
    pub finished: String,
}

/// A file of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArtifactRow {
    /// The record.
    pub record: String,
    /// Its release.
    pub version: Version,
    /// File name.
    pub name: String,
    /// `reproduced`, `different` or `not_built`.
    pub verdict: String,
    /// How close; null when not built.
    pub tier: Option<String>,
    /// Whether a claim about it, or about its tag, disagrees.
    pub disputed: bool,
    /// SHA-256 of the published bytes.
    pub published: String,
    /// SHA-256 of the rebuilt bytes.
    pub rebuilt: Option<String>,
}

/// A release's status became another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeRow {
    /// Its place: newer is greater.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// The release.
    pub version: Version,
    /// What it was; null for the first record.
    pub was: Option<String>,
    /// What it is since then.
    pub status: String,
    /// The record that says so.
    pub record: String,
}

impl Store {
    /// Adds a record; when this returns it is durable.
    pub async fn append(&self, record: &Record) -> anyhow::Result<()> {
        let mut writing = self.write().await?;
        insert(&mut writing, record).await?;
        commit(writing, "append", "add a record to the store").await
    }

    /// Every record of a version, oldest first.
    pub async fn of_version(&self, version: &Version) -> anyhow::Result<Vec<Record>> {
        let rows = sqlx::query("SELECT document FROM records WHERE version = ? ORDER BY seq")
            .bind(version.to_string())
            .fetch_all(&self.readers)
            .await
            .with_context(|| format!("read the records of {version}"))?;
        rows.iter().map(parsed).collect()
    }

    /// The source of every record of a version, oldest first. Documents are long, and a release
    /// that is often asked for has many.
    pub async fn sources_of(&self, version: &Version) -> anyhow::Result<Vec<Source>> {
        let sources: Vec<String> = sqlx::query_scalar(
            "SELECT document -> 'source' FROM records WHERE version = ? ORDER BY seq",
        )
        .bind(version.to_string())
        .fetch_all(&self.readers)
        .await
        .with_context(|| format!("read the sources of {version}"))?;
        let read = |text: &String| serde_json::from_str(text).context("read a record's source");
        sources.iter().map(read).collect()
    }

    /// The newest record of a version.
    pub async fn newest_of(&self, version: &Version) -> anyhow::Result<Option<Record>> {
        let query = "SELECT document FROM records WHERE version = ? ORDER BY seq DESC LIMIT 1";
        let row = sqlx::query(query)
            .bind(version.to_string())
            .fetch_optional(&self.readers)
            .await
            .with_context(|| format!("read the newest record of {version}"))?;
        row.as_ref().map(parsed).transpose()
    }

    /// Whether a release's status is this record's.
    pub async fn is_newest(&self, id: &str) -> anyhow::Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM releases WHERE record = ?)")
            .bind(id)
            .fetch_one(&self.readers)
            .await
            .with_context(|| format!("look for record {id}"))
    }

    /// The document of a record, as it was written.
    pub async fn document(&self, id: &str) -> anyhow::Result<Option<String>> {
        sqlx::query_scalar("SELECT document FROM records WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .with_context(|| format!("read record {id}"))
    }

    /// Records before the place `before`, newest first.
    pub async fn records(
        &self,
        version: Option<&Version>,
        before: Option<i64>,
        limit: u32,
    ) -> anyhow::Result<Vec<RecordRow>> {
        let before = before.unwrap_or(i64::MAX);
        let query = match version {
            Some(version) => sqlx::query(
                "SELECT seq, id, version, status, finished FROM records
                 WHERE version = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            )
            .bind(version.to_string()),
            None => sqlx::query(
                "SELECT seq, id, version, status, finished FROM records
                 WHERE seq < ? ORDER BY seq DESC LIMIT ?",
            ),
        };
        let rows = query.bind(before).bind(limit).fetch_all(&self.readers).await;
        rows.context("list the records")?.iter().map(record_row).collect()
    }

    /// Changes of status after the place `after`, oldest first.
    pub async fn changes(&self, after: i64, limit: u32) -> anyhow::Result<Vec<ChangeRow>> {
        let rows = sqlx::query(
            "SELECT seq, at_ms, version, was, status, record FROM changes
             WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .context("list the changes of status")?;
        rows.iter().map(change_row).collect()
    }
}

/// Adds the record, its files, and what follows from it for its release.
pub(super) async fn insert(
    writing: &mut Transaction<'static, Sqlite>,
    record: &Record,
) -> anyhow::Result<()> {
    let document = serde_json::to_string(record).context("write a record")?;
    let version = &record.release.version;
    let status = status_name(record.status);
    let seq: i64 = sqlx::query_scalar(
        "INSERT INTO records (id, version, status, finished, document, seq)
         VALUES (?, ?, ?, ?, ?, (SELECT COALESCE(MAX(seq), 0) + 1 FROM records))
         RETURNING seq",
    )
    .bind(&record.id)
    .bind(version.to_string())
    .bind(status)
    .bind(record.finished.to_string())
    .bind(document)
    .fetch_one(&mut **writing)
    .await
    .context("add a record to the store")?;
    for (place, artifact) in record.artifacts.iter().enumerate() {
        let tier = artifact.tier.as_ref().map(name_of).transpose()?;
        sqlx::query("INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(seq)
            .bind(place as i64)
            .bind(&artifact.name)
            .bind(name_of(&artifact.verdict)?)
            .bind(tier)
            .bind(artifact.published.sha256.to_string())
            .bind(artifact.published.size as i64)
            .bind(artifact.rebuilt.map(|rebuilt| rebuilt.sha256.to_string()))
            .bind(record.is_disputed(&artifact.name))
            .execute(&mut **writing)
            .await
            .context("add a file of a record to the store")?;
    }
    super::releases::ensure_release(writing, version, record.release.announced).await?;
    super::watch::watch_files(writing, record).await?;
    super::notices::disagreements(writing, record).await?;
    conclude(writing, version, status, &record.id).await
}

/// The release's status is the newest record's; that it became another one is kept.
async fn conclude(
    writing: &mut Transaction<'static, Sqlite>,
    version: &Version,
    status: &str,
    record: &str,
) -> anyhow::Result<()> {
    let was: Option<String> = sqlx::query_scalar("SELECT status FROM releases WHERE version = ?")
        .bind(version.to_string())
        .fetch_one(&mut **writing)
        .await
        .context("read a release's status")?;
    sqlx::query("UPDATE releases SET record = ?, status = ? WHERE version = ?")
        .bind(record)
        .bind(status)
        .bind(version.to_string())
        .execute(&mut **writing)
        .await
        .context("keep a release's status")?;
    current::refresh(writing, version).await?;
    if was.as_deref() == Some(status) {
        return Ok(());
    }
    let change: i64 = sqlx::query_scalar(
        "INSERT INTO changes (at_ms, version, series, was, status, record)
         VALUES (?, ?, ?, ?, ?, ?) RETURNING seq",
    )
    .bind(clock::now_ms())
    .bind(version.to_string())
    .bind(version.series())
    .bind(was)
    .bind(status)
    .bind(record)
    .fetch_one(&mut **writing)
    .await
    .context("keep a change of status")?;
    super::deliveries::owe(writing, change, &version.series()).await
}

fn parsed(row: &SqliteRow) -> anyhow::Result<Record> {
    let document: String = row.try_get("document")?;
    serde_json::from_str(&document).context("read a record of the store")
}

fn record_row(row: &SqliteRow) -> anyhow::Result<RecordRow> {
    Ok(RecordRow {
        seq: row.try_get("seq")?,
        id: row.try_get("id")?,
        version: row.try_get::<String, _>("version")?.parse()?,
        status: row.try_get("status")?,
        finished: row.try_get("finished")?,
    })
}

pub(super) fn artifact_row(row: &SqliteRow) -> anyhow::Result<ArtifactRow> {
    Ok(ArtifactRow {
        record: row.try_get("id")?,
        version: row.try_get::<String, _>("version")?.parse()?,
        name: row.try_get("name")?,
        verdict: row.try_get("verdict")?,
        tier: row.try_get("tier")?,
        disputed: row.try_get("disputed")?,
        published: row.try_get("published")?,
        rebuilt: row.try_get("rebuilt")?,
    })
}

pub(super) fn change_row(row: &SqliteRow) -> anyhow::Result<ChangeRow> {
    Ok(ChangeRow {
        seq: row.try_get("seq")?,
        at: time(row.try_get("at_ms")?)?,
        version: row.try_get::<String, _>("version")?.parse()?,
        was: row.try_get("was")?,
        status: row.try_get("status")?,
        record: row.try_get("record")?,
    })
}

fn status_name(status: RecordStatus) -> &'static str {
    match status {
        RecordStatus::Pass => "pass",
        RecordStatus::Fail => "fail",
        RecordStatus::NotBuilt => "not_built",
    }
}
