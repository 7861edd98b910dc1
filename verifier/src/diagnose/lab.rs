//! Trials: rebuilds of a varied recipe, in two halves, so that an archive that fits is made once
//! and then compressed in every way. No more than so many, and not for longer than so long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use rebuilder::{Digest, Outcome, Rebuild, RebuildOrder};

use super::variations::{Set, changes, words};
use crate::environment::Environment;
use crate::line::{Gathered, Line};
use crate::recipe::Recipe;
use crate::scratch::{self, Scratch};
use crate::version::Version;

/// Nobody waits longer; and an instant can be that far away.
const TIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Makes trials.
pub struct Lab<'a> {
    line: &'a Line,
    gathered: &'a Gathered,
    scratch: &'a Scratch,
    version: &'a Version,
    environments: BTreeMap<String, Environment>,
    trials: u64,
    trials_max: u64,
    deadline: Instant,
    time: Duration,
    is_over: bool,
    /// What kept the recipe as it is from building, if anything did.
    failure: Option<String>,
}

impl<'a> Lab<'a> {
    /// For one release. A recipe without a payload cannot be tried in halves.
    pub fn new(
        line: &'a Line,
        gathered: &'a Gathered,
        scratch: &'a Scratch,
        version: &'a Version,
        trials_max: u64,
        time: Duration,
    ) -> anyhow::Result<Lab<'a>> {
        let recipe = &gathered.recipe;
        recipe.until_payload().with_context(|| {
            format!("recipe {} cannot be diagnosed: no step of it has a payload", recipe.name)
        })?;
        let own = (recipe.environment.clone(), gathered.environment.clone());
        Ok(Lab {
            line,
            gathered,
            scratch,
            version,
            environments: BTreeMap::from([own]),
            trials: 0,
            trials_max,
            deadline: Instant::now() + time.min(TIME_MAX),
            time,
            is_over: false,
            failure: None,
        })
    }

    /// How many trials were made.
    pub fn trials(&self) -> u64 {
        self.trials
    }

    /// What has to be said about all of them.
    pub fn note(&self) -> Option<String> {
        let over = self.is_over.then(|| {
            let minutes = self.time.as_secs() / 60;
            format!("the search ended after {} trials and at most {minutes} minutes", self.trials)
        });
        let failure = self.failure.as_ref();
        let failure =
            failure.map(|failure| format!("the recipe as it is does not build: {failure}"));
        let notes: Vec<String> = over.into_iter().chain(failure).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    /// Makes the archive before compression. Gives its digest, and the work directory where it lies
    /// if it is a `wanted` one; nothing inside if it does not build; nothing at all if there is no
    /// more time for trials.
    pub async fn payload(
        &mut self,
        set: &Set<'_>,
        wanted: &[Digest],
    ) -> anyhow::Result<Option<Option<(Digest, PathBuf)>>> {
        if self.may_end() {
            return Ok(None);
        }
        let stage = self.line.progress.stage(&format!("trial {}: the archive", self.trials + 1));
        stage.at(&words(set));
        let recipe = self.gathered.recipe.varied(&changes(set));
        let recipe = recipe.until_payload().context("no step has a payload")?;
        let source = self.gathered.authentic.repository();
        let (rebuild, work) = self.run(&recipe, source).await?;
        let found = match (&rebuild.outcome, rebuild.payloads.last()) {
            (Outcome::Failed(failure), _) => {
                if set.is_empty() {
                    self.failure = Some(failure.to_string());
                }
                stage.done(&format!("{}: {failure}", words(set)));
                None
            }
            (Outcome::Built(_), None) => None,
            (Outcome::Built(_), Some(payload)) => Some(payload.sha256),
        };
        let fits = found.is_some_and(|digest| wanted.contains(&digest));
        if found.is_some() {
            stage.done(&format!("{}: {}", words(set), if fits { "as published" } else { "no" }));
        }
        if !fits {
            remove(&work)?;
        }
        Ok(Some(found.map(|digest| (digest, work))))
    }

    /// Compresses the archive that lies in `made`, which came out with `payload`. Gives the names
    /// of those `wanted` files that came out; nothing inside if it does not build; nothing at all
    /// if there is no more time for trials.
    pub async fn compress(
        &mut self,
        payload: &Set<'_>,
        set: &Set<'_>,
        made: &Path,
        wanted: &[(String, Digest)],
    ) -> anyhow::Result<Option<Option<BTreeSet<String>>>> {
        if self.may_end() {
            return Ok(None);
        }
        let stage = self.line.progress.stage(&format!("trial {}: compressed", self.trials + 1));
        stage.at(&words(set));
        let mut varied = changes(payload);
        // What prepared the source is done with.
        varied.prepare.clear();
        let compressors = changes(set);
        varied.variables.extend(compressors.variables);
        varied.prepare = compressors.prepare;
        let outputs: Vec<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
        // The archive is taken in before anything else runs.
        let recipe = self.gathered.recipe.from_payload(self.version, &outputs);
        let recipe = recipe.context("no step has a payload")?.varied(&varied);
        let (rebuild, work) = self.run(&recipe, made).await?;
        let came_out = match &rebuild.outcome {
            Outcome::Failed(failure) => {
                stage.done(&format!("{}: {failure}", words(set)));
                None
            }
            Outcome::Built(artifacts) => {
                let mut came_out = BTreeSet::new();
                for (name, sha256) in wanted {
                    let is_it = |one: &&rebuilder::Artifact| one.name == *name;
                    if artifacts.iter().find(is_it).is_some_and(|one| one.sha256 == *sha256) {
                        came_out.insert(name.clone());
                    }
                }
                let names: Vec<&str> = came_out.iter().map(String::as_str).collect();
                let names = if names.is_empty() { "no".to_owned() } else { names.join(", ") };
                stage.done(&format!("{}: {names}", words(set)));
                Some(came_out)
            }
        };
        remove(&work)?;
        Ok(Some(came_out))
    }

    fn may_end(&mut self) -> bool {
        self.is_over = self.trials >= self.trials_max || Instant::now() >= self.deadline;
        self.is_over
    }

    async fn run(&mut self, recipe: &Recipe, source: &Path) -> anyhow::Result<(Rebuild, PathBuf)> {
        self.trials += 1;
        let environment = self.environment(&recipe.environment).await?;
        let limits = &self.line.config.rebuild.limits;
        let tagged = self.gathered.authentic.source();
        let name = format!("trial-{}", self.trials);
        let work = self.scratch.directory(&name)?;
        let order = RebuildOrder {
            definition: recipe.definition(self.version, tagged, &environment, limits),
            root: environment.root,
            source: source.to_owned(),
            work: work.clone(),
            log: self.scratch.file(&format!("{name}.log")),
        };
        let rebuild = self.line.program.rebuild(&order, &mut |_| {}).await;
        Ok((rebuild.with_context(|| format!("run {name}"))?, work))
    }

    async fn environment(&mut self, name: &str) -> anyhow::Result<Environment> {
        if let Some(environment) = self.environments.get(name) {
            return Ok(environment.clone());
        }
        let environment = self.line.environment(name).await?;
        self.environments.insert(name.to_owned(), environment.clone());
        Ok(environment)
    }
}

fn remove(work: &Path) -> anyhow::Result<()> {
    scratch::remove(work).with_context(|| format!("remove {}", work.display()))
}
