//! What a release may have been made with instead: the closed list of config/variations.toml, as far
//! as it is about a recipe, and the sets of variations in the order of their size. Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::facts::{Fact, Facts};
use crate::recipe::{Changes, Recipe};

/// More choices than anybody could wait for.
const CHOICES_MAX: usize = 24;
/// The same of ways to combine the choices that are tried together.
const SETS_MAX: usize = 20_000;

/// What a choice decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The files of the archive.
    Contents,
    /// How they are packed.
    Tar,
    /// How the .tgz is compressed.
    Gzip,
    /// How the .tar.xz is compressed.
    Xz,
}

/// The parts that make the archive before it is compressed.
pub const PAYLOAD: &[Part] = &[Part::Contents, Part::Tar];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariationsFile {
    choice: Vec<ChoiceFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceFile {
    name: String,
    part: Part,
    variable: Option<String>,
    values: Vec<Value>,
}

/// One of the values of a choice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// Of the variable, or the name of the environment.
    pub value: String,
    /// The same in words.
    pub means: String,
    /// Commands that run before the first step.
    pub prepare: Option<String>,
    /// What published files made so cannot but show.
    #[serde(default)]
    leaves: BTreeMap<Fact, BTreeSet<String>>,
}

/// Something that was decided when a release was made.
#[derive(Clone, Debug)]
pub struct Choice {
    /// In words: `version of blurb`.
    pub name: String,
    /// What it decides.
    pub part: Part,
    /// The recipe's variable; none for the environment.
    variable: Option<String>,
    /// What the recipe chooses.
    own: String,
    values: Vec<Value>,
}

impl Choice {
    /// What the recipe chooses, in words where it is one of the list.
    pub fn own_means(&self) -> String {
        let own = self.values.iter().find(|value| value.value == self.own);
        own.map_or_else(|| format!("{:?}", self.own), |value| value.means.clone())
    }

    /// What the recipe does not choose.
    fn others(&self) -> impl Iterator<Item = &Value> {
        self.values.iter().filter(|value| value.value != self.own)
    }
}

/// One value that the recipe does not choose.
#[derive(Clone, Copy, Debug)]
pub struct Variation<'a> {
    pub choice: &'a Choice,
    pub value: &'a Value,
}

/// Variations of different choices, to be tried together.
pub type Set<'a> = Vec<Variation<'a>>;

/// Everything that can be varied about one recipe.
#[derive(Clone, Debug)]
pub struct Space {
    choices: Vec<Choice>,
    /// Choices and values that are left out, and why.
    pub left_out: Vec<String>,
}

impl Space {
    /// Reads the list `text`, as far as it is about `recipe`; `is_there` says which environments can
    /// be had.
    pub fn read(
        text: &str,
        recipe: &Recipe,
        is_there: &dyn Fn(&str) -> bool,
    ) -> anyhow::Result<Space> {
        let file: VariationsFile = toml::from_str(text).context("read variations.toml")?;
        if file.choice.len() > CHOICES_MAX {
            bail!("variations.toml has more than {CHOICES_MAX} choices");
        }
        let mut space = Space { choices: Vec::new(), left_out: Vec::new() };
        for choice in file.choice {
            if space.choices.iter().any(|other| other.name == choice.name) {
                bail!("variations.toml has two choices named {}", choice.name);
            }
            space.add(choice, recipe, is_there);
        }
        for parts in [PAYLOAD, &[Part::Gzip], &[Part::Xz]] {
            let ways = |sets: usize, choice: &Choice| sets.saturating_mul(choice.values.len() + 1);
            if space.about(parts).fold(1, ways) > SETS_MAX {
                bail!("variations.toml has more than {SETS_MAX} ways to combine choices");
            }
        }
        Ok(space)
    }

    fn add(&mut self, choice: ChoiceFile, recipe: &Recipe, is_there: &dyn Fn(&str) -> bool) {
        let ChoiceFile { name, part, variable, mut values } = choice;
        let own = match &variable {
            None => recipe.environment.clone(),
            Some(variable) => match recipe.variable(variable) {
                Some(own) => own.to_owned(),
                None => {
                    self.left_out.push(format!("{name}: the recipe has no variable {variable}"));
                    return;
                }
            },
        };
        if variable.is_none() {
            values.retain(|value| {
                let kept = value.value == own || is_there(&value.value);
                if !kept {
                    let why = format!("there is no environment {}", value.value);
                    self.left_out.push(format!("{name} {}: {why}", value.means));
                }
                kept
            });
        }
        self.choices.push(Choice { name, part, variable, own, values });
    }

    /// How many choices there are about these parts.
    pub fn size(&self, parts: &[Part]) -> usize {
        self.about(parts).count()
    }

    /// Every set of `size` variations of these parts.
    pub fn sets(&self, parts: &[Part], size: usize) -> Vec<Set<'_>> {
        let choices: Vec<&Choice> = self.about(parts).collect();
        let mut sets: Vec<(usize, Set)> = vec![(0, Vec::new())];
        for _ in 0..size {
            let mut larger = Vec::new();
            for (next, set) in &sets {
                for (index, choice) in choices.iter().enumerate().skip(*next) {
                    for value in choice.others() {
                        let mut set = set.clone();
                        set.push(Variation { choice, value });
                        larger.push((index + 1, set));
                    }
                }
            }
            sets = larger;
        }
        sets.into_iter().map(|(_, set)| set).collect()
    }

    /// Whether what the published file shows can come from these parts when they are varied by
    /// `set`, and otherwise are as the recipe says.
    pub fn allows(&self, parts: &[Part], set: &Set, facts: &Facts) -> bool {
        self.about(parts).all(|choice| {
            let varied = set.iter().find(|variation| variation.choice.name == choice.name);
            let own = || choice.values.iter().find(|value| value.value == choice.own);
            let Some(value) = varied.map(|variation| variation.value).or_else(own) else {
                // Of a value that is not of the list nothing is known.
                return true;
            };
            value
                .leaves
                .iter()
                .all(|(fact, shown)| facts.get(fact).is_none_or(|found| shown.contains(found)))
        })
    }

    fn about(&self, parts: &[Part]) -> impl Iterator<Item = &Choice> {
        self.choices.iter().filter(move |choice| parts.contains(&choice.part))
    }
}

/// What the variations of `set` change about the recipe.
pub fn changes(set: &Set) -> Changes {
    let mut changes = Changes::default();
    for Variation { choice, value } in set {
        match &choice.variable {
            None => changes.environment = Some(value.value.clone()),
            Some(variable) => {
                changes.variables.insert(variable.clone(), value.value.clone());
            }
        }
        changes.prepare.extend(value.prepare.clone());
    }
    changes
}

/// The set in a few words: `version of blurb 1.1.0, Misc/mypy shipped`.
pub fn words(set: &Set) -> String {
    if set.is_empty() {
        return "as the recipe says".to_owned();
    }
    let word = |one: &Variation| format!("{} {}", one.choice.name, one.value.means);
    set.iter().map(word).collect::<Vec<_>>().join(", ")
}
