//! How a release stands right now: its newest record, its files, its newest job. What a badge and a
//! release's page begin with, in one moment.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::current::{FileStanding, standing_now, standing_of_artifact};
use super::records::change_row;
use super::{ChangeRow, Store, named, time};
use crate::queue::JobState;
use crate::record::RecordStatus;
use crate::release::Release;
use crate::version::Version;

/// A release as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The release.
    pub version: Version,
    /// What its newest record says; none if there is none, or if it is not about what is served.
    pub status: Option<RecordStatus>,
    /// The files of its newest record with their verdicts, and those that python.org claims beside
    /// these, as far as it was asked. One without a verdict was never judged, was
    /// replaced, or the tag moved.
    pub files: Vec<(String, Option<FileStanding>)>,
    /// Its newest job, over or not.
    pub job: Option<JobStanding>,
    /// When the newest of these facts came to be.
    pub modified: Timestamp,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStanding {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub state: JobState,
    /// What the release still lacks.
    pub waiting: Option<String>,
    /// The last trouble of ours.
    pub error: Option<String>,
}

const STANDING: &str = concat!(
    "SELECT r.version, r.current, r.seen_ms, r.document, n.seq, n.finished,
        j.id, j.state, j.waiting, j.error, j.created_ms, j.started_ms, j.finished_ms,
        (SELECT at_ms FROM observations WHERE observations.version = r.version
            ORDER BY seq DESC LIMIT 1) AS observed_ms,
        (SELECT json_group_array(json_array(a.name, CASE WHEN NOT r.moved THEN ",
    standing_now!(),
    " END) ORDER BY a.place)
            FROM artifacts AS a WHERE a.seq = n.seq) AS files
    FROM releases AS r
    LEFT JOIN records AS n ON n.id = r.record
    LEFT JOIN jobs AS j ON j.seq = (SELECT MAX(seq) FROM jobs WHERE jobs.version = r.version)
    WHERE r.version = ?"
);

/// A release's status became another one, and the files that this is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeNews {
    /// The change.
    pub change: ChangeRow,
    /// The files of its record, with their verdicts.
    pub files: Vec<(String, FileStanding)>,
}

macro_rules! changes {
    ($which:literal) => {
        concat!(
            "SELECT c.seq, c.at_ms, c.version, c.was, c.status, c.record,
                (SELECT json_group_array(json_array(a.name, ",
            standing_of_artifact!(),
            ") ORDER BY a.place)
                    FROM records AS n JOIN artifacts AS a USING (seq)
                    WHERE n.id = c.record) AS files
            FROM changes AS c ",
            $which,
            " ORDER BY c.seq DESC LIMIT ?"
        )
    };
}

const CHANGES: &str = changes!("");
const CHANGES_OF_SERIES: &str = changes!("WHERE c.series = ?");

impl Store {
    /// How `version` stands; none if nobody ever heard of it.
    pub async fn standing(&self, version: &Version) -> anyhow::Result<Option<Standing>> {
        let row = sqlx::query(STANDING)
            .bind(version.to_string())
            .fetch_optional(&self.readers)
            .await
            .with_context(|| format!("read how {version} stands"))?;
        row.as_ref().map(standing).transpose()
    }

    /// The newest version of `series`; candidates come before their final version.
    pub async fn newest_of_series(&self, series: &str) -> anyhow::Result<Option<Version>> {
        let version: Option<String> = sqlx::query_scalar(
            "SELECT version FROM releases WHERE series = ? ORDER BY sort_key DESC LIMIT 1",
        )
        .bind(series)
        .fetch_optional(&self.readers)
        .await
        .context("look for the newest release of a series")?;
        version.map(|text| text.parse().context("read a version")).transpose()
    }

    /// The newest final version, and where there is none the newest of all.
    pub async fn newest(&self) -> anyhow::Result<Option<Version>> {
        let version: Option<String> = sqlx::query_scalar(
            // Twice through the index, and only to the first row, however many releases there are.
            "SELECT COALESCE(
                 (SELECT version FROM releases WHERE sort_key LIKE '%.z.%'
                  ORDER BY sort_key DESC LIMIT 1),
                 (SELECT version FROM releases ORDER BY sort_key DESC LIMIT 1))",
        )
        .fetch_one(&self.readers)
        .await
        .context("look for the newest release")?;
        version.map(|text| text.parse().context("read a version")).transpose()
    }

    /// When the last verdict of a record was known; none if there is no such record.
    pub async fn record_finished(&self, id: &str) -> anyhow::Result<Option<Timestamp>> {
        let finished: Option<String> =
            sqlx::query_scalar("SELECT finished FROM records WHERE id = ?")
                .bind(id)
                .fetch_optional(&self.readers)
                .await
                .with_context(|| format!("look for record {id}"))?;
        finished.map(|text| text.parse().context("read a record's time")).transpose()
    }

    /// Every SHA-256 of published bytes that is greater than `after`, in their order, at most
    /// `limit` of them.
    pub async fn published(&self, after: &str, limit: u32) -> anyhow::Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT DISTINCT published FROM artifacts WHERE published > ? ORDER BY 1 LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .context("list the files")
    }

    /// Changes of status with the files that they are about, newest first.
    pub async fn newest_changes(
        &self,
        series: Option<&str>,
        limit: u32,
    ) -> anyhow::Result<Vec<ChangeNews>> {
        let query = match series {
            Some(series) => sqlx::query(CHANGES_OF_SERIES).bind(series),
            None => sqlx::query(CHANGES),
        };
        let rows = query.bind(limit).fetch_all(&self.readers).await;
        let news = |row: &SqliteRow| {
            let files = row.try_get::<String, _>("files")?;
            let files = serde_json::from_str(&files).context("read the files of a record")?;
            Ok(ChangeNews { change: change_row(row)?, files })
        };
        rows.context("list the newest changes of status")?.iter().map(news).collect()
    }

    /// Every series of which a release is known, the newest first.
    pub async fn series(&self) -> anyhow::Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT series FROM releases GROUP BY series ORDER BY MAX(sort_key) DESC",
        )
        .fetch_all(&self.readers)
        .await
        .context("list the series")
    }
}

fn standing(row: &SqliteRow) -> anyhow::Result<Standing> {
    let version: Version = row.try_get::<String, _>("version")?.parse()?;
    let status: Option<String> = row.try_get("current")?;
    let status: Option<RecordStatus> = status.as_deref().map(named).transpose()?;
    let mut files = judged(&row.try_get::<String, _>("files")?)?;
    if let Some(document) = row.try_get::<Option<String>, _>("document")? {
        let release: Release = serde_json::from_str(&document).context("read a release")?;
        for file in release.files {
            if !files.iter().any(|(name, _)| name == file.name.as_str()) {
                files.push((file.name.to_string(), None));
            }
        }
    }
    let finished: Option<String> = row.try_get("finished")?;
    let mut times = vec![time(row.try_get("seen_ms")?)?];
    times.extend(
        finished
            .map(|text| text.parse::<Timestamp>())
            .transpose()
            .context("read a record's time")?,
    );
    for name in ["observed_ms", "created_ms", "started_ms", "finished_ms"] {
        times.extend(row.try_get::<Option<i64>, _>(name)?.map(time).transpose()?);
    }
    let modified = times.into_iter().max().unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Standing { version, status, files, job: job(row)?, modified })
}

fn judged(json: &str) -> anyhow::Result<Vec<(String, Option<FileStanding>)>> {
    serde_json::from_str(json).context("read the files of a record")
}

fn job(row: &SqliteRow) -> anyhow::Result<Option<JobStanding>> {
    let Some(id) = row.try_get("id")? else { return Ok(None) };
    let state: String = row.try_get("state")?;
    Ok(Some(JobStanding {
        id,
        state: named(&state)?,
        waiting: row.try_get("waiting")?,
        error: row.try_get("error")?,
    }))
}
