//! A recipe with something changed, and its two halves: up to the archive before compression, and
//! from there. For whoever looks for what a release was made with instead (`diagnose`).

use std::collections::BTreeMap;

use rebuilder::Step;

use super::Recipe;
use crate::version::Version;

/// What is changed about a recipe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another environment.
    pub environment: Option<String>,
    /// Other values of variables.
    pub variables: BTreeMap<String, String>,
    /// Commands that run before the first step.
    pub prepare: Vec<String>,
}

/// The second half begins with this.
const TAKE: &str = r#"
if [[ "$PAYLOAD" == */* ]]; then mkdir -p "${PAYLOAD%/*}"; fi
cat < "/source/$PAYLOAD" > "$PAYLOAD"
"#;
/// Set for the steps of the second half: the archive's path below the first half's work directory.
const PAYLOAD: &str = "PAYLOAD";

impl Recipe {
    /// The value of one of its variables.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The same with these changes.
    pub fn varied(&self, changes: &Changes) -> Recipe {
        let mut recipe = self.clone();
        if let Some(environment) = &changes.environment {
            recipe.environment.clone_from(environment);
        }
        recipe.variables.extend(changes.variables.clone());
        let prepare = changes.prepare.iter().enumerate();
        let prepare =
            prepare.map(|(index, run)| step(&format!("prepare-{}", index + 1), run.clone()));
        recipe.steps = prepare.chain(recipe.steps).collect();
        recipe
    }

    /// Its steps up to the one that makes the archive before compression, with no output and
    /// nothing traced; none if no step says which file that is.
    pub fn until_payload(&self) -> Option<Recipe> {
        let last = self.payload_step()?;
        let mut recipe = self.clone();
        recipe.steps.truncate(last + 1);
        recipe.outputs.clear();
        recipe.traced.clear();
        Some(recipe)
    }

    /// Its steps after that one, which find the archive as if they had been run before: `/source`
    /// is to be the first half's work directory. Only these `outputs` are wanted.
    pub fn from_payload(&self, version: &Version, outputs: &[String]) -> Option<Recipe> {
        let last = self.payload_step()?;
        let payload = self.steps.get(last)?.payload.clone()?;
        let mut recipe = self.clone();
        let rest = recipe.steps.split_off(last + 1);
        recipe.steps = [step("take", TAKE.to_owned())].into_iter().chain(rest).collect();
        let payload = payload.replace("{version}", &version.to_string());
        recipe.variables.insert(PAYLOAD.to_owned(), payload);
        recipe.outputs = outputs.to_vec();
        recipe.traced.clear();
        Some(recipe)
    }

    fn payload_step(&self) -> Option<usize> {
        self.steps.iter().rposition(|step| step.payload.is_some())
    }
}

fn step(name: &str, run: String) -> Step {
    Step { name: name.to_owned(), run, payload: None }
}

#[cfg(test)]
mod tests {
    use super::{Changes, Recipe};
    use crate::recipe::sample::{RECIPE, recipe};

    fn steps(recipe: &Recipe) -> Vec<&str> {
        recipe.steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn a_varied_recipe_has_two_halves_like_any_other() {
        let changes = Changes {
            environment: Some("old".to_owned()),
            variables: [("COLOUR".to_owned(), "g".to_owned())].into(),
            prepare: vec!["paint".to_owned(), "wait".to_owned()],
        };
        let varied = recipe(RECIPE).varied(&changes);
        assert_eq!((varied.environment.as_str(), varied.variable("COLOUR")), ("old", Some("g")));
        let first = varied.until_payload().unwrap();
        assert_eq!(steps(&first), ["prepare-1", "prepare-2", "pack"]);
        assert!(first.outputs.is_empty() && first.traced.is_empty());
        let second = varied.from_payload(&"3.13.5".parse().unwrap(), &["b".to_owned()]).unwrap();
        assert_eq!(steps(&second), ["take", "compress"]);
        assert_eq!(second.variable("PAYLOAD"), Some("3.13.5.tar"));
        assert_eq!(
            (second.outputs.as_slice(), second.variable("COLOUR")),
            (&["b".to_owned()][..], Some("g"))
        );
    }

    #[test]
    fn a_recipe_without_a_payload_has_no_halves() {
        let recipe = recipe(&RECIPE.replace("payload = \"{version}.tar\"", ""));
        assert!(recipe.until_payload().is_none());
        assert!(recipe.from_payload(&"3.13.5".parse().unwrap(), &[]).is_none());
    }
}
