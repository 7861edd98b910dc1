//! `/`: how every release stands, what is going on, and what somebody has to look at.

use askama::Template;
use jiff::Timestamp;

use super::files::cut;
use super::markup::Moment;
use super::series::{Series, series};
use super::state::State;
use super::{Frame, Page, fact, newest};
use crate::compare::report::grouped;
use crate::observation::Alarm;
use crate::store::{FileStanding, LiveJob, ReleaseLine, Store};

/// Releases in the matrix; CPython has had some five hundred.
const RELEASES_MAX: u32 = 1_000;
const ALARMS_MAX: usize = 20;
const LATEST_MAX: usize = 8;
const CHANGES_MAX: u32 = 8;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    frame: &'a Frame,
    tally: Vec<(State, usize)>,
    alarms: Vec<AlarmShown>,
    alarms_more: usize,
    watch: Watch,
    queue: [String; 3],
    /// Series of which something was looked at or will be.
    watched: Vec<Series>,
    /// The others.
    others: Vec<Series>,
    releases: usize,
    releases_more: u64,
    latest: Vec<Latest>,
    latest_more: bool,
    changes: Vec<ChangeShown>,
    changes_more: bool,
}

/// How python.org is watched.
struct Watch {
    last: Option<Moment>,
    next: Option<Moment>,
    trouble: Option<String>,
}

struct AlarmShown {
    kind: String,
    subject: String,
    detail: String,
    opened: Moment,
}

struct Latest {
    version: String,
    announced: Moment,
    finished: Option<Moment>,
    state: State,
    job: Option<LiveJob>,
    files: String,
    notice: Option<String>,
}

struct ChangeShown {
    at: Moment,
    version: String,
    was: State,
    state: State,
    record: String,
}

/// The overview.
pub async fn overview(store: &Store, frame: &Frame) -> anyhow::Result<Page> {
    let (lines, total) = store.release_lines(RELEASES_MAX).await?;
    let alarms = store.alarms().await?;
    let mut changes = store.last_changes(CHANGES_MAX + 1).await?;
    let changes_more = changes.len() > CHANGES_MAX as usize;
    changes.truncate(CHANGES_MAX as usize);
    let last = fact(store, "feed.last_success").await?;
    let next = fact(store, "feed.next_check").await?;
    let modified = modified(&lines, &alarms, last.as_deref());
    let changed = changes.first().map(|change| change.at);
    let moment = |text: Option<String>| text.as_deref().and_then(Moment::read);
    let (watched, others): (Vec<Series>, Vec<Series>) =
        series(&lines).into_iter().partition(Series::is_watched);
    let alarms_more = alarms.len().saturating_sub(ALARMS_MAX);
    let changes = changes.into_iter().map(|change| ChangeShown {
        at: Moment::new(change.at),
        version: change.version.to_string(),
        was: change.was.as_deref().map_or(State::NotChecked, State::of_status),
        state: State::of_status(&change.status),
        record: change.record,
    });
    let page = Overview {
        frame,
        tally: tally(&lines),
        alarms: alarms.into_iter().take(ALARMS_MAX).map(alarm).collect(),
        alarms_more,
        watch: Watch {
            last: moment(last),
            next: moment(next),
            trouble: fact(store, "feed.last_error").await?.map(|text| cut(&text)),
        },
        queue: store.queue_lengths().await?.map(|count| grouped(count.unsigned_abs())),
        watched,
        others,
        releases: lines.len(),
        releases_more: total.saturating_sub(lines.len() as u64),
        latest: latest(&lines),
        latest_more: lines.len() > LATEST_MAX,
        changes: changes.collect(),
        changes_more,
    };
    Ok(Page { html: page.render()?, modified: newest([Some(modified), changed]) })
}

fn modified(lines: &[ReleaseLine], alarms: &[Alarm], last: Option<&str>) -> Timestamp {
    let read = |text: &str| text.parse::<Timestamp>().ok();
    let finished = lines.iter().map(|line| line.finished.as_deref().and_then(read));
    let opened = alarms.iter().map(|alarm| Some(alarm.opened));
    newest(finished.chain(opened).chain([last.and_then(read)]))
}

/// How many releases are in which state; states of none are left out.
fn tally(lines: &[ReleaseLine]) -> Vec<(State, usize)> {
    let state = |line: &ReleaseLine| State::of_release(line.status.as_deref(), line.job.as_ref());
    let states: Vec<State> = lines.iter().map(state).collect();
    let count = |wanted: State| states.iter().filter(|state| **state == wanted).count();
    State::ALL.map(|state| (state, count(state))).into_iter().filter(|(_, n)| *n > 0).collect()
}

fn alarm(alarm: Alarm) -> AlarmShown {
    AlarmShown {
        kind: alarm.kind.words().to_owned(),
        subject: cut(&alarm.subject),
        detail: cut(&alarm.detail),
        opened: Moment::new(alarm.opened),
    }
}

/// The releases that were announced last, whatever their series.
fn latest(lines: &[ReleaseLine]) -> Vec<Latest> {
    let mut lines: Vec<&ReleaseLine> = lines.iter().collect();
    // Stable, and so by version where the dates are the same.
    lines.sort_by_key(|line| std::cmp::Reverse(line.announced));
    let shown = |line: &&ReleaseLine| Latest {
        version: line.version.to_string(),
        announced: Moment::new(line.announced),
        finished: line.finished.as_deref().and_then(Moment::read),
        state: State::of_release(line.status.as_deref(), line.job.as_ref()),
        job: line.job.clone(),
        files: files(line),
        notice: line.notice.as_deref().map(cut),
    };
    lines.iter().take(LATEST_MAX).map(shown).collect()
}

/// `2 of 2 reproduced`; `2 of 2 replayed` where that holds for one of them.
fn files(line: &ReleaseLine) -> String {
    if line.status.is_none() {
        return String::new();
    }
    let count = |wanted| line.files.iter().filter(|(_, file)| *file == Some(wanted)).count();
    let reproduced = count(FileStanding::Reproduced) + count(FileStanding::Disputed);
    let replayed = count(FileStanding::Replayed);
    let word = if replayed > 0 { "replayed" } else { "reproduced" };
    format!("{} of {} {word}", reproduced + replayed, line.files.len())
}
