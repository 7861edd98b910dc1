//! The cheap signals between two looks at the API: the listing of files, the RSS of releases and
//! the repository's tags.
//!
//! They come before the API's rows or with them, and ask nothing of its allowance. A new name is no
//! more than a reason to ask the API early; a tag that moved or vanished is news by itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use super::Daemon;
use crate::environment::Environment;
use crate::feed::{announcements, listing};
use crate::http::HttpError;
use crate::source;
use crate::version::Version;

/// Directories of coming versions: the next feature release and the one after it.
const COMING_MAX: usize = 3;
/// More names of one place are not remembered beyond the next look: python.org has some hundred.
const NAMES_MAX: usize = 50_000;
/// Where names are kept that the RSS has; no directory is called so.
const ANNOUNCED: &str = "feed.rss";
/// Among the newest releases are those of every series that is alive.
const NEWEST: u32 = 50;

/// What was seen before. The first look is no news.
#[derive(Debug, Default)]
pub struct Glance {
    /// Directories; for each directory of a coming version, what is there; and what the RSS names.
    names: BTreeMap<String, BTreeSet<String>>,
    /// Where git is; assembled once.
    environment: Option<Environment>,
}

impl Glance {
    /// Looks at all; true if there is a sign of a release that is not announced yet.
    pub async fn look(&mut self, daemon: &Daemon) -> bool {
        let files = self.files(daemon).await.context("glance at the published files");
        let announced = self.announcements(daemon).await.context("glance at the announcements");
        let tags = self.tags(daemon).await.context("glance at the tags");
        let mut news = false;
        for found in [files, announced, tags] {
            match found {
                Ok(found) => news |= found,
                // Trouble on the way says nothing.
                Err(error) => tracing::warn!("{error:#}"),
            }
        }
        news
    }

    async fn files(&mut self, daemon: &Daemon) -> anyhow::Result<bool> {
        let (client, feed) = (&daemon.line.client, &daemon.line.config.feed);
        let mut news = self.is_new("", listing::directories(client, feed).await?);
        for base in coming(daemon).await? {
            news |= self.is_new(&base, listing::versions(client, feed, &base).await?);
        }
        Ok(news)
    }

    async fn announcements(&mut self, daemon: &Daemon) -> anyhow::Result<bool> {
        let line = &daemon.line;
        let versions = match announcements::versions(&line.client, &line.config.feed).await {
            Ok(versions) => versions,
            // A mirror of the API need not have it.
            Err(error) if matches!(error.downcast_ref(), Some(HttpError::NotFound { .. })) => {
                tracing::debug!("{error:#}");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let mut names = BTreeSet::new();
        for version in versions {
            // What the API has told already is no reason to ask it.
            if line.store.announced(&version).await?.is_none() {
                names.insert(version.to_string());
            }
        }
        Ok(self.is_new(ANNOUNCED, names))
    }

    /// Whether a name was not in `place` before.
    fn is_new(&mut self, place: &str, names: BTreeSet<String>) -> bool {
        let known = self.names.get_mut(place);
        let Some(known) = known else {
            self.names.insert(place.to_owned(), names);
            return false;
        };
        let new: Vec<String> = names.difference(known).cloned().collect();
        if !new.is_empty() {
            tracing::info!("new at python.org: {}", new.join(", "));
        }
        // A name that a cut answer lacks is not new when it is back.
        if known.len() < NAMES_MAX {
            known.extend(names);
        } else {
            *known = names;
        }
        !new.is_empty()
    }

    async fn tags(&mut self, daemon: &Daemon) -> anyhow::Result<bool> {
        let line = &daemon.line;
        let environment = match self.environment.take().filter(|known| known.root.exists()) {
            Some(environment) => environment,
            None => line.environment(&newest_environment(daemon).await?).await?,
        };
        let tags = line.tags(self.environment.insert(environment)).await?;
        let repository = source::named(&line.config.source.repository);
        let news = line.store.tags_seen(&repository, &tags).await?;
        if !news.appeared.is_empty() {
            tracing::info!("new tags: {}", news.appeared.join(", "));
            daemon.wake.notify_one();
        }
        Ok(!news.appeared.is_empty())
    }
}

/// The directories in which candidates of a version appear that is not out yet.
async fn coming(daemon: &Daemon) -> anyhow::Result<Vec<String>> {
    let rows = daemon.line.store.releases(None, None, NEWEST).await?;
    let versions: Vec<Version> = rows.into_iter().map(|row| row.version).collect();
    let is_out = |base: &String| versions.iter().any(|version| version.to_string() == *base);
    let mut bases: Vec<String> = versions.iter().map(Version::base).collect();
    bases.dedup();
    bases.retain(|base| !is_out(base));
    bases.truncate(COMING_MAX);
    Ok(bases)
}

/// The environment that the newest release with a recipe is made in: its git serves.
async fn newest_environment(daemon: &Daemon) -> anyhow::Result<String> {
    let definitions = daemon.line.definitions();
    for row in daemon.line.store.releases(None, None, NEWEST).await? {
        if let Ok(candidates) = definitions.candidates(&row.version) {
            return Ok(candidates.first().environment.clone());
        }
    }
    anyhow::bail!("no known release has a recipe")
}
