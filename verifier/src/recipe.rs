//! Recipes: which steps turn a source into which outputs, and for which versions they hold.
//!
//! A recipe is a TOML file of `config/recipes`, described by the comments of the one there.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::Context;
use pep440_rs::VersionSpecifiers;
use rebuilder::{
    BuildDefinition, Digest, ExternalParameters, InternalParameters, Limits, ResolvedDependency,
    Step,
};
use serde::Deserialize;

use crate::environment::Environment;
use crate::source::Source;
use crate::version::Version;

/// A recipe file, parsed.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Name of the environment that its steps run in.
    pub environment: String,
    build_type: String,
    covers: Vec<VersionSpecifiers>,
    outputs: Vec<String>,
    traced: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    name: String,
    build_type: String,
    covers: Vec<String>,
    environment: String,
    outputs: Vec<String>,
    #[serde(default)]
    traced: String,
    step: Vec<Step>,
}

impl Recipe {
    /// Parses the text of the file `name`.
    pub fn parse(name: &str, text: &str) -> anyhow::Result<Recipe> {
        let file: RecipeFile = toml::from_str(text).with_context(|| format!("read {name}"))?;
        let covers: Vec<VersionSpecifiers> = file
            .covers
            .iter()
            .map(|range| {
                VersionSpecifiers::from_str(range)
                    .with_context(|| format!("read the range {range:?} of {name}"))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Recipe {
            name: file.name,
            digest: Digest::of(text.as_bytes()),
            environment: file.environment,
            build_type: file.build_type,
            covers,
            outputs: file.outputs,
            traced: file.traced,
            steps: file.step,
        })
    }

    /// Whether releases of `version` were made this way.
    pub fn covers(&self, version: &Version) -> bool {
        self.covers.iter().any(|range| range.contains(version.as_pep440()))
    }

    /// The covered versions in words: `cpython-source covers >=3.13.3, <3.14`.
    pub fn range(&self) -> String {
        let ranges: Vec<String> = self.covers.iter().map(|range| range.to_string()).collect();
        format!("{} covers {}", self.name, ranges.join(" or "))
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
        let variables = [
            ("VERSION", version.to_string()),
            ("COMMIT", source.commit.clone()),
            ("SOURCE_DATE_EPOCH", epoch.to_string()),
        ];
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
                environment: digest(&variables.each_ref().map(|(k, v)| (*k, v.as_str()))),
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

#[cfg(test)]
mod tests {
    use super::Recipe;

    #[test]
    fn the_shipped_recipe_covers_era_e5_only() {
        let text = include_str!("../../config/recipes/cpython-source.toml");
        let recipe = Recipe::parse("cpython-source.toml", text).unwrap();
        for (version, covered) in [
            ("3.13.5", true),
            ("3.12.10", true),
            ("3.14.0a7", true),
            ("3.14.0rc1", true),
            ("3.15.0a1", true),
            ("3.13.2", false),
            ("3.12.9", false),
            ("3.13.0rc1", false),
            ("3.14.0a6", false),
            ("3.11.12", false),
        ] {
            assert_eq!(recipe.covers(&version.parse().unwrap()), covered, "{version}");
        }
    }
}
