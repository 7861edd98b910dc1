//! Published files that are looked at again, for ever: those that were judged, and those that
//! python.org lists of releases that nobody has judged.

use anyhow::Context;
use rebuilder::Digest;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::notices::observe;
use super::queue::want;
use super::{Store, commit, current};
use crate::clock;
use crate::observation::{Observation, ObservationKind};
use crate::queue::Why;
use crate::record::{Record, RecordedArtifact};
use crate::release::Release;
use crate::version::Version;

const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A file's bytes are hashed again this often.
const WEEK_MS: i64 = 7 * DAY_MS;

/// A published file that is looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    pub name: String,
    pub version: Version,
    pub url: url::Url,
    /// As it was judged, or first read; none if it was not read so far.
    pub read: Option<(String, u64)>,
    /// `Last-Modified` when it was last looked at.
    pub modified: Option<String>,
    /// `ok`, `changed` or `vanished`.
    pub state: String,
}

/// What a look at a published file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileLook {
    /// It was not read before: with its digest, size and `Last-Modified`.
    First { sha256: String, bytes: u64, modified: Option<String> },
    /// It is what it was; with its `Last-Modified` now.
    Same { modified: Option<String> },
    /// It has other bytes: all of them were read.
    Changed { detail: String },
    /// It is not served any more.
    Vanished { detail: String },
}

/// How thorough a look was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Size and date only.
    Head,
    /// Every byte.
    Hash,
}

impl Store {
    /// Published files whose look of this kind is due.
    pub async fn files_due(&self, look: Look, limit: u32) -> anyhow::Result<Vec<FileRow>> {
        let query = match look {
            Look::Head => "SELECT * FROM files WHERE head_due_ms <= ? ORDER BY head_due_ms LIMIT ?",
            Look::Hash => "SELECT * FROM files WHERE hash_due_ms <= ? ORDER BY hash_due_ms LIMIT ?",
        };
        let rows = sqlx::query(query)
            .bind(clock::now_ms())
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .context("list the files to look at")?;
        rows.iter().map(file_row).collect()
    }

    /// Keeps what a look at a file found. True if that is news: it is observed then, once.
    pub async fn looked(
        &self,
        file: &FileRow,
        look: Look,
        found: &FileLook,
    ) -> anyhow::Result<bool> {
        let (state, kind, detail, modified) = match found {
            FileLook::First { sha256, bytes, modified } => {
                self.first_read(file, sha256, *bytes, modified.as_deref()).await?;
                return Ok(false);
            }
            FileLook::Same { modified } => (
                "ok",
                ObservationKind::FileRestored,
                format!("{} is again what it was", file.name),
                modified.clone(),
            ),
            FileLook::Changed { detail } => {
                ("changed", ObservationKind::FileChanged, detail.clone(), file.modified.clone())
            }
            FileLook::Vanished { detail } => {
                ("vanished", ObservationKind::FileVanished, detail.clone(), file.modified.clone())
            }
        };
        let now = clock::now_ms();
        let mut writing = self.write().await?;
        let before: Option<String> = sqlx::query_scalar("SELECT state FROM files WHERE name = ?")
            .bind(&file.name)
            .fetch_optional(&mut *writing)
            .await
            .context("read a file's state")?;
        // Size and date alone do not prove that changed bytes are back.
        let restores = look == Look::Hash || before.as_deref() == Some("vanished");
        let news = before.as_deref() != Some(state) && (state != "ok" || restores);
        // Nor whether what is back is what it was: then it is read at once.
        let read = file.read.as_ref().map_or("", |(sha256, _)| sha256);
        let kept = sqlx::query(
            "UPDATE files SET state = CASE WHEN ?1 THEN ?2 ELSE state END, modified = ?3,
                 head_due_ms = ?4,
                 hash_due_ms = CASE WHEN ?5 THEN ?6 WHEN ?1 AND ?2 = 'ok' THEN ?8
                     ELSE hash_due_ms END,
                 replaced = CASE WHEN ?2 = 'changed' THEN 1 WHEN ?2 = 'ok' AND ?5 THEN 0
                     ELSE replaced END
             WHERE name = ?7 AND sha256 = ?9",
        )
        .bind(news)
        .bind(state)
        .bind(modified)
        .bind(now + DAY_MS)
        .bind(look == Look::Hash)
        .bind(now + WEEK_MS)
        .bind(&file.name)
        .bind(now)
        .bind(read)
        .execute(&mut *writing)
        .await
        .context("keep a look at a file")?;
        // While it was looked at, a record said that it should have other bytes.
        if kept.rows_affected() == 0 {
            return Ok(false);
        }
        current::refresh(&mut writing, &file.version).await?;
        if news {
            let observation = Observation {
                at: clock::now(),
                kind,
                version: Some(file.version.clone()),
                artifact: Some(file.name.clone()),
                detail,
            };
            observe(&mut writing, &observation).await?;
            // Its verdict stood until an input changed: now one did.
            if kind == ObservationKind::FileChanged {
                want(&mut writing, &file.version, Why::Recheck).await?;
            }
        }
        commit(writing, "observe", "keep a look at a file").await?;
        Ok(news)
    }
}

impl Store {
    /// A file that nobody has judged was read for the first time: so it has to stay.
    async fn first_read(
        &self,
        file: &FileRow,
        sha256: &str,
        bytes: u64,
        modified: Option<&str>,
    ) -> anyhow::Result<()> {
        let now = clock::now_ms();
        let mut writing = self.write().await?;
        sqlx::query(
            "UPDATE files SET sha256 = ?, bytes = ?, modified = ?, head_due_ms = ?, hash_due_ms = ?
             WHERE name = ? AND sha256 = ''",
        )
        .bind(sha256)
        .bind(bytes as i64)
        .bind(modified)
        .bind(now + DAY_MS)
        .bind(now + WEEK_MS)
        .bind(&file.name)
        .execute(&mut *writing)
        .await
        .context("keep a first look at a file")?;
        commit(writing, "observe", "keep a first look at a file").await
    }

    /// A look at a file came to nothing: others come first now, and it is looked at in an hour.
    pub async fn look_later(&self, file: &FileRow, look: Look) -> anyhow::Result<()> {
        let query = match look {
            Look::Head => "UPDATE files SET head_due_ms = ? WHERE name = ?",
            Look::Hash => "UPDATE files SET hash_due_ms = ? WHERE name = ?",
        };
        sqlx::query(query)
            .bind(clock::now_ms() + HOUR_MS)
            .bind(&file.name)
            .execute(&self.writer)
            .await
            .with_context(|| format!("keep that {} is looked at later", file.name))?;
        Ok(())
    }
}

/// From now on the files that python.org lists are looked at, whether or not a record will be about
/// them.
pub(super) async fn watch_listed(
    writing: &mut Transaction<'static, Sqlite>,
    release: &Release,
) -> anyhow::Result<()> {
    for file in &release.files {
        let due = Due::of(Digest::of(file.name.as_str().as_bytes()));
        sqlx::query(
            "INSERT INTO files (name, version, url, sha256, bytes, head_due_ms, hash_due_ms)
             VALUES (?1, ?2, ?3, '', 0, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET url = ?3 WHERE files.sha256 = ''",
        )
        .bind(file.name.as_str())
        .bind(release.version.to_string())
        .bind(file.url.as_str())
        .bind(due.head_ms)
        .bind(due.hash_ms)
        .execute(&mut **writing)
        .await
        .context("keep a file to look at")?;
    }
    Ok(())
}

/// From now on the record's files are looked at again; what it found is what they should be. A file
/// that was seen replaced, and that the record found as it was before, may have been replaced while
/// it was at it; and of one that was known with other bytes, nobody knows which are served now: it
/// is read at once. One that nobody judged before and that was read with other bytes has changed.
pub(super) async fn watch_files(
    writing: &mut Transaction<'static, Sqlite>,
    record: &Record,
) -> anyhow::Result<()> {
    for artifact in &record.artifacts {
        tell_if_replaced(writing, record, artifact).await?;
        let due = Due::of(artifact.published.sha256);
        sqlx::query(
            "INSERT INTO files (name, version, url, sha256, bytes, head_due_ms, hash_due_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (name) DO UPDATE SET url = ?3, sha256 = ?4, bytes = ?5, modified = NULL,
                 state = CASE WHEN replaced AND sha256 = ?4 THEN state ELSE 'ok' END,
                 hash_due_ms = CASE WHEN replaced OR sha256 NOT IN ('', ?4) THEN ?8
                     ELSE hash_due_ms END,
                 replaced = replaced AND sha256 = ?4",
        )
        .bind(&artifact.name)
        .bind(record.release.version.to_string())
        .bind(artifact.url.as_str())
        .bind(artifact.published.sha256.to_string())
        .bind(artifact.published.size as i64)
        .bind(due.head_ms)
        .bind(due.hash_ms)
        .bind(clock::now_ms())
        .execute(&mut **writing)
        .await
        .context("keep a file to look at again")?;
    }
    Ok(())
}

/// A file that no record was about before has other bytes than when it was first read.
async fn tell_if_replaced(
    writing: &mut Transaction<'static, Sqlite>,
    record: &Record,
    artifact: &RecordedArtifact,
) -> anyhow::Result<()> {
    let (name, now) = (&artifact.name, artifact.published.sha256.to_string());
    let query = "SELECT sha256 FROM files WHERE name = ?1 AND sha256 NOT IN ('', ?2)
        AND NOT replaced AND NOT EXISTS (SELECT 1 FROM artifacts JOIN records USING (seq)
            WHERE artifacts.name = ?1 AND records.version = ?3 AND records.id <> ?4)";
    let first: Option<String> = sqlx::query_scalar(query)
        .bind(name)
        .bind(&now)
        .bind(record.release.version.to_string())
        .bind(&record.id)
        .fetch_optional(&mut **writing)
        .await
        .context("look for what a file was")?;
    let Some(was) = first else { return Ok(()) };
    let observation = Observation {
        at: clock::now(),
        kind: ObservationKind::FileChanged,
        version: Some(record.release.version.clone()),
        artifact: Some(name.clone()),
        detail: format!("{name} was read with the SHA-256 {was} and judged with {now}"),
    };
    observe(writing, &observation).await
}

/// When a file is first looked at.
struct Due {
    head_ms: i64,
    hash_ms: i64,
}

impl Due {
    /// Spread over the day and the week by the first byte of a digest.
    fn of(digest: Digest) -> Due {
        let spread = i64::from_str_radix(&digest.to_string()[..2], 16).unwrap_or_default() + 1;
        let now = clock::now_ms();
        Due { head_ms: now + DAY_MS * spread / 256, hash_ms: now + WEEK_MS * spread / 256 }
    }
}

fn file_row(row: &SqliteRow) -> anyhow::Result<FileRow> {
    let (sha256, bytes): (String, i64) = (row.try_get("sha256")?, row.try_get("bytes")?);
    Ok(FileRow {
        name: row.try_get("name")?,
        version: row.try_get::<String, _>("version")?.parse()?,
        url: row.try_get::<String, _>("url")?.parse()?,
        read: (!sha256.is_empty()).then_some((sha256, bytes.unsigned_abs())),
        modified: row.try_get("modified")?,
        state: row.try_get("state")?,
    })
}
