//! Badges: one `<img>` that says how a release stands, as SVG and in the endpoint schema of
//! shields (shields.io/badges/endpoint-badge).

use serde::Serialize;
use shields::{BadgeParams, BadgeStyle, render_badge_svg};

use super::pages::State;
use super::site::{Caching, POLICY, Resource};
use crate::queue::JobState;
use crate::record::RecordStatus;
use crate::store::{FileStanding, JobStanding, Standing, Store};
use crate::version::Version;

/// Behind the label.
const LABEL_COLOUR: &str = "#444444";
/// A badge of shields is fetched again after this time; less is not allowed there.
const CACHE_SECONDS: u32 = 300;

/// What a badge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// Of what.
    pub label: String,
    /// How it stands, in two or three words.
    pub message: String,
    /// What kind of news that is.
    pub tone: Tone,
}

/// The colours of a badge. The words say the same: no colour stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Everything came out.
    Good,
    /// Something did not.
    Bad,
    /// The tag does not build.
    NotBuilt,
    /// It is being looked at, or will be.
    Running,
    /// Nobody has looked.
    Unknown,
}

impl Tone {
    /// White text on it has a contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3), also where the
    /// style lightens it.
    pub fn colour(self) -> &'static str {
        match self {
            Tone::Good => "#17692f",
            Tone::Bad => "#b3261e",
            Tone::NotBuilt => "#8a4600",
            Tone::Running => "#1d5fa8",
            Tone::Unknown => "#5a5f66",
        }
    }
}

/// Which form of a badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Svg,
    Json,
}

/// The badge below `/badge/cpython/`: `latest.svg`, `3.13.svg`, `3.13.5.svg`, `3.13.5/FILE.svg`,
/// or `.json` of each.
pub async fn resource(store: &Store, name: &[&str]) -> anyhow::Result<Option<Resource>> {
    let Some((last, before)) = name.split_last() else { return Ok(None) };
    let Some((stem, form)) = form(last) else { return Ok(None) };
    let (version, file) = match before {
        [] => (meant(store, stem).await?, None),
        [release] => (release.parse().ok(), Some(stem)),
        _ => return Ok(None),
    };
    let Some(version) = version else { return Ok(None) };
    let Some(standing) = store.standing(&version).await? else { return Ok(None) };
    let badge = match file {
        None => Some(of_release(&standing)),
        Some(file) => of_file(&standing, file),
    };
    Ok(badge.map(|badge| badge.resource(form, &standing)))
}

fn form(name: &str) -> Option<(&str, Form)> {
    let svg = name.strip_suffix(".svg").map(|stem| (stem, Form::Svg));
    svg.or_else(|| name.strip_suffix(".json").map(|stem| (stem, Form::Json)))
}

/// The version that a badge's name means. Two numbers are a series.
async fn meant(store: &Store, name: &str) -> anyhow::Result<Option<Version>> {
    if name == "latest" {
        return store.newest().await;
    }
    let Ok(version) = name.parse::<Version>() else { return Ok(None) };
    if version.series() == name {
        return store.newest_of_series(name).await;
    }
    Ok(Some(version))
}

/// The badge of a release.
pub fn of_release(standing: &Standing) -> Badge {
    let (message, tone) = match standing.status {
        Some(status) => concluded(status, standing),
        None => unconcluded(standing),
    };
    Badge { label: format!("CPython {}", standing.version), message, tone }
}

fn concluded(status: RecordStatus, standing: &Standing) -> (String, Tone) {
    let files = &standing.files;
    let count = |file| files.iter().filter(|(_, found)| *found == Some(file)).count();
    let (replayed, different) = (count(FileStanding::Replayed), count(FileStanding::Different));
    let reproduced = count(FileStanding::Reproduced) + replayed;
    // One file that had to be replayed is enough to say so.
    let word = if replayed > 0 { "replayed" } else { "reproduced" };
    let total = files.len();
    match status {
        RecordStatus::Pass => (format!("{word} {reproduced}/{total}"), Tone::Good),
        RecordStatus::NotBuilt => ("not built".to_owned(), Tone::NotBuilt),
        // Every file came out, and yet somebody claims something else about them.
        RecordStatus::Fail if different == 0 => ("claims disagree".to_owned(), Tone::Bad),
        RecordStatus::Fail => (format!("differs {different}/{total}"), Tone::Bad),
    }
}

/// Without a verdict: trouble of ours is never shown as the release's.
fn unconcluded(standing: &Standing) -> (String, Tone) {
    let job = standing.job.as_ref();
    let live = job.filter(|job| matches!(job.state, JobState::Queued | JobState::Running));
    // A page says the same of it, but tells trouble of ours apart from what just takes its time.
    let state =
        |job: &JobStanding| job.waiting.as_deref().map_or(State::Pending, State::of_waiting);
    let (message, tone) = match live.map_or(State::NotChecked, state) {
        State::Waiting => ("waiting", Tone::Running),
        State::NotChecked => ("not checked", Tone::Unknown),
        State::Pending | State::Pass | State::Fail | State::NotBuilt | State::Trouble => {
            ("checking", Tone::Running)
        }
    };
    (message.to_owned(), tone)
}

/// The badge of one file; none if the release has no such file.
pub fn of_file(standing: &Standing, name: &str) -> Option<Badge> {
    let found = standing.files.iter().find(|(known, _)| known == name);
    let verdict = match found {
        Some((_, verdict)) => *verdict,
        None if standing.files.is_empty() && is_expected(&standing.version, name) => None,
        None => return None,
    };
    let (message, tone) = match verdict {
        Some(FileStanding::Reproduced) => ("reproduced".to_owned(), Tone::Good),
        Some(FileStanding::Replayed) => ("replayed".to_owned(), Tone::Good),
        Some(FileStanding::Disputed) => ("claims disagree".to_owned(), Tone::Bad),
        Some(FileStanding::Different) => ("differs".to_owned(), Tone::Bad),
        Some(FileStanding::NotBuilt) => ("not built".to_owned(), Tone::NotBuilt),
        None => unconcluded(standing),
    };
    Some(Badge { label: name.to_owned(), message, tone })
}

/// Whether a release whose files nobody asked for yet may well have this one.
fn is_expected(version: &Version, name: &str) -> bool {
    ["tgz", "tar.xz"].iter().any(|kind| name == format!("Python-{version}.{kind}"))
}

/// The document that shields fetches. Unknown keys are errors there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    schema_version: u32,
    label: &'a str,
    message: &'a str,
    color: &'a str,
    label_color: &'a str,
    /// Then whoever shows the badge cannot give it another colour.
    is_error: bool,
    cache_seconds: u32,
}

impl Badge {
    /// The image. Its title and `aria-label` are both texts.
    pub fn svg(&self) -> String {
        render_badge_svg(&BadgeParams {
            style: BadgeStyle::Flat,
            label_color: Some(LABEL_COLOUR),
            message_color: Some(self.tone.colour()),
            ..BadgeParams::new(&self.label, &self.message)
        })
    }

    /// The same for shields.
    pub fn json(&self) -> String {
        let endpoint = Endpoint {
            schema_version: 1,
            label: &self.label,
            message: &self.message,
            color: self.tone.colour(),
            label_color: LABEL_COLOUR,
            is_error: matches!(self.tone, Tone::Bad | Tone::NotBuilt),
            cache_seconds: CACHE_SECONDS,
        };
        // Invariant: texts, numbers and a truth value are always JSON.
        serde_json::to_string(&endpoint).expect("a badge is JSON")
    }

    fn resource(&self, form: Form, standing: &Standing) -> Resource {
        let (body, media_type) = match form {
            Form::Svg => (self.svg(), "image/svg+xml"),
            Form::Json => (self.json(), "application/json"),
        };
        Resource {
            body: body.into_bytes(),
            media_type,
            caching: Caching::Minutes,
            modified: standing.modified,
            policy: POLICY,
        }
    }
}
