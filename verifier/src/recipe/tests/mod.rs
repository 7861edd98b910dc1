//! Recipes as they are shipped, and as they could be wrong.

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
        (
            "cpython-source-e0",
            "debian-13",
            "3.9.2 3.9.18 3.10.0 3.10.13 3.11.0rc1 3.11.2 3.11.6 3.12.0a1 3.12.0",
        ),
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
        ("cpython-source", "debian-13", "3.12.10 3.13.3 3.13.5 3.14.0a7 3.14.0rc1 3.14.0 3.15.0a1"),
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
    for version in ["3.8.18", "3.9.1", "3.9.19", "3.10.14", "3.11.8", "3.11.12"] {
        let error = candidates(version).unwrap_err().to_string();
        let start = format!("no recipe covers {version}: cpython-source-e0 covers ");
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
fn only_releases_that_were_packed_by_hand_are_replayed() {
    for recipe in shipped() {
        let replay = recipe.replay(&"3.11.2".parse().unwrap());
        match recipe.name.as_str() {
            "cpython-source-e0" => {
                assert_eq!(replay["Python-3.11.2.tgz"], "gzip --no-name -9");
                assert_eq!(replay["Python-3.11.2.tar.xz"], "xz -6 -T1");
                assert_eq!(replay.len(), 2);
            }
            name => assert!(replay.is_empty(), "{name}: {replay:?}"),
        }
    }
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
    let with = |replay: &str| OLD.replace("[variables]", &format!("{replay}\n[variables]"));
    refused(&with("replay = {\"{version}.zip\" = \"zip\"}"), BASE, "which is no output");
    refused(&with("replay = {\"{version}.tgz\" = \"gzip\"}"), BASE, "no step has a payload");
}
