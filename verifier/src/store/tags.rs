//! The tags of the repository as they were last seen. A tag names one commit for ever: one that
//! moves or vanishes is news.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use sqlx::{Row, Sqlite, Transaction};

use super::notices::{observe, raise, settle_alarm};
use super::queue::want;
use super::{Store, commit, current, name_of};
use crate::clock;
use crate::observation::{AlarmKind, Observation, ObservationKind};
use crate::queue::Why;
use crate::source::TagMove;
use crate::version::Version;

/// An answer that lacks more known tags than this, and more than a tenth, is a broken one.
const VANISHED_MAX: usize = 3;

/// What is new about the tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagNews {
    /// Not there when the repository was looked at before.
    pub appeared: Vec<String>,
    /// They name another commit than before.
    pub moved: Vec<String>,
    /// Not there any more.
    pub vanished: Vec<String>,
}

/// A tag as it was last seen.
struct Known {
    commit: String,
    vanished: bool,
}

impl Store {
    /// Compares the tags of `repository` with what they named before. What is seen first of a
    /// repository is no news. A release whose tag is not as it was seen before is looked at again
    /// at once if its job waits.
    pub async fn tags_seen(
        &self,
        repository: &str,
        tags: &BTreeMap<String, String>,
    ) -> anyhow::Result<TagNews> {
        let mut writing = self.write().await?;
        let known = known(&mut writing, repository).await?;
        let is_gone = |name: &&String| !known[*name].vanished && !tags.contains_key(*name);
        let gone: Vec<String> = known.keys().filter(is_gone).cloned().collect();
        let too_many = gone.len() > VANISHED_MAX && gone.len() * 10 > known.len();
        if too_many || (tags.is_empty() && !known.is_empty()) {
            let (all, missing) = (known.len(), gone.len());
            bail!("{missing} of {all} tags are missing in {repository}: that is not believed");
        }
        let mut news = TagNews::default();
        for (name, commit) in tags {
            let before = known.get(name);
            if before.is_some_and(|before| before.commit == *commit && !before.vanished) {
                continue;
            }
            keep(&mut writing, repository, name, commit).await?;
            hasten(&mut writing, name).await?;
            reconcile(&mut writing, name).await?;
            match before {
                None if known.is_empty() => {}
                None => news.appeared.push(name.clone()),
                Some(before) if before.commit == *commit => {
                    let detail = format!("tag {name} is there again and names commit {commit}");
                    tell(&mut writing, ObservationKind::TagRestored, name, detail).await?;
                    settle_alarm(&mut *writing, AlarmKind::TagVanished, name).await?;
                }
                Some(before) => {
                    let detail = moved_detail(name, &before.commit, commit);
                    settle_alarm(&mut *writing, AlarmKind::TagVanished, name).await?;
                    tell(&mut writing, ObservationKind::TagMoved, name, detail).await?;
                    news.moved.push(name.clone());
                }
            }
        }
        for name in gone {
            vanish(&mut writing, &name).await?;
            let was = &known[&name].commit;
            let detail = format!("tag {name} named commit {was} and is not there any more");
            tell(&mut writing, ObservationKind::TagVanished, &name, detail).await?;
            news.vanished.push(name);
        }
        commit(writing, "tags", "keep the tags").await?;
        Ok(news)
    }

    /// Whether `repository` had the tag when its tags were last listed.
    pub async fn has_tag(&self, repository: &str, tag: &str) -> anyhow::Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM tags
                 WHERE name = ? AND repository = ? AND NOT vanished)",
        )
        .bind(tag)
        .bind(repository)
        .fetch_one(&self.readers)
        .await
        .with_context(|| format!("look for tag {tag}"))
    }
}

/// Observes that a tag moved, unless that was seen already.
pub(super) async fn moved(
    writing: &mut Transaction<'static, Sqlite>,
    moved: &TagMove,
) -> anyhow::Result<()> {
    let detail = moved_detail(&moved.tag, &moved.recorded, &moved.now);
    let seen: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM observations
             WHERE version IS ? AND kind = ? AND artifact = ? AND detail = ?)",
    )
    .bind(version_of(&moved.tag).map(|version| version.to_string()))
    .bind(name_of(&ObservationKind::TagMoved)?)
    .bind(&moved.tag)
    .bind(&detail)
    .fetch_one(&mut **writing)
    .await
    .context("look for an observation")?;
    if seen {
        return raise(writing, AlarmKind::TagMoved, &moved.tag, &detail).await;
    }
    // Whoever looks at all tags next finds nothing new in this one.
    sqlx::query("UPDATE tags SET commit_id = ?, seen_ms = ? WHERE name = ? AND repository = ?")
        .bind(&moved.now)
        .bind(clock::now_ms())
        .bind(&moved.tag)
        .bind(&moved.repository)
        .execute(&mut **writing)
        .await
        .context("keep a tag")?;
    if let Some(version) = version_of(&moved.tag) {
        current::refresh(writing, &version).await?;
    }
    tell(writing, ObservationKind::TagMoved, &moved.tag, detail).await
}

/// A tag is not what it was: a record about another commit does not say how its release stands, and
/// the release is looked at again.
async fn reconcile(writing: &mut Transaction<'static, Sqlite>, name: &str) -> anyhow::Result<()> {
    let Some(version) = version_of(name) else { return Ok(()) };
    current::refresh(writing, &version).await?;
    let query = "SELECT EXISTS (SELECT 1 FROM releases
        WHERE version = ? AND record IS NOT NULL AND current IS NULL)";
    let is_outdated: bool = sqlx::query_scalar(query)
        .bind(version.to_string())
        .fetch_one(&mut **writing)
        .await
        .with_context(|| format!("read how {version} stands"))?;
    if is_outdated {
        want(writing, &version, Why::Recheck).await?;
    }
    Ok(())
}

/// The release that a tag is of.
fn version_of(tag: &str) -> Option<Version> {
    tag.strip_prefix('v').and_then(|text| text.parse().ok())
}

/// In words, that a tag moved.
pub(super) fn moved_detail(name: &str, was: &str, now: &str) -> String {
    format!("tag {name} named commit {was} and now names {now}")
}

async fn known(
    writing: &mut Transaction<'static, Sqlite>,
    repository: &str,
) -> anyhow::Result<BTreeMap<String, Known>> {
    let rows = sqlx::query("SELECT name, commit_id, vanished FROM tags WHERE repository = ?")
        .bind(repository)
        .fetch_all(&mut **writing)
        .await
        .context("read the tags")?;
    let known = rows.iter().map(|row| {
        let known = Known { commit: row.try_get("commit_id")?, vanished: row.try_get("vanished")? };
        anyhow::Ok((row.try_get("name")?, known))
    });
    known.collect()
}

async fn keep(
    writing: &mut Transaction<'static, Sqlite>,
    repository: &str,
    name: &str,
    commit: &str,
) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO tags (name, commit_id, seen_ms, repository) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET commit_id = ?2, seen_ms = ?3, repository = ?4,
             vanished = 0",
    )
    .bind(name)
    .bind(commit)
    .bind(clock::now_ms())
    .bind(repository)
    .execute(&mut **writing)
    .await
    .context("keep a tag")?;
    Ok(())
}

async fn vanish(writing: &mut Transaction<'static, Sqlite>, name: &str) -> anyhow::Result<()> {
    sqlx::query("UPDATE tags SET vanished = 1 WHERE name = ?")
        .bind(name)
        .execute(&mut **writing)
        .await
        .context("keep that a tag vanished")?;
    Ok(())
}

async fn hasten(writing: &mut Transaction<'static, Sqlite>, name: &str) -> anyhow::Result<()> {
    let query = "UPDATE jobs SET due_ms = ?
        WHERE version = ? AND state IN ('queued', 'running', 'parked') AND state = 'queued'
            AND waiting IS NOT NULL";
    sqlx::query(query)
        .bind(clock::now_ms())
        .bind(name.strip_prefix('v').unwrap_or(name))
        .execute(&mut **writing)
        .await
        .context("hasten a job")?;
    Ok(())
}

async fn tell(
    writing: &mut Transaction<'static, Sqlite>,
    kind: ObservationKind,
    name: &str,
    detail: String,
) -> anyhow::Result<()> {
    let observation = Observation {
        at: clock::now(),
        kind,
        version: version_of(name),
        artifact: Some(name.to_owned()),
        detail,
    };
    observe(writing, &observation).await
}
