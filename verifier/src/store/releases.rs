//! Releases as python.org announces them, with what it claims of their files.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::notices::observe;
use super::queue::{reconsider, want};
use super::watch::watch_listed;
use super::{Store, commit, current, lease, time};
use crate::claims;
use crate::clock;
use crate::feed::Announced;
use crate::observation::{Observation, ObservationKind};
use crate::queue::{Lease, Why};
use crate::release::Release;
use crate::version::Version;

const HOUR_MS: i64 = 3600 * 1000;

/// A release in a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReleaseRow {
    /// The release.
    pub version: Version,
    /// Its series, `3.13`.
    pub series: String,
    /// The date that python.org gives.
    pub announced: Timestamp,
    /// `pass`, `fail` or `not_built` of the newest record, as long as that is about what is
    /// published now; null otherwise, and if not checked yet.
    pub status: Option<String>,
    /// The newest record.
    pub record: Option<String>,
    /// Text that sorts as versions do; where a list goes on.
    #[serde(skip)]
    pub sort_key: String,
}

/// A release that is dated so much before the newest one is not new.
const NEWS_MS: i64 = 30 * 24 * 3600 * 1000;

impl Store {
    /// Keeps what python.org announces, and wants verified what has no record and no job yet: what
    /// is new since the first list, and what was announced since `since`. What is much older than
    /// the newest release is history, whenever the list has it; a date to come makes nothing
    /// history. What is missing from the list is not forgotten. Gives the number of jobs that were
    /// queued.
    pub async fn learn(
        &self,
        announced: &[Announced],
        since: Option<Timestamp>,
    ) -> anyhow::Result<usize> {
        let mut writing = self.write().await?;
        let newest: Option<i64> = sqlx::query_scalar(
            "SELECT COALESCE(MAX(announced_ms) FILTER (WHERE announced_ms <= ?1),
                 CASE WHEN COUNT(*) > 0 THEN ?1 END)
             FROM releases WHERE api_key IS NOT NULL",
        )
        .bind(clock::now_ms())
        .fetch_one(&mut *writing)
        .await
        .context("look for the newest release")?;
        for release in announced {
            let added = ensure_release(&mut writing, &release.version, release.date).await?;
            sqlx::query("UPDATE releases SET api_key = ? WHERE version = ? AND api_key IS NOT ?")
                .bind(release.key as i64)
                .bind(release.version.to_string())
                .bind(release.key as i64)
                .execute(&mut *writing)
                .await
                .context("keep a release's key")?;
            let is_news = |newest| release.date.as_millisecond() >= newest - NEWS_MS;
            if added && newest.is_some_and(is_news) {
                announce_new(&mut writing, release).await?;
            }
        }
        let queued = want_unverified(&mut writing, since).await?;
        commit(writing, "learn", "keep what is announced").await?;
        Ok(queued)
    }

    /// Keeps a release's files and claims. A claim that was added or became another one is
    /// observed, and what was verified already is verified again. A file that is missing from the
    /// answer is not forgotten. True if there is something to verify again.
    pub async fn learn_files(&self, release: &Release) -> anyhow::Result<bool> {
        self.learn_from(release, None).await
    }

    /// The same of what the worker with this lease has asked for, to begin with.
    pub async fn learn_first(&self, release: &Release, lease: &Lease) -> anyhow::Result<()> {
        self.learn_from(release, Some(lease)).await?;
        Ok(())
    }

    async fn learn_from(&self, release: &Release, asked: Option<&Lease>) -> anyhow::Result<bool> {
        let version = release.version.to_string();
        let mut release = release.clone();
        let mut writing = self.write().await?;
        ensure_release(&mut writing, &release.version, release.announced).await?;
        let row = sqlx::query("SELECT document, record FROM releases WHERE version = ?")
            .bind(&version)
            .fetch_one(&mut *writing)
            .await
            .context("read a release")?;
        let before: Option<String> = row.try_get("document")?;
        let verified = row.try_get::<Option<String>, _>("record")?.is_some();
        let mut changes = Vec::new();
        if let Some(before) = before {
            let before: Release = serde_json::from_str(&before).context("read a release")?;
            changes = claims::changes(&before, &release);
            release.keep_missing(before);
        }
        for change in &changes {
            let observation = Observation {
                at: clock::now(),
                kind: change.kind,
                version: Some(release.version.clone()),
                artifact: Some(change.artifact.clone()),
                detail: change.detail.clone(),
            };
            observe(&mut writing, &observation).await?;
        }
        let again = verified && !changes.is_empty();
        if again {
            want(&mut writing, &release.version, Why::Recheck).await?;
        }
        match asked {
            Some(lease) => lease::begins(&mut writing, lease).await?,
            None if changes.is_empty() => {}
            None => reconsider(&mut writing, &release.version).await?,
        }
        sqlx::query("UPDATE releases SET document = ?, document_ms = ? WHERE version = ?")
            .bind(serde_json::to_string(&release).context("write a release")?)
            .bind(clock::now_ms())
            .bind(&version)
            .execute(&mut *writing)
            .await
            .context("keep a release's files")?;
        watch_listed(&mut writing, &release).await?;
        current::refresh(&mut writing, &release.version).await?;
        commit(writing, "files", "keep a release's files").await?;
        Ok(again)
    }

    /// The release whose files were asked for too long ago, for its age: an eighth of that, but
    /// not more often than each hour, nor more seldom than `longest`.
    pub async fn stalest_release(
        &self,
        longest: SignedDuration,
    ) -> anyhow::Result<Option<Announced>> {
        let row = sqlx::query(
            "SELECT version, announced_ms, api_key,
                 document_ms + MIN(MAX((?1 - announced_ms) / 8, ?2), ?3) AS due
             FROM releases
             WHERE document IS NOT NULL AND api_key IS NOT NULL AND due <= ?1
             ORDER BY due LIMIT 1",
        )
        .bind(clock::now_ms())
        .bind(HOUR_MS)
        .bind(longest.as_millis() as i64)
        .fetch_optional(&self.readers)
        .await
        .context("look for a release to ask for again")?;
        row.as_ref().map(announced).transpose()
    }

    /// The files of a release were asked for and could not be read: others come first now.
    pub async fn asked_in_vain(&self, version: &Version) -> anyhow::Result<()> {
        sqlx::query("UPDATE releases SET document_ms = ? WHERE version = ?")
            .bind(clock::now_ms())
            .bind(version.to_string())
            .execute(&self.writer)
            .await
            .with_context(|| format!("keep that {version} was asked for"))?;
        Ok(())
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
        row.as_ref().map(announced).transpose()
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
            current::refresh(&mut writing, &version).await?;
        }
        writing.commit().await.context("list the releases of the records")
    }
}

/// A release appeared while this service was watching.
async fn announce_new(
    writing: &mut Transaction<'static, Sqlite>,
    release: &Announced,
) -> anyhow::Result<()> {
    sqlx::query("UPDATE releases SET fresh = 1 WHERE version = ?")
        .bind(release.version.to_string())
        .execute(&mut **writing)
        .await
        .context("keep a new release")?;
    let observation = Observation {
        at: clock::now(),
        kind: ObservationKind::ReleaseAnnounced,
        version: Some(release.version.clone()),
        artifact: None,
        detail: format!("python.org announces {}, dated {}", release.version, release.date),
    };
    observe(writing, &observation).await
}

/// Wants every release verified that should be and has neither a record nor a job: new ones as
/// such, older ones as back-fill, the newest first.
///
/// A job that was cancelled because whoever asked took that back decides nothing: nobody but them
/// wanted it (no base class). One that an operator cancelled does, until somebody asks: otherwise
/// every round would bring it back.
async fn want_unverified(
    writing: &mut Transaction<'static, Sqlite>,
    since: Option<Timestamp>,
) -> anyhow::Result<usize> {
    let rows = sqlx::query(
        "SELECT version, fresh FROM releases
         WHERE api_key IS NOT NULL AND record IS NULL AND (fresh OR announced_ms >= ?)
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.version = releases.version
                 AND NOT (state = 'cancelled' AND base_class IS NULL))
         ORDER BY announced_ms DESC, sort_key DESC",
    )
    .bind(since.map_or(i64::MAX, |since| since.as_millisecond()))
    .fetch_all(&mut **writing)
    .await
    .context("look for releases without a record")?;
    for row in &rows {
        let version: Version = row.try_get::<String, _>("version")?.parse()?;
        let why = if row.try_get::<bool, _>("fresh")? { Why::Release } else { Why::Backfill };
        want(writing, &version, why).await?;
    }
    Ok(rows.len())
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

fn announced(row: &SqliteRow) -> anyhow::Result<Announced> {
    Ok(Announced {
        version: row.try_get::<String, _>("version")?.parse()?,
        date: time(row.try_get("announced_ms")?)?,
        key: row.try_get::<i64, _>("api_key")?.unsigned_abs(),
    })
}

fn release_row(row: &SqliteRow) -> anyhow::Result<ReleaseRow> {
    Ok(ReleaseRow {
        version: row.try_get::<String, _>("version")?.parse()?,
        series: row.try_get("series")?,
        announced: time(row.try_get("announced_ms")?)?,
        status: row.try_get("current")?,
        record: row.try_get("record")?,
        sort_key: row.try_get("sort_key")?,
    })
}
