//! `/releases/VERSION`: what is known of one release, and how to find it out again.

use askama::Template;
use jiff::Timestamp;

use super::claimed::{ClaimedFile, claimed};
use super::files::{EvidenceShown, FileShown, ReportFile, cut, evidence, files, reports};
use super::markup::{Moment, counted};
use super::packed::{PackedShown, packed};
use super::shell::word;
use super::state::State;
use super::{Frame, Page, fact, newest};
use crate::compare::Tier;
use crate::publish::site::Shown;
use crate::queue::{Job, JobState};
use crate::record::{Record, RecordStatus, VerdictName};
use crate::source::named;
use crate::store::{FileStanding, LiveJob, ReleaseRow, notice_of};
use crate::version::Version;

/// Unexplained paths of a file, and members that are not the tag's.
const PATHS_MAX: usize = 30;
const HISTORY_MAX: u32 = 50;
const OBSERVATIONS_MAX: u32 = 50;

#[derive(Template)]
#[template(path = "release.html")]
struct ReleasePage<'a> {
    frame: &'a Frame,
    version: String,
    series: String,
    announced: Moment,
    state: State,
    sentence: String,
    notice: Option<String>,
    job: Option<JobShown>,
    found: Option<Found>,
    /// Files of which the newest record says nothing.
    claimed: Vec<ClaimedFile>,
    /// How these are.
    unjudged: State,
    claimed_more: usize,
    /// What the command needs before it.
    elsewhere: String,
    history: Vec<HistoryShown>,
    history_more: bool,
    observations: Vec<ObservationShown>,
    observations_more: bool,
}

/// What the newest record says.
pub(super) struct Found {
    pub id: String,
    pub finished: Moment,
    pub source: SourceShown,
    pub environment: (String, String),
    pub recipe: (String, String),
    pub files: Vec<FileShown>,
    pub files_more: usize,
    pub evidence: Vec<EvidenceShown>,
    pub evidence_more: usize,
    pub packed: Option<PackedShown>,
}

/// The tagged commit, with links where it is known how to make them.
pub(super) struct SourceShown {
    pub repository: String,
    pub tag: String,
    pub commit: String,
    pub tree: String,
    pub committed: Moment,
    /// Of the tag and the commit.
    pub links: Option<(String, String)>,
}

/// The job that is about the release now.
struct JobShown {
    id: String,
    class: &'static str,
    text: String,
}

struct HistoryShown {
    id: String,
    state: State,
    finished: Option<Moment>,
    text: String,
}

struct ObservationShown {
    at: Moment,
    kind: &'static str,
    artifact: String,
    detail: String,
}

/// The page of a release; none if nobody knows it.
pub async fn release(
    shown: &Shown,
    frame: &Frame,
    version: &Version,
) -> anyhow::Result<Option<Page>> {
    let store = &shown.store;
    let Some(row) = store.release_row(version).await? else { return Ok(None) };
    let record = store.newest_of(version).await?;
    let job = store.job_of(version).await?;
    let mut history = store.records(Some(version), None, HISTORY_MAX + 1).await?;
    let history_more = history.len() > HISTORY_MAX as usize;
    history.truncate(HISTORY_MAX as usize);
    let mut observations = store.observations_of(version, OBSERVATIONS_MAX + 1).await?;
    let observations_more = observations.len() > OBSERVATIONS_MAX as usize;
    observations.truncate(OBSERVATIONS_MAX as usize);
    let modified = newest([
        record.as_ref().map(|record| record.finished),
        job.as_ref().map(|job| job.started.unwrap_or(job.created)),
        observations.first().map(|seen| seen.at),
    ]);
    let live = job.as_ref().map(LiveJob::from);
    let state = State::of_release(row.status.as_deref(), live.as_ref());
    let history = history.into_iter().map(|row| HistoryShown {
        state: State::of_status(&row.status),
        finished: Moment::read(&row.finished),
        text: row.finished,
        id: row.id,
    });
    let observations = observations.into_iter().map(|seen| ObservationShown {
        at: Moment::new(seen.at),
        kind: seen.kind.words(),
        artifact: seen.artifact.unwrap_or_default(),
        detail: cut(&seen.detail),
    });
    let mut found_in_it = None;
    if let Some(record) = &record {
        let reports = reports(&shown.reports, &record.id).await?;
        let mut found = found(record, &reports, PATHS_MAX);
        let standing = store.standing(version).await?;
        mark_replaced(&mut found.files, &standing.map(|now| now.files).unwrap_or_default(), state);
        found_in_it = Some(found);
    }
    let document = store.release(version).await?;
    let (claimed, claimed_more) = claimed(document.as_ref(), record.as_ref());
    let page = ReleasePage {
        frame,
        version: version.to_string(),
        series: version.series(),
        announced: Moment::new(row.announced),
        state,
        sentence: sentence(&row, record.as_ref(), live.as_ref()),
        notice: fact(store, &notice_of(version)).await?.map(|text| cut(&text)),
        job: job.map(job_shown),
        found: found_in_it,
        unjudged: unjudged(state),
        claimed,
        claimed_more,
        elsewhere: variables(&shown.elsewhere),
        history: history.collect(),
        history_more,
        observations: observations.collect(),
        observations_more,
    };
    Ok(Some(Page { html: page.render()?, modified }))
}

/// Environment variables as a shell takes them before a command, each with a blank after it.
fn variables(variables: &[(&str, String)]) -> String {
    variables.iter().map(|(name, value)| format!("{name}={} ", word(value))).collect()
}

/// What a record says, for the page of its release and its own.
pub(super) fn found(record: &Record, reports: &[ReportFile], paths_max: usize) -> Found {
    let (files, files_more) = files(record, reports, paths_max);
    let (evidence, evidence_more) = evidence(&record.evidence);
    let named = |named: &crate::record::Named| (named.name.clone(), named.digest.clone());
    Found {
        id: record.id.clone(),
        finished: Moment::new(record.finished),
        source: source(record),
        environment: named(&record.environment),
        recipe: named(&record.recipe),
        files,
        files_more,
        evidence,
        evidence_more,
        packed: record.era.as_ref().map(packed),
    }
}

fn source(record: &Record) -> SourceShown {
    let source = &record.source;
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ":/.-_".contains(c));
    let on_github = source.repository.starts_with("https://github.com/")
        && plain(&source.repository)
        && plain(&source.tag)
        && plain(&source.commit);
    let base = source.repository.trim_end_matches('/').trim_end_matches(".git");
    let links = on_github.then(|| {
        (format!("{base}/tree/{}", source.tag), format!("{base}/commit/{}", source.commit))
    });
    SourceShown {
        repository: cut(&named(&source.repository)),
        tag: cut(&source.tag),
        commit: cut(&source.commit),
        tree: cut(&source.tree),
        committed: Moment::new(source.committed),
        links,
    }
}

/// What stands first on the page: all that most readers want to know.
fn sentence(row: &ReleaseRow, record: Option<&Record>, job: Option<&LiveJob>) -> String {
    let Some(record) = record else {
        return match State::of_release(row.status.as_deref(), job) {
            State::Pending => "No verdict so far: it is being rebuilt, or will be.",
            State::Waiting => "It is not complete yet, and is looked at again.",
            State::Trouble => {
                "We could not look at it so far. That says nothing about the release."
            }
            State::Pass | State::Fail | State::NotBuilt | State::NotChecked => {
                "Nobody has looked at it so far. That says nothing about it."
            }
        }
        .to_owned();
    };
    match row.status {
        Some(_) => verdict_sentence(record),
        None => "What is published now is not judged so far: since the newest record a file was \
                 replaced or added, or the tag was moved."
            .to_owned(),
    }
}

/// A file that is not what the record is about any more is as its release is.
fn mark_replaced(
    files: &mut [FileShown],
    standing: &[(String, Option<FileStanding>)],
    release: State,
) {
    let is_replaced = |file: &&mut FileShown| standing.contains(&(file.name.clone(), None));
    for file in files.iter_mut().filter(is_replaced) {
        file.is_replaced = true;
        file.state = unjudged(release);
    }
}

/// How a file is that no record is about: where others decide what the release is, not checked.
fn unjudged(release: State) -> State {
    match release {
        State::Pass | State::Fail | State::NotBuilt => State::NotChecked,
        State::Pending | State::Waiting | State::NotChecked | State::Trouble => release,
    }
}

/// What a record found, in one sentence.
pub(super) fn verdict_sentence(record: &Record) -> String {
    let count = |name| record.artifacts.iter().filter(|one| one.verdict == name).count();
    let (all, tag) = (record.artifacts.len(), cut(&record.source.tag));
    let files = counted(all, "published file");
    match record.status {
        RecordStatus::Pass if is_replayed(record) => format!(
            "Replayed: the published files are what the steps make of tag {tag}, once order, \
             times and owners of their members are taken from the published archives."
        ),
        RecordStatus::Pass if all == 1 => {
            format!("The published file is what the steps make of tag {tag}, byte for byte.")
        }
        RecordStatus::Pass => {
            format!("All {files} are what the steps make of tag {tag}, byte for byte.")
        }
        RecordStatus::NotBuilt => match &record.rebuild.failure {
            Some(failure) => format!("Tag {tag} does not build: {}.", cut(&failure.to_string())),
            None => format!("Tag {tag} does not build."),
        },
        RecordStatus::Fail if count(VerdictName::Different) == 0 && is_replayed(record) => {
            "Every file came out once order, times and owners of its members were taken from the \
             published archive, but a claim about them disagrees: see the evidence."
                .to_owned()
        }
        RecordStatus::Fail if count(VerdictName::Different) == 0 => {
            "Every file came out byte for byte, but a claim about them disagrees: see the evidence."
                .to_owned()
        }
        RecordStatus::Fail => {
            let differ = count(VerdictName::Different);
            let verb = if differ == 1 { "is" } else { "are" };
            format!("{differ} of {files} {verb} not what the steps make of tag {tag}.")
        }
    }
}

/// Whether some file only came out with order, times and owners of the published one.
fn is_replayed(record: &Record) -> bool {
    record.artifacts.iter().any(|artifact| artifact.tier == Some(Tier::Replayed))
}

fn job_shown(job: Job) -> JobShown {
    let state = State::of_job(&LiveJob::from(&job));
    JobShown { class: state.class(), text: job_text(&job), id: job.id }
}

/// Where a job is, in one sentence.
pub(super) fn job_text(job: &Job) -> String {
    let minute = |at: Timestamp| Moment::new(at).minute;
    match job.state {
        JobState::Running => match job.started {
            Some(started) => format!("It is being rebuilt since {}.", minute(started)),
            None => "It is being rebuilt.".to_owned(),
        },
        JobState::Parked => match &job.waiting {
            Some(reason) => format!("Not checked until somebody has looked: {}.", cut(reason)),
            None => format!(
                "Trouble of ours lasted too long, and somebody has to look: {}",
                cut(job.error.as_deref().unwrap_or("no reason is kept"))
            ),
        },
        JobState::Queued => match (&job.waiting, &job.error) {
            (Some(waiting), _) => {
                let word = match State::of_waiting(waiting) {
                    State::NotChecked => "Not checked",
                    State::Pending => "Put off",
                    State::Waiting
                    | State::Pass
                    | State::Fail
                    | State::NotBuilt
                    | State::Trouble => "Waiting",
                };
                format!("{word}: {}. Looked at again at {}.", cut(waiting), minute(job.due))
            }
            (None, Some(error)) => {
                format!("Trouble of ours, tried again at {}: {}", minute(job.due), cut(error))
            }
            (None, None) => match job.position {
                Some(1) => "It is next in the queue.".to_owned(),
                Some(position) => format!("It is number {position} in the queue."),
                None => "It is in the queue.".to_owned(),
            },
        },
        JobState::Done => "It was rebuilt and judged.".to_owned(),
        JobState::Cancelled => "Whoever asked for it does not want it any more.".to_owned(),
    }
}
