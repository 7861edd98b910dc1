//! Recipes: which steps turn a source into which outputs, and for which versions they hold.
//!
//! A recipe is a TOML file of `config/recipes`, described by the comments of `cpython-source.toml`.
//! It may be based on another one (`cpython-source-e1-to-e4.toml` says how): it then has what that
//! one has, except for what it says itself. `cpython-source-e0.toml` says what it is to replay.

#[cfg(test)]
pub mod sample;
mod vary;

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, bail};
use pep440_rs::VersionSpecifiers;
use rebuilder::{
    BuildDefinition, Digest, ExternalParameters, InternalParameters, Limits, ResolvedDependency,
    Step,
};
use serde::Deserialize;

use crate::compare::TarWriter;
use crate::environment::Environment;
use crate::era::EraFinding;
use crate::release::FileName;
use crate::source::Source;
use crate::version::Version;

pub use vary::Changes;

/// Recipes that one may be based on, one on the other.
const BASES_MAX: usize = 4;
/// Set for every step from the release itself.
const RELEASE_VARIABLES: [&str; 3] = ["VERSION", "COMMIT", "SOURCE_DATE_EPOCH"];

/// A recipe file, parsed, and what it is based on.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// SHA-256 of the file; where it is based on others, of their texts and its own, a NUL between.
    pub digest: Digest,
    /// Name of the environment that its steps run in.
    pub environment: String,
    build_type: String,
    covers: Vec<VersionSpecifiers>,
    tar: Option<TarWriter>,
    outputs: Vec<String>,
    traced: String,
    variables: BTreeMap<String, String>,
    replay: BTreeMap<String, String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    name: String,
    based_on: Option<String>,
    build_type: Option<String>,
    covers: Vec<String>,
    tar: Option<TarWriter>,
    environment: Option<String>,
    outputs: Option<Vec<String>>,
    traced: Option<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    replay: BTreeMap<String, String>,
    #[serde(default)]
    step: Vec<Step>,
}

impl RecipeFile {
    fn parse(name: &str, text: &str) -> anyhow::Result<RecipeFile> {
        let file: RecipeFile = toml::from_str(text).with_context(|| format!("read {name}"))?;
        let fixed = |name: &&str| file.variables.contains_key(*name);
        if let Some(variable) = RELEASE_VARIABLES.iter().find(|name| fixed(name)) {
            bail!("{name} sets {variable}, which the release decides");
        }
        Ok(file)
    }

    /// `file` is based on `self`. Versions are not handed on, nor how they are told apart.
    fn with(mut self, file: RecipeFile) -> anyhow::Result<RecipeFile> {
        for step in file.step {
            match self.step.iter_mut().find(|other| other.name == step.name) {
                Some(other) => *other = step,
                None => bail!("{} replaces the step {}, which is not there", file.name, step.name),
            }
        }
        self.variables.extend(file.variables);
        self.replay.extend(file.replay);
        Ok(RecipeFile {
            name: file.name,
            based_on: None,
            build_type: file.build_type.or(self.build_type),
            covers: file.covers,
            tar: file.tar,
            environment: file.environment.or(self.environment),
            outputs: file.outputs.or(self.outputs),
            traced: file.traced.or(self.traced),
            variables: self.variables,
            replay: self.replay,
            step: self.step,
        })
    }
}

impl Recipe {
    /// Parses the text of the file `name`; `read` gives the text of another one.
    pub fn parse(
        name: &str,
        text: &str,
        read: &dyn Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Recipe> {
        let mut file = RecipeFile::parse(name, text)?;
        let mut texts = vec![text.to_owned()];
        let mut above = Vec::new();
        while let Some(base) = &file.based_on {
            if texts.len() > BASES_MAX {
                bail!("{name} is based on more than {BASES_MAX} recipes, one on the other");
            }
            let base: FileName =
                base.parse().with_context(|| format!("read what {name} is based on"))?;
            let place = format!("recipes/{base}.toml");
            let text = read(&place).with_context(|| format!("read what {name} is based on"))?;
            above.push(file);
            file = RecipeFile::parse(&place, &text)?;
            texts.push(text);
        }
        let steps: Vec<&String> = file.step.iter().map(|step| &step.name).collect();
        if let Some(twice) =
            steps.iter().find(|name| steps.iter().filter(|n| n == name).count() > 1)
        {
            bail!("{} has two steps named {twice}", file.name);
        }
        for over in above.into_iter().rev() {
            file = file.with(over).with_context(|| format!("read {name}"))?;
        }
        texts.reverse();
        Recipe::of(file, Digest::of(texts.join("\0").as_bytes()))
            .with_context(|| format!("read {name}"))
    }

    fn of(file: RecipeFile, digest: Digest) -> anyhow::Result<Recipe> {
        let range = |range: &String| {
            VersionSpecifiers::from_str(range).with_context(|| format!("read the range {range:?}"))
        };
        if file.step.is_empty() {
            bail!("it has no step");
        }
        let outputs = file.outputs.context("it has no outputs")?;
        if let Some(name) = file.replay.keys().find(|name| !outputs.contains(name)) {
            bail!("it replays {name}, which is no output");
        }
        if !file.replay.is_empty() && file.step.iter().all(|step| step.payload.is_none()) {
            bail!("it replays, and no step has a payload to replay");
        }
        Ok(Recipe {
            name: file.name,
            digest,
            environment: file.environment.context("it has no environment")?,
            build_type: file.build_type.context("it has no build_type")?,
            covers: file.covers.iter().map(range).collect::<anyhow::Result<_>>()?,
            tar: file.tar,
            outputs,
            traced: file.traced.unwrap_or_default(),
            variables: file.variables,
            replay: file.replay,
            steps: file.step,
        })
    }

    /// Whether releases of `version` were made this way.
    pub fn covers(&self, version: &Version) -> bool {
        self.covers.iter().any(|range| range.contains(version.as_pep440()))
    }

    /// The covered versions in words: `cpython-source covers >=3.13.3, <3.14`; none if it is only
    /// there for others to be based on.
    pub fn range(&self) -> Option<String> {
        let ranges: Vec<String> = self.covers.iter().map(|range| range.to_string()).collect();
        (!ranges.is_empty()).then(|| format!("{} covers {}", self.name, ranges.join(" or ")))
    }

    /// Command that compresses a replayed archive, by name of the output. Empty for all but
    /// releases that were packed by hand.
    pub fn replay(&self, version: &Version) -> BTreeMap<String, String> {
        let version = version.to_string();
        let named = |(name, command): (&String, &String)| {
            (name.replace("{version}", &version), command.clone())
        };
        self.replay.iter().map(named).collect()
    }

    /// All inputs of the build of `source` by this recipe.
    pub fn definition(
        &self,
        version: &Version,
        source: &Source,
        environment: &Environment,
        limits: &Limits,
    ) -> BuildDefinition {
        let named = |text: &String| text.replace("{version}", &version.to_string());
        let mut steps = self.steps.clone();
        for step in &mut steps {
            step.payload = step.payload.as_ref().map(named);
        }
        let epoch = source.committed.as_second();
        let mut variables = self.variables.clone();
        let values = [version.to_string(), source.commit.clone(), epoch.to_string()];
        variables.extend(RELEASE_VARIABLES.map(str::to_owned).into_iter().zip(values));
        let digest = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        BuildDefinition {
            build_type: self.build_type.clone(),
            external_parameters: ExternalParameters {
                version: version.to_string(),
                repository: source.repository.clone(),
                tag: source.tag.clone(),
            },
            internal_parameters: InternalParameters {
                recipe: self.name.clone(),
                recipe_digest: self.digest,
                steps,
                environment: variables,
                outputs: self.outputs.iter().map(named).collect(),
                traced: named(&self.traced),
                limits: limits.clone(),
            },
            resolved_dependencies: vec![
                ResolvedDependency {
                    name: "source".to_owned(),
                    uri: format!("git+{}@refs/tags/{}", source.repository, source.tag),
                    digest: digest(&[("gitCommit", &source.commit), ("gitTree", &source.tree)]),
                },
                ResolvedDependency {
                    name: "environment".to_owned(),
                    uri: String::new(),
                    digest: digest(&[("sha256", &environment.digest.to_string())]),
                },
            ],
        }
    }
}

/// Nobody has said how this release was made. Nothing is judged, and nothing is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{} {version}: {ranges} (other releases were made in other ways)", NotCovered::BEGINNING)]
pub struct NotCovered {
    version: Version,
    ranges: String,
}

impl NotCovered {
    const BEGINNING: &str = "no recipe covers";

    /// Whether a job waits because of this: its release is not being checked then.
    pub fn is(reason: &str) -> bool {
        reason.starts_with(NotCovered::BEGINNING)
    }
}

/// The recipes that a version may have been made by: one, or several that are told apart by what
/// the published bytes tell.
#[derive(Clone, Debug)]
pub struct Candidates {
    first: Recipe,
    others: Vec<Recipe>,
}

impl Candidates {
    /// Those of `recipes` that cover `version`.
    pub fn of(recipes: Vec<Recipe>, version: &Version) -> anyhow::Result<Candidates> {
        let ranges: Vec<String> = recipes.iter().filter_map(Recipe::range).collect();
        let mut covering = recipes.into_iter().filter(|recipe| recipe.covers(version));
        let Some(first) = covering.next() else {
            return Err(NotCovered { version: version.clone(), ranges: ranges.join("; ") }.into());
        };
        let candidates = Candidates { first, others: covering.collect() };
        candidates.are_told_apart(version)?;
        Ok(candidates)
    }

    fn are_told_apart(&self, version: &Version) -> anyhow::Result<()> {
        let mut earlier = vec![&self.first];
        for recipe in &self.others {
            let alike = |other: &&&Recipe| {
                other.tar.is_none() || recipe.tar.is_none() || other.tar == recipe.tar
            };
            if let Some(other) = earlier.iter().find(alike) {
                let (one, other) = (&other.name, &recipe.name);
                bail!("{version} is covered by two recipes, {one} and {other}");
            }
            earlier.push(recipe);
        }
        Ok(())
    }

    /// The one whose environment serves until the published bytes are there.
    pub fn first(&self) -> &Recipe {
        &self.first
    }

    /// The one by which the published files were made. If they fit none, every one gives other
    /// bytes, and the first is as good as any to show which.
    pub fn choose(&self, era: &EraFinding) -> &Recipe {
        let tar = era.tar();
        let fits = |recipe: &&Recipe| recipe.tar.is_some() && recipe.tar == tar;
        self.others.iter().find(fits).unwrap_or(&self.first)
    }
}

#[cfg(test)]
mod tests;
