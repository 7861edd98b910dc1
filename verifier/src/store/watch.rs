//! Published files that are looked at again, for ever.

use anyhow::Context;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::notices::observe;
use super::queue::want;
use super::{Store, commit, current};
use crate::clock;
use crate::observation::{Observation, ObservationKind};
use crate::queue::Why;
use crate::record::Record;
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
    pub sha256: String,
    pub bytes: i64,
    /// `Last-Modified` when it was last looked at.
    pub modified: Option<String>,
    /// `ok`, `changed` or `vanished`.
    pub state: String,
}

/// What a look at a published file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileLook {
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
        sqlx::query(
            "UPDATE files SET state = CASE WHEN ?1 THEN ?2 ELSE state END, modified = ?3,
                 head_due_ms = ?4, hash_due_ms = CASE WHEN ?5 THEN ?6 ELSE hash_due_ms END
             WHERE name = ?7",
        )
        .bind(news)
        .bind(state)
        .bind(modified)
        .bind(now + DAY_MS)
        .bind(look == Look::Hash)
        .bind(now + WEEK_MS)
        .bind(&file.name)
        .execute(&mut *writing)
        .await
        .context("keep a look at a file")?;
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
            current::refresh(&mut writing, &file.version).await?;
        }
        commit(writing, "observe", "keep a look at a file").await?;
        Ok(news)
    }
}

impl Store {
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

/// From now on the record's files are looked at again; what it found is what they should be. A file
/// that was seen replaced, and that the record found as it was before, may have been replaced while
/// it was at it: its bytes are looked at at once.
pub(super) async fn watch_files(
    writing: &mut Transaction<'static, Sqlite>,
    record: &Record,
) -> anyhow::Result<()> {
    let now = clock::now_ms();
    for artifact in &record.artifacts {
        // Spread over the day and the week by the first byte of the file's own digest.
        let digest = artifact.published.sha256.to_string();
        let spread = i64::from_str_radix(&digest[..2], 16).unwrap_or_default() + 1;
        sqlx::query(
            "INSERT INTO files (name, version, url, sha256, bytes, head_due_ms, hash_due_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (name) DO UPDATE SET url = ?3, sha256 = ?4, bytes = ?5, modified = NULL,
                 state = CASE WHEN state = 'changed' AND sha256 = ?4 THEN state ELSE 'ok' END,
                 hash_due_ms = CASE WHEN state = 'changed' AND sha256 = ?4 THEN ?8
                     ELSE hash_due_ms END",
        )
        .bind(&artifact.name)
        .bind(record.release.version.to_string())
        .bind(artifact.url.as_str())
        .bind(artifact.published.sha256.to_string())
        .bind(artifact.published.size as i64)
        .bind(now + DAY_MS * spread / 256)
        .bind(now + WEEK_MS * spread / 256)
        .bind(now)
        .execute(&mut **writing)
        .await
        .context("keep a file to look at again")?;
    }
    Ok(())
}

fn file_row(row: &SqliteRow) -> anyhow::Result<FileRow> {
    Ok(FileRow {
        name: row.try_get("name")?,
        version: row.try_get::<String, _>("version")?.parse()?,
        url: row.try_get::<String, _>("url")?.parse()?,
        sha256: row.try_get("sha256")?,
        bytes: row.try_get("bytes")?,
        modified: row.try_get("modified")?,
        state: row.try_get("state")?,
    })
}
