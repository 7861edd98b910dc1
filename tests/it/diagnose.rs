//! `verbatim diagnose`: recipes that are wrong on purpose, and files that no variation explains.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::fixture::RECIPE;
use tests::genuine::{Prepared, is_asked_for};
use tests::source::{self, HONEST, Publication};
use tests::{Ran, Scene};
use verifier::world::Fault;

use crate::{PLACE, scene};

const TGZ: &str = "Python-9.1.0.tgz";
const TAR_XZ: &str = "Python-9.1.0.tar.xz";

fn diagnoses(scene: &Scene, arguments: &[&str]) -> Ran {
    scene.run(&[&["diagnose", source::VERSION], arguments].concat())
}

/// A scene whose recipe has these texts instead of the right ones.
fn wrong(changes: &[(&str, &str)]) -> Scene {
    let scene = scene();
    let mut recipe = RECIPE.to_owned();
    for (right, wrong) in changes {
        assert!(recipe.contains(right), "{right}");
        recipe = recipe.replace(right, wrong);
    }
    scene.recipe(&recipe);
    scene
}

/// `choice: means` of the variations that a file needs.
fn variations(diagnosis: &Value, name: &str) -> Vec<String> {
    let files = diagnosis["files"].as_array().unwrap();
    let file = files.iter().find(|file| file["name"] == name).unwrap();
    let text = |one: &Value| format!("{}: {}", one["choice"], one["means"]).replace('"', "");
    file["variations"].as_array().unwrap().iter().map(text).collect()
}

/// Diagnoses, and expects exactly these variations of both files.
#[track_caller]
fn explained(scene: &Scene, tgz: &[&str], tar_xz: &[&str]) -> Value {
    let records = scene.records().len();
    let diagnosis = diagnoses(scene, &["--json"]).exits(0).json();
    assert_eq!(diagnosis["outcome"], "explained", "{diagnosis:#}");
    assert_eq!(variations(&diagnosis, TGZ), tgz, "{diagnosis:#}");
    assert_eq!(variations(&diagnosis, TAR_XZ), tar_xz, "{diagnosis:#}");
    assert_eq!(scene.records().len(), records, "a diagnosis is no record");
    diagnosis
}

#[test]
fn a_recipe_that_is_wrong_in_one_way_is_told_which() {
    let removed: &[&str] = &["Misc/mypy: removed"];
    let posix: &[&str] = &["tar format: POSIX, without times of access and change"];
    let cases: [(&str, &str, &[&str], &[&str]); 7] = [
        ("NOT_SHIPPED = \"Misc/mypy\"", "NOT_SHIPPED = \"\"", removed, removed),
        (
            "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime\"",
            "--format=gnu\"",
            posix,
            posix,
        ),
        (
            "--owner=0 --group=0 --numeric-owner",
            "--owner=root:0 --group=root:0",
            &["owner: 0, without a name"],
            &["owner: 0, without a name"],
        ),
        ("GZIP_LEVEL = \"-9\"", "GZIP_LEVEL = \"-1\"", &["level of gzip: 9, the slowest"], &[]),
        ("XZ_LEVEL = \"-6\"", "XZ_LEVEL = \"-2\"", &[], &["level of xz: 6, the default"]),
        ("XZ_THREADS = \"-T1\"", "XZ_THREADS = \"-T2\"", &[], &["threads of xz: one"]),
        // Not of the list.
        ("XZ_THREADS = \"-T1\"", "XZ_THREADS = \"-T3\"", &[], &["threads of xz: one"]),
    ];
    for (right, instead, tgz, tar_xz) in cases {
        let scene = wrong(&[(right, instead)]);
        scene.verify(&[]).exits(1);
        explained(&scene, tgz, tar_xz);
        assert_eq!(scene.records().len(), 1);
    }
}

#[test]
fn a_recipe_that_is_wrong_in_two_ways_is_told_both() {
    let mypy = ("NOT_SHIPPED = \"Misc/mypy\"", "NOT_SHIPPED = \"\"");
    let owner = ("--owner=0 --group=0 --numeric-owner", "--owner=root:0 --group=root:0");
    let threads = ("XZ_THREADS = \"-T1\"", "XZ_THREADS = \"-T2\"");
    let level = ("XZ_LEVEL = \"-6\"", "XZ_LEVEL = \"-9\"");
    let [removed, nameless] = ["Misc/mypy: removed", "owner: 0, without a name"];
    let [one, six] = ["threads of xz: one", "level of xz: 6, the default"];
    explained(&wrong(&[mypy, owner]), &[removed, nameless], &[removed, nameless]);
    explained(&wrong(&[mypy, threads]), &[removed], &[removed, one]);
    explained(&wrong(&[threads, level]), &[], &[one, six]);
}

#[test]
fn line_endings_are_told_by_the_contents_alone() {
    let scene = scene();
    let published = scene.path("published");
    let tamper = "sed -i 's/\\r$//' Lib/test/run.bat";
    source::publish(&scene.fixture.repository(), &published, Publication { tamper, ..HONEST })
        .unwrap();
    for name in [TGZ, TAR_XZ] {
        scene.republish(name, &fs::read(published.join(name)).unwrap());
    }
    let endings = "line endings: as they lie in the repository, whatever .gitattributes asks for";
    explained(&scene, &[endings], &[endings]);
}

#[test]
fn a_diagnosis_is_said_in_words() {
    let scene = wrong(&[
        ("NOT_SHIPPED = \"Misc/mypy\"", "NOT_SHIPPED = \"\""),
        ("XZ_LEVEL = \"-6\"", "XZ_LEVEL = \"-2\""),
    ]);
    let ran = diagnoses(&scene, &[]);
    let lines: Vec<&str> = ran.exits(0).stdout.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "cpython 9.1.0  explained: recipe small gives the published bytes with",
            "  Misc/mypy: removed; the recipe has: shipped  (all files)",
            "  level of xz: 6, the default; the recipe has: 2  (Python-9.1.0.tar.xz)",
        ],
        "{}",
        ran.stdout
    );
    assert!(lines[3].contains(" trials, ") && lines.len() == 4, "{}", ran.stdout);
    assert!(ran.stderr.contains("Misc/mypy removed: as published"), "{}", ran.stderr);
}

#[test]
fn a_recipe_that_is_right_needs_no_explanation() {
    let scene = scene();
    let ran = diagnoses(&scene, &[]);
    let expected = "cpython 9.1.0  nothing to explain: recipe small gives the published bytes\n";
    assert!(ran.exits(0).stdout.starts_with(expected), "{}", ran.stdout);
    let diagnosis = diagnoses(&scene, &["--json"]).exits(0).json();
    assert_eq!(diagnosis["schema"], "verbatim.diagnosis/1");
    assert_eq!(diagnosis["outcome"], "nothing_to_explain");
    // One for the archive, one for both compressors.
    assert_eq!(diagnosis["trials"], 2);
    assert_eq!(scene.records().len(), 0);
}

#[test]
fn what_no_variation_gives_is_not_explained() {
    let scene = scene();
    let published = scene.path("published");
    let tamper = "echo backdoor >> configure";
    source::publish(&scene.fixture.repository(), &published, Publication { tamper, ..HONEST })
        .unwrap();
    // One file is tampered with, the other is as it should be.
    scene.republish(TGZ, &fs::read(published.join(TGZ)).unwrap());
    let diagnosis = diagnoses(&scene, &["--json"]).exits(1).json();
    assert_eq!(diagnosis["outcome"], "not_explained");
    assert_eq!(diagnosis["files"][0]["explained"], false);
    let reason = "the archive inside came out otherwise every time";
    assert_eq!(diagnosis["files"][0]["reason"], reason);
    assert_eq!(diagnosis["files"][1], json!({"name": TAR_XZ, "explained": true, "variations": []}));
    assert!(diagnosis["trials"].as_u64().unwrap() > 4, "{diagnosis:#}");
    assert!(diagnosis["ruled_out"].as_u64().unwrap() > 4, "{diagnosis:#}");
    let left_out = diagnosis["left_out"].to_string();
    assert!(left_out.contains("the recipe has no variable PYTHONPATH"), "{left_out}");
    assert!(left_out.contains("there is no environment debian-12"), "{left_out}");
    let text = diagnoses(&scene, &[]).exits(1).stdout.clone();
    let head = "cpython 9.1.0  not explained: no known variation of recipe small gives all files\n";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains(&format!("  NOT EXPLAINED {TGZ}: {reason}\n")), "{text}");
}

#[test]
fn another_compressor_and_packing_by_hand_are_not_explained() {
    let scene = scene();
    let published = scene.path("published");
    let how = Publication { xz: "--lzma2=preset=6,nice=63 -T1", ..HONEST };
    source::publish(&scene.fixture.repository(), &published, how).unwrap();
    scene.republish(TAR_XZ, &fs::read(published.join(TAR_XZ)).unwrap());
    scene.republish(TGZ, b"no archive");
    let diagnosis = diagnoses(&scene, &["--json"]).exits(1).json();
    let reason = |index: usize| diagnosis["files"][index]["reason"].as_str().unwrap();
    assert_eq!(reason(0), "it cannot be unpacked: it is not compressed");
    assert_eq!(reason(1), "the archive inside came out, but never compressed like this");

    let how = Publication { tamper: "touch -d @1 configure", ..HONEST };
    source::publish(&scene.fixture.repository(), &published, how).unwrap();
    scene.republish(TGZ, &fs::read(published.join(TGZ)).unwrap());
    let diagnosis = diagnoses(&scene, &["--json"]).exits(1).json();
    let reason = diagnosis["files"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("2 times of modification"), "{reason}");
}

#[test]
fn a_search_has_its_bounds() {
    let scene = wrong(&[("NOT_SHIPPED = \"Misc/mypy\"", "NOT_SHIPPED = \"\"")]);
    let diagnosis = diagnoses(&scene, &["--json", "--minutes", "0"]).exits(1).json();
    assert_eq!(diagnosis["trials"], 0);
    let note = "the search ended after 0 trials and at most 0 minutes";
    assert_eq!(diagnosis["note"], note);
}

#[test]
fn a_recipe_that_does_not_build_is_said_so() {
    let scene =
        wrong(&[("name = \"archive\"\nrun = '''", "name = \"archive\"\nrun = '''\nexit 7")]);
    let diagnosis = diagnoses(&scene, &["--json"]).exits(1).json();
    let note = "the recipe as it is does not build: step archive exited 7";
    assert_eq!(diagnosis["note"], note);
}

#[test]
fn trouble_is_no_diagnosis() {
    let scene = wrong(&[("payload = \"Python-{version}.tar\"\n", "")]);
    diagnoses(&scene, &[])
        .gives_up("recipe small cannot be diagnosed: no step of it has a payload");
    scene.recipe(RECIPE);
    fs::write(scene.path("definitions/variations.toml"), "[[choice]]\nnom = 1\n").unwrap();
    diagnoses(&scene, &[]).gives_up("read variations.toml");
    scene.world.state().fail(&format!("/ftp/python/9.1.0/{TGZ}"), Fault::Status(404, vec![]), 1);
    diagnoses(&scene, &[]).gives_up("does not exist (HTTP 404)");
    assert_eq!(scene.records().len(), 0);
}

/// Copies the shipped definitions; the recipe of today has these texts instead of the right ones.
fn shipped_but(scene: &mut Scene, changes: &[(&str, &str)]) {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let definitions = scene.path("shipped");
    for kind in ["recipes", "environments"] {
        fs::create_dir_all(definitions.join(kind)).unwrap();
        for entry in fs::read_dir(config.join(kind)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, definitions.join(kind).join(path.file_name().unwrap())).unwrap();
        }
    }
    let recipe = definitions.join("recipes/cpython-source.toml");
    let mut text = fs::read_to_string(&recipe).unwrap();
    for (right, wrong) in changes {
        assert!(text.contains(right), "{right}");
        text = text.replace(right, wrong);
    }
    fs::write(recipe, text).unwrap();
    scene.set("rebuild.definitions", definitions.display().to_string());
}

#[test]
fn the_genuine_release_tells_which_blurb_and_which_compressor_it_was() {
    if !is_asked_for() {
        return;
    }
    let prepared = Prepared::in_place(PLACE);
    let mut scene = prepared.scene(PLACE, std::slice::from_ref(&prepared.genuine.tgz));
    let blurb = ("PYTHONPATH = \"\"", "PYTHONPATH = \"/usr/lib/blurb-1.1.0\"");
    let gzip = ("GZIP_LEVEL = \"-9\"", "GZIP_LEVEL = \"-6\"");
    // Of the .tar.xz nothing is asked here, and its compressor takes most of the time.
    let xz = ("XZ_LEVEL = \"-6\"", "XZ_LEVEL = \"-0\"");
    shipped_but(&mut scene, &[blurb, gzip, xz]);
    let ran = scene.run(&["diagnose", "3.13.5", "--json"]);
    println!("{}{}", ran.stderr, ran.stdout);
    let diagnosis = ran.exits(0).json();
    let expected = ["version of blurb: 2.0.0", "level of gzip: 9, the slowest"];
    assert_eq!(variations(&diagnosis, "Python-3.13.5.tgz"), expected);
}
