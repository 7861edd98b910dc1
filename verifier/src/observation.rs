//! What was seen of python.org's world: a changed byte, a vanished file, a moved tag. News by
//! itself, stored with its time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::version::Version;

/// One thing that was seen, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: ObservationKind,
    /// The release it is about.
    pub version: Option<Version>,
    /// The file or tag it is about.
    pub artifact: Option<String>,
    /// One sentence with both values.
    pub detail: String,
}

/// The kinds of observations. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservationKind {
    /// python.org announces a release that was not known.
    ReleaseAnnounced,
    /// A published file has other bytes than before, under the same name.
    FileChanged,
    /// A published file is not served any more.
    FileVanished,
    /// A file that had vanished or changed is what it was before.
    FileRestored,
    /// A tag names another commit than before.
    TagMoved,
    /// A tag is not there any more.
    TagVanished,
    /// A tag that had vanished names the same commit again.
    TagRestored,
    /// The API claims another size, digest or sidecar than before, or none any more.
    ClaimChanged,
    /// The API claims something that it did not claim before: a digest, a signature.
    ClaimAdded,
    /// The same inputs gave two different results.
    RebuildUnstable,
    /// A claim about a release disagrees with its bytes.
    ClaimDisagrees,
}

/// What an operator has to look at. Open until it is cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Its number, by which it is cleared.
    pub id: i64,
    /// What kind of trouble.
    pub kind: AlarmKind,
    /// The file, tag, release, job or webhook.
    pub subject: String,
    /// One sentence.
    pub detail: String,
    /// Since when.
    pub opened: Timestamp,
    /// Until when.
    pub cleared: Option<Timestamp>,
}

/// The kinds of alarms; deploy/RUNBOOK.md says what to do about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    FileChanged,
    FileVanished,
    TagMoved,
    TagVanished,
    ClaimChanged,
    RebuildUnstable,
    ClaimDisagrees,
    /// A job's operating errors lasted too long.
    JobParked,
    /// python.org could not be read for too long.
    FeedStale,
    /// The state directory's file system is nearly full.
    DiskNearlyFull,
    /// A webhook could not be delivered.
    WebhookFailed,
    /// The machine's clock was set.
    ClockJumped,
}

impl ObservationKind {
    /// What was seen, for people.
    pub fn words(self) -> &'static str {
        match self {
            ObservationKind::ReleaseAnnounced => "announced",
            ObservationKind::FileChanged => "file changed",
            ObservationKind::FileVanished => "file vanished",
            ObservationKind::FileRestored => "file restored",
            ObservationKind::TagMoved => "tag moved",
            ObservationKind::TagVanished => "tag vanished",
            ObservationKind::TagRestored => "tag restored",
            ObservationKind::ClaimChanged => "claim changed",
            ObservationKind::ClaimAdded => "claim added",
            ObservationKind::RebuildUnstable => "two rebuilds do not agree",
            ObservationKind::ClaimDisagrees => "claim disagrees",
        }
    }

    /// The alarm that it raises, if any.
    pub fn alarm(self) -> Option<AlarmKind> {
        match self {
            ObservationKind::ReleaseAnnounced
            | ObservationKind::FileRestored
            | ObservationKind::TagRestored
            | ObservationKind::ClaimAdded => None,
            ObservationKind::FileChanged => Some(AlarmKind::FileChanged),
            ObservationKind::FileVanished => Some(AlarmKind::FileVanished),
            ObservationKind::TagMoved => Some(AlarmKind::TagMoved),
            ObservationKind::TagVanished => Some(AlarmKind::TagVanished),
            ObservationKind::ClaimChanged => Some(AlarmKind::ClaimChanged),
            ObservationKind::RebuildUnstable => Some(AlarmKind::RebuildUnstable),
            ObservationKind::ClaimDisagrees => Some(AlarmKind::ClaimDisagrees),
        }
    }
}

impl AlarmKind {
    /// What happened, for people.
    pub fn words(self) -> &'static str {
        match self {
            AlarmKind::FileChanged => "A published file changed",
            AlarmKind::FileVanished => "A published file vanished",
            AlarmKind::TagMoved => "A tag moved",
            AlarmKind::TagVanished => "A tag vanished",
            AlarmKind::ClaimChanged => "A claim of python.org's API changed",
            AlarmKind::RebuildUnstable => "Two rebuilds do not agree",
            AlarmKind::ClaimDisagrees => "A claim disagrees with the bytes",
            AlarmKind::JobParked => "Trouble of ours: a job is parked",
            AlarmKind::FeedStale => "Trouble of ours: python.org could not be read",
            AlarmKind::DiskNearlyFull => "Trouble of ours: the disk is nearly full",
            AlarmKind::WebhookFailed => "Trouble of ours: a webhook was not delivered",
            AlarmKind::ClockJumped => "The machine's clock was set",
        }
    }
}
