//! What a release may have been made with instead: the closed list of config/variations.toml, as
//! far as it is about a recipe, and the sets of variations in the order of their size. Pure.

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
    /// Reads the list `text`, as far as it is about `recipe`; `is_there` says which environments
    /// can be had.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::definitions::Definitions;
    use crate::recipe::sample::{RECIPE, recipe};

    const LIST: &str = r#"
        [[choice]]
        name = "colour"
        part = "contents"
        variable = "COLOUR"
        values = [
            { value = "r", means = "red", leaves = { mypy = ["true"] } },
            { value = "g", means = "green", prepare = "paint" },
            { value = "b", means = "blue", leaves = { mypy = ["false"], tar = ["1.34", "1.35"] } },
        ]
        [[choice]]
        name = "program"
        part = "tar"
        values = [{ value = "new", means = "the new one" }, { value = "old", means = "the old" }]
        [[choice]]
        name = "speed"
        part = "xz"
        variable = "SPEED"
        values = [{ value = "1", means = "slow" }, { value = "2", means = "fast" }]
        [[choice]]
        name = "shape"
        part = "tar"
        variable = "SHAPE"
        values = []
    "#;
    fn space(is_there: bool) -> Space {
        Space::read(LIST, &recipe(RECIPE), &|_| is_there).unwrap()
    }

    fn sets(space: &Space, parts: &[Part], size: usize) -> Vec<String> {
        space.sets(parts, size).iter().map(words).collect()
    }

    #[test]
    fn the_sets_of_a_size_have_each_choice_at_most_once_and_never_the_recipes_own() {
        let space = space(true);
        assert_eq!(sets(&space, PAYLOAD, 0), ["as the recipe says"]);
        let one = ["colour green", "colour blue", "program the old"];
        assert_eq!(sets(&space, PAYLOAD, 1), one);
        let two = ["colour green, program the old", "colour blue, program the old"];
        assert_eq!(sets(&space, PAYLOAD, 2), two);
        assert_eq!(sets(&space, PAYLOAD, 3), [""; 0]);
        // The recipe's own is none of the list.
        assert_eq!(sets(&space, &[Part::Xz], 1), ["speed slow", "speed fast"]);
        assert_eq!((space.size(PAYLOAD), space.size(&[Part::Gzip])), (2, 0));
    }

    #[test]
    fn what_a_recipe_or_this_machine_does_not_have_is_left_out() {
        let space = space(false);
        assert_eq!(sets(&space, PAYLOAD, 1), ["colour green", "colour blue"]);
        let expected = [
            "program the old: there is no environment old",
            "shape: the recipe has no variable SHAPE",
        ];
        assert_eq!(space.left_out, expected);
    }

    #[test]
    fn what_a_file_shows_rules_out_sets_and_the_recipe_itself() {
        let space = space(true);
        let allowed = |facts: &[(Fact, &str)]| -> Vec<String> {
            let facts = facts.iter().map(|(fact, text)| (*fact, (*text).to_owned())).collect();
            let all = (0..=2).flat_map(|size| space.sets(PAYLOAD, size));
            let allowed = all.filter(|set| space.allows(PAYLOAD, set, &facts));
            allowed.map(|set| words(&set)).collect()
        };
        assert_eq!(allowed(&[]).len(), 6);
        let green_or_blue = allowed(&[(Fact::Mypy, "false")]);
        assert_eq!(green_or_blue.len(), 4);
        assert!(!green_or_blue.contains(&"as the recipe says".to_owned()));
        let green = allowed(&[(Fact::Mypy, "false"), (Fact::Tar, "other")]);
        assert_eq!(green, ["colour green", "colour green, program the old"]);
    }

    #[test]
    fn a_set_says_what_it_changes_and_what_instead_of() {
        let space = space(true);
        let set = space.sets(PAYLOAD, 2).remove(0);
        let expected = Changes {
            environment: Some("old".to_owned()),
            variables: [("COLOUR".to_owned(), "g".to_owned())].into(),
            prepare: vec!["paint".to_owned()],
        };
        assert_eq!(changes(&set), expected);
        assert_eq!(set[0].choice.own_means(), "red");
        assert_eq!(space.sets(&[Part::Xz], 1)[0][0].choice.own_means(), "\"3\"");
    }

    #[test]
    fn the_shipped_list_is_about_everything_that_a_shipped_recipe_chooses() {
        let definitions = Definitions::at(Path::new(""));
        let text = definitions.variations().unwrap();
        for recipe in definitions.recipes().unwrap() {
            let space = Space::read(&text, &recipe, &|_| true).unwrap();
            assert!(space.left_out.is_empty(), "{}: {:?}", recipe.name, space.left_out);
            assert!(space.choices.len() > 8);
            for choice in &space.choices {
                let own = choice.own_means();
                assert!(!own.starts_with('"'), "{}: {} {own}", recipe.name, choice.name);
            }
        }
    }

    #[test]
    fn a_list_that_makes_no_sense_is_refused() {
        let many = (0..400).map(|n| format!("{{ value = \"{n}\", means = \"{n}\" }},"));
        let many = format!("values = [{}]", many.collect::<String>());
        let cases = [
            (LIST.replace("\"program\"", "\"colour\""), "two choices named colour"),
            (LIST.replace("mypy", "mipy"), "read variations.toml"),
            (LIST.replace("\"xz\"", "\"zip\""), "read variations.toml"),
            (
                LIST.replace("{ value = \"r\"", "{ value = \"\", meens = \"x\" }, { value = \"r\""),
                "read",
            ),
            (LIST.repeat(7), "more than 24 choices"),
            (
                LIST.replace("SHAPE", "SPEED").replace("values = []", &many).replace(
                    "values = [{ value = \"new\"",
                    &format!("{} {{ value = \"new\"", many.trim_end_matches(']')),
                ),
                "more than 20000 ways",
            ),
        ];
        for (text, expected) in cases {
            let error =
                format!("{:#}", Space::read(&text, &recipe(RECIPE), &|_| true).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
