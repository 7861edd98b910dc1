//! What only pages ask: all releases at once, and everything that is known of one.

use anyhow::Context;
use jiff::Timestamp;
use serde::Deserialize;

use super::current::{FileStanding, standing_now};
use super::{ChangeRow, Store, notices, queue, records};
use crate::observation::Observation;
use crate::queue::{Job, JobState};
use crate::version::Version;

/// Files of a release that are shown with it in a list.
const FILES_LISTED_MAX: i64 = 8;

/// A release with the verdicts of its newest record, and the job that is about it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReleaseLine {
    /// The release.
    pub version: Version,
    /// Its series, `3.13`.
    pub series: String,
    /// The date that python.org gives.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub announced: Timestamp,
    /// `pass`, `fail` or `not_built` of the newest record, as long as that is about what is
    /// published now; none otherwise, and if not checked yet.
    pub status: Option<String>,
    /// When the last verdict of that record was known.
    pub finished: Option<String>,
    /// The files of that record, and how they stand; none if a file was replaced
    /// since, or the tag moved.
    pub files: Vec<(String, Option<FileStanding>)>,
    /// The job that is not over.
    pub job: Option<LiveJob>,
    /// What whoever runs this says of it.
    pub notice: Option<String>,
}

/// What a page says of a job that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LiveJob {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub state: JobState,
    /// What the release still lacks.
    pub waiting: Option<String>,
    /// The last trouble.
    pub error: Option<String>,
}

impl From<&Job> for LiveJob {
    fn from(job: &Job) -> LiveJob {
        LiveJob {
            id: job.id.clone(),
            state: job.state,
            waiting: job.waiting.clone(),
            error: job.error.clone(),
        }
    }
}

impl Store {
    /// Releases, the newest version first, each with the verdicts of its newest record; and how
    /// many there are in all.
    pub async fn release_lines(&self, limit: u32) -> anyhow::Result<(Vec<ReleaseLine>, u64)> {
        // All of them are one row: rows cost more than what is in them.
        let text: String = sqlx::query_scalar(concat!(
            "SELECT json_group_array(json_object('version', version, 'series', series,
                 'announced', announced_ms, 'status', status, 'finished', finished,
                 'files', json(files), 'job', json(job), 'notice', notice) ORDER BY sort_key DESC)
             FROM (SELECT sort_key, releases.version, series, announced_ms,
                     releases.current AS status,
                     records.finished,
                     (SELECT json_group_array(json_array(a.name, CASE WHEN NOT moved THEN ",
            standing_now!(),
            " END))
                         FROM artifacts AS a WHERE a.seq = records.seq AND a.place < ?) AS files,
                     CASE WHEN jobs.id IS NOT NULL THEN
                         json_object('id', jobs.id, 'state', jobs.state, 'waiting', waiting,
                             'error', error)
                     END AS job,
                     (SELECT value FROM facts WHERE name = 'notice.' || releases.version)
                         AS notice
                 FROM releases
                 LEFT JOIN records INDEXED BY records_shown ON records.id = releases.record
                 LEFT JOIN jobs ON jobs.version = releases.version
                     AND jobs.state IN ('queued', 'running', 'parked')
                 ORDER BY sort_key DESC LIMIT ?)"
        ))
        .bind(FILES_LISTED_MAX)
        .bind(limit)
        .fetch_one(&self.readers)
        .await
        .context("list the releases")?;
        let lines: Vec<ReleaseLine> = serde_json::from_str(&text).context("read the releases")?;
        if lines.len() < limit as usize {
            let count = lines.len() as u64;
            return Ok((lines, count));
        }
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM releases")
            .fetch_one(&self.readers)
            .await
            .context("count the releases")?;
        Ok((lines, count.unsigned_abs()))
    }

    /// Changes of status, newest first.
    pub async fn last_changes(&self, limit: u32) -> anyhow::Result<Vec<ChangeRow>> {
        let rows = sqlx::query("SELECT * FROM changes ORDER BY seq DESC LIMIT ?")
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .context("list the last changes of status")?;
        rows.iter().map(records::change_row).collect()
    }

    /// The job of a release that is not over.
    pub async fn job_of(&self, version: &Version) -> anyhow::Result<Option<Job>> {
        let id: Option<String> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE version = ? AND state IN ('queued', 'running', 'parked')",
        )
        .bind(version.to_string())
        .fetch_optional(&self.readers)
        .await
        .with_context(|| format!("look for a job of {version}"))?;
        match id {
            Some(id) => self.job(&id).await,
            None => Ok(None),
        }
    }

    /// Jobs that are over, the last one first.
    pub async fn last_jobs(&self, limit: u32) -> anyhow::Result<Vec<Job>> {
        let rows = sqlx::query(
            "SELECT *, NULL AS position FROM jobs WHERE state = 'done'
             ORDER BY finished_ms DESC LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .context("list the last jobs")?;
        rows.iter().map(queue::job).collect()
    }

    /// What was seen of a release, newest first.
    pub async fn observations_of(
        &self,
        version: &Version,
        limit: u32,
    ) -> anyhow::Result<Vec<Observation>> {
        let rows =
            sqlx::query("SELECT * FROM observations WHERE version = ? ORDER BY seq DESC LIMIT ?")
                .bind(version.to_string())
                .bind(limit)
                .fetch_all(&self.readers)
                .await
                .with_context(|| format!("list the observations of {version}"))?;
        rows.iter().map(notices::observation).collect()
    }
}
