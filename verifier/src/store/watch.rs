//! What is known of python.org's world: releases, files, tags and claims.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::notices::observe;
use super::{Store, time};
use crate::clock;
use crate::fault;
use crate::feed::Announced;
use crate::observation::{Observation, ObservationKind};
use crate::record::Record;
use crate::release::Release;
use crate::version::Version;

const DAY_MS: i64 = 24 * 3600 * 1000;
/// A file's bytes are hashed again this often.
const WEEK_MS: i64 = 7 * DAY_MS;

/// A release in a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReleaseRow {
    /// The release.
    pub version: Version,
    /// Its series, `3.13`.
    pub series: String,
    /// The date that python.org gives.
    pub announced: Timestamp,
    /// `pass`, `fail` or `not_built` of the newest record; null if not checked yet.
    pub status: Option<String>,
    /// The newest record.
    pub record: Option<String>,
    /// Text that sorts as versions do; where a list goes on.
    #[serde(skip)]
    pub sort_key: String,
}

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
    /// It has other bytes; the sentence says how that was seen.
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
    /// Keeps what python.org announces; gives the releases that were not known. What is missing
    /// from the list is not forgotten.
    pub async fn learn(&self, announced: &[Announced]) -> anyhow::Result<Vec<Announced>> {
        let mut writing = self.write().await?;
        let mut new = Vec::new();
        for release in announced {
            let added = ensure_release(&mut writing, &release.version, release.date).await?;
            sqlx::query("UPDATE releases SET api_key = ? WHERE version = ? AND api_key IS NOT ?")
                .bind(release.key as i64)
                .bind(release.version.to_string())
                .bind(release.key as i64)
                .execute(&mut *writing)
                .await
                .context("keep a release's key")?;
            if added {
                new.push(release.clone());
            }
        }
        fault::point("learn.before")?;
        writing.commit().await.context("keep what is announced")?;
        fault::point("learn.after")?;
        Ok(new)
    }

    /// Keeps a release's files and claims; a claim that became another one is observed.
    pub async fn learn_files(&self, release: &Release) -> anyhow::Result<()> {
        let document = serde_json::to_string(release).context("write a release")?;
        let version = release.version.to_string();
        let mut writing = self.write().await?;
        ensure_release(&mut writing, &release.version, release.announced).await?;
        let before: Option<String> =
            sqlx::query_scalar("SELECT document FROM releases WHERE version = ?")
                .bind(&version)
                .fetch_one(&mut *writing)
                .await
                .context("read a release")?;
        if let Some(before) = before {
            let before: Release = serde_json::from_str(&before).context("read a release")?;
            for (artifact, detail) in claim_changes(&before, release) {
                let observation = Observation {
                    at: clock::now(),
                    kind: ObservationKind::ClaimChanged,
                    version: Some(release.version.clone()),
                    artifact: Some(artifact),
                    detail,
                };
                observe(&mut writing, &observation).await?;
            }
        }
        sqlx::query("UPDATE releases SET document = ?, document_ms = ? WHERE version = ?")
            .bind(document)
            .bind(clock::now_ms())
            .bind(&version)
            .execute(&mut *writing)
            .await
            .context("keep a release's files")?;
        writing.commit().await.context("keep a release's files")
    }

    /// A release with its files, as last believed; none if they were never asked for.
    pub async fn release(&self, version: &Version) -> anyhow::Result<Option<Release>> {
        let document: Option<Option<String>> =
            sqlx::query_scalar("SELECT document FROM releases WHERE version = ?")
                .bind(version.to_string())
                .fetch_optional(&self.readers)
                .await
                .with_context(|| format!("read release {version}"))?;
        let document = document.flatten();
        document.map(|text| serde_json::from_str(&text).context("read a release")).transpose()
    }

    /// A release as python.org's list has it; none if it does not announce it.
    pub async fn announced(&self, version: &Version) -> anyhow::Result<Option<Announced>> {
        let row = sqlx::query(
            "SELECT version, announced_ms, api_key FROM releases
             WHERE version = ? AND api_key IS NOT NULL",
        )
        .bind(version.to_string())
        .fetch_optional(&self.readers)
        .await
        .with_context(|| format!("read release {version}"))?;
        let announced = |row: SqliteRow| {
            anyhow::Ok(Announced {
                version: version.clone(),
                date: time(row.try_get("announced_ms")?)?,
                key: row.try_get::<i64, _>("api_key")?.unsigned_abs(),
            })
        };
        row.map(announced).transpose()
    }

    /// Releases, the newest version first, from below the sort key `below`.
    pub async fn releases(
        &self,
        series: Option<&str>,
        below: Option<&str>,
        limit: u32,
    ) -> anyhow::Result<Vec<ReleaseRow>> {
        let below = below.unwrap_or("~");
        let query = match series {
            Some(series) => sqlx::query(
                "SELECT * FROM releases WHERE series = ? AND sort_key < ?
                 ORDER BY sort_key DESC LIMIT ?",
            )
            .bind(series),
            None => sqlx::query(
                "SELECT * FROM releases WHERE sort_key < ? ORDER BY sort_key DESC LIMIT ?",
            ),
        };
        let rows = query.bind(below).bind(limit).fetch_all(&self.readers).await;
        rows.context("list the releases")?.iter().map(release_row).collect()
    }

    /// One release of the list.
    pub async fn release_row(&self, version: &Version) -> anyhow::Result<Option<ReleaseRow>> {
        let row = sqlx::query("SELECT * FROM releases WHERE version = ?")
            .bind(version.to_string())
            .fetch_optional(&self.readers)
            .await
            .with_context(|| format!("read release {version}"))?;
        row.as_ref().map(release_row).transpose()
    }

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
        }
        fault::point("observe.before")?;
        writing.commit().await.context("keep a look at a file")?;
        fault::point("observe.after")?;
        Ok(news)
    }

    /// Compares the repository's tags with what they named before; gives those that moved. An
    /// empty answer is not believed by the caller.
    pub async fn tags_seen(&self, tags: &BTreeMap<String, String>) -> anyhow::Result<Vec<String>> {
        let now = clock::now_ms();
        let mut writing = self.write().await?;
        let mut moved = Vec::new();
        for (name, commit) in tags {
            let before: Option<String> =
                sqlx::query_scalar("SELECT commit_id FROM tags WHERE name = ?")
                    .bind(name)
                    .fetch_optional(&mut *writing)
                    .await
                    .context("read a tag")?;
            if before.as_deref() == Some(commit) {
                continue;
            }
            if let Some(before) = &before {
                moved.push(name.clone());
                let observation = Observation {
                    at: clock::now(),
                    kind: ObservationKind::TagMoved,
                    version: name.strip_prefix('v').and_then(|text| text.parse().ok()),
                    artifact: Some(name.clone()),
                    detail: format!("tag {name} named commit {before} and now names {commit}"),
                };
                observe(&mut writing, &observation).await?;
            }
            sqlx::query(
                "INSERT INTO tags (name, commit_id, seen_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET commit_id = ?2, seen_ms = ?3",
            )
            .bind(name)
            .bind(commit)
            .bind(now)
            .execute(&mut *writing)
            .await
            .context("keep a tag")?;
        }
        writing.commit().await.context("keep the tags")?;
        Ok(moved)
    }

    /// Releases that only records know: of stores that are older than the list of releases.
    pub(super) async fn complete_releases(&self) -> anyhow::Result<()> {
        let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM releases")
            .fetch_one(&self.writer)
            .await
            .context("count the releases")?;
        if known > 0 {
            return Ok(());
        }
        let rows = sqlx::query(
            "SELECT version, MAX(seq) AS newest, id, status,
                 document -> 'release' ->> 'announced' AS announced
             FROM records GROUP BY version",
        )
        .fetch_all(&self.writer)
        .await
        .context("list the releases of the records")?;
        let mut writing = self.write().await?;
        for row in rows {
            let version: Version = row.try_get::<String, _>("version")?.parse()?;
            let announced: Timestamp = row.try_get::<String, _>("announced")?.parse()?;
            ensure_release(&mut writing, &version, announced).await?;
            sqlx::query("UPDATE releases SET record = ?, status = ? WHERE version = ?")
                .bind(row.try_get::<String, _>("id")?)
                .bind(row.try_get::<String, _>("status")?)
                .bind(version.to_string())
                .execute(&mut *writing)
                .await
                .context("keep a release's status")?;
        }
        writing.commit().await.context("list the releases of the records")
    }
}

/// Keeps a release; true if it was not known. A date that python.org corrects is corrected.
pub(super) async fn ensure_release(
    writing: &mut Transaction<'static, Sqlite>,
    version: &Version,
    announced: Timestamp,
) -> anyhow::Result<bool> {
    let added = sqlx::query(
        "INSERT INTO releases (version, sort_key, series, announced_ms, seen_ms)
         VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(version.to_string())
    .bind(version.sort_key())
    .bind(version.series())
    .bind(announced.as_millisecond())
    .bind(clock::now_ms())
    .execute(&mut **writing)
    .await
    .context("keep a release")?
    .rows_affected()
        == 1;
    if !added {
        sqlx::query(
            "UPDATE releases SET announced_ms = ?1 WHERE version = ?2 AND announced_ms <> ?1",
        )
        .bind(announced.as_millisecond())
        .bind(version.to_string())
        .execute(&mut **writing)
        .await
        .context("keep a release's date")?;
    }
    Ok(added)
}

/// From now on the record's files are looked at again; what it found is what they should be.
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
             ON CONFLICT (name) DO UPDATE SET url = ?3, sha256 = ?4, bytes = ?5, state = 'ok',
                 modified = NULL",
        )
        .bind(&artifact.name)
        .bind(record.release.version.to_string())
        .bind(artifact.url.as_str())
        .bind(artifact.published.sha256.to_string())
        .bind(artifact.published.size as i64)
        .bind(now + DAY_MS * spread / 256)
        .bind(now + WEEK_MS * spread / 256)
        .execute(&mut **writing)
        .await
        .context("keep a file to look at again")?;
    }
    Ok(())
}

/// What is claimed otherwise than before, file by file. A claim that was added is no change.
fn claim_changes(before: &Release, now: &Release) -> Vec<(String, String)> {
    let mut changes = Vec::new();
    for old in &before.files {
        let Some(new) = now.files.iter().find(|file| file.name == old.name) else { continue };
        let text = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
        let claims = [
            ("size", old.size.map(|v| v.to_string()), new.size.map(|v| v.to_string())),
            ("SHA-256", old.sha256.map(|v| v.to_string()), new.sha256.map(|v| v.to_string())),
            ("MD5", old.md5.map(|v| v.to_string()), new.md5.map(|v| v.to_string())),
        ];
        for (claim, old_value, new_value) in claims {
            if old_value.is_some() && old_value != new_value {
                let detail = format!(
                    "python.org's API claimed {} as the {claim} of {} and now claims {}",
                    text(old_value),
                    old.name,
                    text(new_value)
                );
                changes.push((old.name.to_string(), detail));
            }
        }
    }
    changes
}

fn release_row(row: &SqliteRow) -> anyhow::Result<ReleaseRow> {
    Ok(ReleaseRow {
        version: row.try_get::<String, _>("version")?.parse()?,
        series: row.try_get("series")?,
        announced: time(row.try_get("announced_ms")?)?,
        status: row.try_get("status")?,
        record: row.try_get("record")?,
        sort_key: row.try_get("sort_key")?,
    })
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
