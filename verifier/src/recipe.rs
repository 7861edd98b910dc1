//! Recipes: which steps turn a source into which outputs, and for which versions they hold.
//!
//! A recipe is a TOML file of `config/recipes`, described by the comments of `cpython-source.toml`.
//! It may be based on another one (`cpython-source-e1-to-e4.toml` says how): it then has what that
//! one has, except for what it says itself.

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
        Ok(Recipe {
            name: file.name,
            digest,
            environment: file.environment.context("it has no environment")?,
            build_type: file.build_type.context("it has no build_type")?,
            covers: file.covers.iter().map(range).collect::<anyhow::Result<_>>()?,
            tar: file.tar,
            outputs: file.outputs.context("it has no outputs")?,
            traced: file.traced.unwrap_or_default(),
            variables: file.variables,
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
            bail!(
                "no recipe covers {version}: {} (other releases were made in other ways)",
                ranges.join("; ")
            );
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
mod tests {
    use std::path::Path;

    use anyhow::bail;
    use rebuilder::{Digest, Limits};

    use super::{BASES_MAX, Candidates, Recipe};
    use crate::compare::TarWriter;
    use crate::definitions::Definitions;
    use crate::environment::Environment;
    use crate::era::{EraFinding, ExpectedEra};
    use crate::source::Source;

    const BASE: &str = r#"
        name = "base"
        build_type = "urn:test"
        covers = ["<3.13"]
        environment = "new"
        outputs = ["{version}.tgz"]
        [[step]]
        name = "export"
        run = "one"
        [[step]]
        name = "remove"
        run = "two"
    "#;
    const OLD: &str = r#"
        name = "old"
        based_on = "base"
        covers = ["==3.13.1"]
        environment = "old"
        [variables]
        PYTHONPATH = "/usr/lib/blurb-1.1.0"
        [[step]]
        name = "remove"
        run = "other"
    "#;

    fn parse(text: &str, base: &str) -> anyhow::Result<Recipe> {
        Recipe::parse("recipes/old.toml", text, &|name: &str| match name {
            "recipes/base.toml" => Ok(base.to_owned()),
            _ => bail!("there is no {name}"),
        })
    }

    #[track_caller]
    fn refused(text: &str, base: &str, why: &str) {
        let error = format!("{:#}", parse(text, base).unwrap_err());
        assert!(error.contains(why), "{error}");
    }

    fn shipped() -> Vec<Recipe> {
        Definitions::at(Path::new("")).recipes().unwrap()
    }

    fn candidates(version: &str) -> anyhow::Result<Candidates> {
        Candidates::of(shipped(), &version.parse().unwrap())
    }

    fn written_by(tar: TarWriter) -> EraFinding {
        let packing = serde_json::json!({
            "name": "Python-3.12.1.tgz", "members": 9, "tar": tar, "root_owned": true, "times": 1,
            "sorted": true, "mypy": false,
        });
        let date = "2023-12-07T00:00:00Z".parse().unwrap();
        EraFinding {
            read: Vec::new(),
            expected: ExpectedEra::of(&"3.12.1".parse().unwrap(), date).unwrap(),
            agrees: true,
            files: vec![serde_json::from_value(packing).unwrap()],
        }
    }

    #[test]
    fn every_version_of_a_known_era_has_the_recipe_of_its_tools() {
        for (recipe, environment, versions) in [
            ("cpython-source-e1-tar-1.34", "debian-12", "3.11.7 3.12.1 3.12.2 3.13.0a1 3.13.0a5"),
            ("cpython-source-e2-blurb-1.1.0", "debian-12", "3.12.3 3.12.4 3.13.0a6 3.13.0b3"),
            (
                "cpython-source-e2-blurb-1.2.1",
                "debian-12",
                "3.12.5 3.12.6 3.12.7 3.13.0b4 3.13.0rc1 3.13.0rc3 3.13.0 3.14.0a1",
            ),
            ("cpython-source-e3-blurb-1.2.1", "debian-13", "3.12.8 3.13.1 3.14.0a2"),
            ("cpython-source-e3-blurb-1.3.0", "debian-13", "3.14.0a3"),
            ("cpython-source-e4-blurb-1.3.0", "debian-13", "3.12.9 3.13.2 3.14.0a4"),
            ("cpython-source-e4-blurb-2.0.0", "debian-13", "3.14.0a5 3.14.0a6"),
            (
                "cpython-source",
                "debian-13",
                "3.12.10 3.13.3 3.13.5 3.14.0a7 3.14.0rc1 3.14.0 3.15.0a1",
            ),
        ] {
            for version in versions.split(' ') {
                let candidates = candidates(version).unwrap();
                assert_eq!(candidates.first().name, recipe, "{version}");
                assert_eq!(candidates.first().environment, environment, "{version}");
                let of_e1 = recipe.starts_with("cpython-source-e1");
                assert_eq!(candidates.others.len(), usize::from(of_e1), "{version}");
            }
        }
    }

    #[test]
    fn a_version_whose_tools_nobody_knows_has_no_recipe() {
        for version in ["3.9.2", "3.10.14", "3.11.2", "3.11.6", "3.11.8", "3.11.12", "3.12.0"] {
            let error = candidates(version).unwrap_err().to_string();
            let start = format!("no recipe covers {version}: cpython-source-e1-tar-1.34 covers ");
            assert!(error.starts_with(&start) && !error.contains("e1-to-e4"), "{error}");
        }
    }

    #[test]
    fn a_recipe_that_is_told_by_the_tar_is_chosen_from_the_published_bytes() {
        let candidates = candidates("3.12.1").unwrap();
        for (tar, name) in [
            (TarWriter::Tar134, "cpython-source-e1-tar-1.34"),
            (TarWriter::Tar135, "cpython-source-e1-tar-1.35"),
            (TarWriter::Other, "cpython-source-e1-tar-1.34"),
            (TarWriter::GnuFormat, "cpython-source-e1-tar-1.34"),
        ] {
            assert_eq!(candidates.choose(&written_by(tar)).name, name);
        }
        let mut mixed = written_by(TarWriter::Tar135);
        mixed.files.extend(written_by(TarWriter::Tar134).files);
        assert_eq!(candidates.choose(&mixed).name, candidates.first().name);
    }

    #[test]
    fn two_recipes_of_one_version_must_be_told_apart() {
        let with = |tar: &str| {
            let text = OLD.replace("environment", &format!("{tar}\nenvironment"));
            parse(&text, BASE).unwrap()
        };
        let of = |recipes| Candidates::of(recipes, &"3.13.1".parse().unwrap());
        let (old, new) = (r#"tar = "1.34""#, r#"tar = "1.35""#);
        assert!(of(vec![with(old), with(new)]).is_ok());
        for (one, other) in [(old, old), (old, ""), ("", new), ("", "")] {
            let error = of(vec![with(one), with(other)]).unwrap_err().to_string();
            assert_eq!(error, "3.13.1 is covered by two recipes, old and old");
        }
    }

    #[test]
    fn a_recipe_has_what_its_base_has_except_for_what_it_says() {
        let (base, old) = (parse(BASE, "").unwrap(), parse(OLD, BASE).unwrap());
        assert_eq!((old.name.as_str(), old.environment.as_str()), ("old", "old"));
        assert_eq!((&old.build_type, &old.outputs), (&base.build_type, &base.outputs));
        let runs: Vec<&str> = old.steps.iter().map(|step| step.run.as_str()).collect();
        assert_eq!(runs, ["one", "other"]);
        assert!(!old.covers(&"3.12.1".parse().unwrap()));
        assert_eq!(base.digest, Digest::of(BASE.as_bytes()));
        assert_eq!(old.digest, Digest::of(format!("{BASE}\0{OLD}").as_bytes()));
        let other_base = parse(OLD, &BASE.replace("one", "three")).unwrap();
        assert_ne!(old.digest, other_base.digest);
    }

    #[test]
    fn variables_of_a_recipe_are_part_of_the_definition() {
        let source = Source {
            repository: "https://example.org/cpython".to_owned(),
            tag: "v3.13.1".to_owned(),
            tag_object: None,
            commit: "c".repeat(40),
            tree: "d".repeat(40),
            committed: "2024-12-03T00:00:00Z".parse().unwrap(),
        };
        let environment = Environment {
            name: "old".to_owned(),
            digest: Digest::of(b"tree"),
            root: "/nowhere".into(),
        };
        let recipe = parse(OLD, BASE).unwrap();
        let version = "3.13.1".parse().unwrap();
        let definition = recipe.definition(&version, &source, &environment, &Limits::default());
        let variables = definition.internal_parameters.environment;
        let expected = [
            ("COMMIT", source.commit.as_str()),
            ("PYTHONPATH", "/usr/lib/blurb-1.1.0"),
            ("SOURCE_DATE_EPOCH", "1733184000"),
            ("VERSION", "3.13.1"),
        ];
        assert_eq!(variables, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn a_recipe_that_does_not_fit_its_base_is_refused() {
        refused(&OLD.replace(r#""remove""#, r#""erase""#), BASE, "replaces the step erase");
        refused(&OLD.replace(r#""base""#, r#""../base""#), BASE, "read what recipes/old.toml is");
        refused(&OLD.replace(r#""base""#, r#""none""#), BASE, "there is no recipes/none.toml");
        refused(&OLD.replace("PYTHONPATH", "VERSION"), BASE, "sets VERSION, which the release");
        let endless = BASE.replace("build_type", "based_on = \"base\"\nbuild_type");
        refused(OLD, &endless, &format!("based on more than {BASES_MAX} recipes"));
        refused(OLD, &BASE.replace("outputs", "#"), "it has no outputs");
        refused(OLD, &BASE.replace(r#""remove""#, r#""export""#), "two steps named export");
        refused(&OLD.replace("covers", "versions"), BASE, "unknown field `versions`");
    }
}
