//! A small recipe for tests: two steps, a payload between them, and variables.

use anyhow::bail;

use super::Recipe;

pub const RECIPE: &str = r#"
    name = "recipe"
    build_type = "urn:test"
    covers = []
    environment = "new"
    outputs = ["a", "b"]
    traced = "tree"
    [variables]
    COLOUR = "r"
    SPEED = "3"
    [[step]]
    name = "pack"
    run = "pack"
    payload = "{version}.tar"
    [[step]]
    name = "compress"
    run = "compress"
"#;

pub fn recipe(text: &str) -> Recipe {
    // A test that gives another text than a recipe is wrong.
    Recipe::parse("recipes/recipe.toml", text, &|_: &str| bail!("it has no base")).unwrap()
}
