//! What the API shows: the documented shape of each answer, apart from how the store keeps it.

use jiff::Timestamp;
use rebuilder::Digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::board::Place;
use super::cursor::Page;
use crate::observation::{Alarm, AlarmKind, Observation, ObservationKind};
use crate::queue::Job;
use crate::release::Release;
use crate::store::{ArtifactRow, DeliveryRow, DeliveryState, RecordRow, ReleaseRow};
use crate::webhook::message_id;

/// What a client wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// A version that python.org announces, `3.13.5`.
    #[schema(
        max_length = 32,
        example = "3.13.5",
        pattern = "^(0|[1-9][0-9]{0,8})\
        (\\.(0|[1-9][0-9]{0,8})){1,2}((a|b|rc)(0|[1-9][0-9]{0,8}))?$"
    )]
    pub version: String,
}

/// A request that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct Taken {
    /// The request's id. Who knows it can take the request back.
    pub request: String,
    /// The job that answers it; others may have asked for the same one.
    pub job: String,
    /// Its place in the queue, 1 is next; null if it runs already.
    pub position: Option<u64>,
    /// When it will begin, as far as can be told.
    pub expected_start: Option<Timestamp>,
    /// Where people look.
    pub page: String,
}

/// A job: a release that is to be, is being or was verified.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobShown {
    #[serde(flatten)]
    job: Job,
    /// When it will begin, as far as can be told.
    expected_start: Option<Timestamp>,
}

impl From<Job> for JobShown {
    /// A job without its place in the queue.
    fn from(job: Job) -> JobShown {
        JobShown { job, expected_start: None }
    }
}

impl JobShown {
    /// A job that stands there in the queue.
    pub fn at(job: Job, place: Place) -> JobShown {
        let Place { position, expected_start } = place;
        JobShown { job: Job { position, ..job }, expected_start }
    }
}

/// Where a followed job stands in the queue: the data of an event `queue`.
#[derive(Debug, Serialize)]
pub struct QueueNews {
    /// When it stood there.
    pub at: String,
    /// The same in words.
    pub text: String,
    /// 1 is next.
    pub position: u64,
    /// When it will begin, as far as can be told.
    pub expected_start: Option<Timestamp>,
}

impl QueueNews {
    /// What there is to tell of a job that is queued.
    pub fn of(place: Place, now: Timestamp) -> Option<QueueNews> {
        let (position, expected_start) = (place.position?, place.expected_start);
        let begins = expected_start.map(|start| format!(", expected to begin at {start:.0}"));
        let text = format!("place {position} in the queue{}", begins.unwrap_or_default());
        Some(QueueNews { at: format!("{now:.3}"), text, position, expected_start })
    }
}

/// A record in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordListed {
    pub id: String,
    /// The release.
    pub version: String,
    /// `pass`, `fail` or `not_built`.
    pub status: String,
    /// When the last verdict was known.
    pub finished: String,
}

impl From<RecordRow> for RecordListed {
    fn from(row: RecordRow) -> RecordListed {
        let version = row.version.to_string();
        RecordListed { id: row.id, version, status: row.status, finished: row.finished }
    }
}

/// A release in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleaseListed {
    pub version: String,
    /// `3.13`.
    pub series: String,
    /// The date that python.org gives.
    pub announced: Timestamp,
    /// `pass`, `fail` or `not_built` of the newest record, as long as that is about what is
    /// published now: null if a file was replaced since, the tag moved, or python.org lists a file
    /// that was never judged; and if not checked yet.
    pub status: Option<String>,
    /// The newest record.
    pub record: Option<String>,
}

impl From<ReleaseRow> for ReleaseListed {
    fn from(row: ReleaseRow) -> ReleaseListed {
        ReleaseListed {
            version: row.version.to_string(),
            series: row.series,
            announced: row.announced,
            status: row.status,
            record: row.record,
        }
    }
}

/// A release and its files.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleaseShown {
    #[serde(flatten)]
    pub release: ReleaseListed,
    /// Its source files, as python.org claims them; null if they were never asked for.
    pub files: Option<Vec<FileShown>>,
}

/// A published file, as claimed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileShown {
    pub name: String,
    pub url: String,
    pub size: Option<u64>,
    pub sha256: Option<String>,
    pub md5: Option<String>,
}

impl ReleaseShown {
    /// What the list and the files say.
    pub fn new(row: ReleaseRow, release: Option<Release>) -> ReleaseShown {
        let shown = |release: Release| release.files.into_iter().map(FileShown::from).collect();
        ReleaseShown { release: row.into(), files: release.map(shown) }
    }
}

impl From<crate::release::PublishedFile> for FileShown {
    fn from(file: crate::release::PublishedFile) -> FileShown {
        FileShown {
            name: file.name.to_string(),
            url: file.url.to_string(),
            size: file.size,
            sha256: file.sha256.map(|digest| digest.to_string()),
            md5: file.md5.map(|digest| digest.to_string()),
        }
    }
}

/// What a record says of a file.
#[derive(Debug, Serialize, ToSchema)]
pub struct ArtifactListed {
    /// The record.
    pub record: String,
    /// Its release.
    pub version: String,
    /// File name.
    pub name: String,
    /// `reproduced`, `different` or `not_built`.
    pub verdict: String,
    /// How close; null when not built. `replayed` is reproduced with order, times and owners of
    /// the published archive.
    pub tier: Option<String>,
    /// Whether a claim about the file, or about its tag, disagrees: the record is no pass then.
    pub disputed: bool,
    /// SHA-256 of the published bytes.
    pub published: String,
    /// SHA-256 of the rebuilt bytes, before any replay.
    pub rebuilt: Option<String>,
}

impl From<ArtifactRow> for ArtifactListed {
    fn from(row: ArtifactRow) -> ArtifactListed {
        ArtifactListed {
            record: row.record,
            version: row.version.to_string(),
            name: row.name,
            verdict: row.verdict,
            tier: row.tier,
            disputed: row.disputed,
            published: row.published,
            rebuilt: row.rebuilt,
        }
    }
}

/// What is known of a file by its SHA-256.
#[derive(Debug, Serialize, ToSchema)]
pub struct ArtifactShown {
    /// SHA-256 of the published bytes.
    pub sha256: String,
    /// Whether the newest record that knows the file says that the tag gives its bytes; null if no
    /// record knows it.
    pub reproduced: Option<bool>,
    /// How close that came: `bitwise`, or `replayed` (with order, times and owners of the published
    /// archive); what else there is if it did not.
    pub tier: Option<String>,
    /// Whether that record has a claim about the file, or about its tag, that disagrees.
    pub disputed: Option<bool>,
    /// That record.
    pub record: Option<String>,
    /// What records say of the file, the newest first.
    pub items: Vec<ArtifactListed>,
    /// The `cursor` of the next part; null at the end.
    pub next: Option<String>,
}

impl ArtifactShown {
    /// The answer, with one part of the list.
    pub fn new(sha256: Digest, newest: Option<ArtifactRow>, page: Page<ArtifactListed>) -> Self {
        ArtifactShown {
            sha256: sha256.to_string(),
            reproduced: newest.as_ref().map(|row| row.verdict == "reproduced"),
            tier: newest.as_ref().and_then(|row| row.tier.clone()),
            disputed: newest.as_ref().map(|row| row.disputed),
            record: newest.map(|row| row.record),
            items: page.items,
            next: page.next,
        }
    }
}

/// Something that was seen of python.org's world.
#[derive(Debug, Serialize, ToSchema)]
pub struct ObservationListed {
    pub at: Timestamp,
    #[schema(value_type = String)]
    pub kind: ObservationKind,
    /// The release it is about.
    pub version: Option<String>,
    /// The file or tag it is about.
    pub artifact: Option<String>,
    /// One sentence with both values.
    pub detail: String,
}

impl From<Observation> for ObservationListed {
    fn from(seen: Observation) -> ObservationListed {
        ObservationListed {
            at: seen.at,
            kind: seen.kind,
            version: seen.version.map(|version| version.to_string()),
            artifact: seen.artifact,
            detail: seen.detail,
        }
    }
}

/// An event of a job's stream, field by field.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes what axum writes")]
pub struct EventSent {
    /// Where to go on after it, as `Last-Event-ID`.
    id: String,
    /// `stage`, `log`, `state` or `queue`.
    #[schema(pattern = "^(stage|log|state|queue)$")]
    event: String,
    /// JSON: `{"at", "text"}`, or the job itself in the last one.
    data: String,
}

/// What an operator has to look at.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlarmListed {
    /// Its number, by which it is cleared.
    pub id: i64,
    #[schema(value_type = String)]
    pub kind: AlarmKind,
    /// The file, tag, release, job or webhook.
    pub subject: String,
    /// One sentence.
    pub detail: String,
    /// Since when.
    pub opened: Timestamp,
}

impl From<Alarm> for AlarmListed {
    fn from(alarm: Alarm) -> AlarmListed {
        AlarmListed {
            id: alarm.id,
            kind: alarm.kind,
            subject: alarm.subject,
            detail: alarm.detail,
            opened: alarm.opened,
        }
    }
}

/// What a webhook was told, or is to be told.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryListed {
    /// The webhook's name.
    pub webhook: String,
    /// The `webhook-id` of the message, the same at every attempt.
    pub message: String,
    /// The release whose status changed.
    pub version: String,
    /// What its status became.
    pub status: String,
    /// `due`, `delivered` or `failed`.
    #[schema(value_type = String)]
    pub state: DeliveryState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// When it is sent next, at the earliest; null if it is over.
    pub due: Option<Timestamp>,
    /// When it was delivered or given up.
    pub finished: Option<Timestamp>,
    /// What the last attempt came to.
    pub answer: Option<String>,
}

impl From<DeliveryRow> for DeliveryListed {
    fn from(row: DeliveryRow) -> DeliveryListed {
        DeliveryListed {
            webhook: row.webhook,
            message: message_id(&row.change.record),
            version: row.change.version.to_string(),
            status: row.change.status,
            state: row.state,
            attempts: row.attempts,
            due: (row.state == DeliveryState::Due).then_some(row.due),
            finished: row.finished,
            answer: row.answer,
        }
    }
}

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// Of the program.
    pub version: String,
    pub feed: FeedStatus,
    pub queue: QueueStatus,
    /// Open alarms.
    pub alarms: usize,
}

/// How python.org is watched.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedStatus {
    /// When its list was last read without trouble.
    pub last_success: Option<String>,
    /// When it is read next.
    pub next_check: Option<String>,
    /// The trouble of the last attempt; null if there was none.
    pub last_error: Option<String>,
    /// Requests that python.org's API still allows today.
    pub requests_left: u32,
}

/// How much there is to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueStatus {
    pub queued: i64,
    pub running: i64,
    pub parked: i64,
    /// The median of the last twenty jobs; null before the first.
    pub usual_duration_ms: Option<i64>,
}
