//! `verbatim explain`: where each member of the published archives comes from.

use serde_json::Value;
use tests::fixture::RECIPE;
use tests::source::{self, HONEST, Publication};

use crate::scene;

const TAR_XZ: &str = "Python-9.1.0.tar.xz";
/// A step that makes one file of the published archive and takes another away, as blurb does.
const NEWS: &str =
    "[[step]]\nname = \"news\"\nrun = '''\necho new > \"Python-$VERSION/NEWS\"\n'''\n";

#[test]
fn a_reproduced_release_comes_from_the_tag_and_the_steps() {
    let scene = scene();
    scene.verify(&[]).exits(0);
    let ran = scene.run(&["explain", source::VERSION]);
    ran.exits(0);
    let both = "Python-9.1.0.tgz, Python-9.1.0.tar.xz\n";
    assert!(ran.stdout.contains(both), "one map for both: {}", ran.stdout);
    let counts = "7 files: 7 equal to the tag's, 0 not plain git, 0 of them unexplained";
    assert!(ran.stdout.contains(counts), "{}", ran.stdout);
    assert!(ran.stdout.contains("removed by remove 5 files: .gitattributes"), "{}", ran.stdout);
    assert_eq!(scene.records().len(), 1, "explaining verifies nothing again");
}

#[test]
fn a_release_without_a_record_is_verified_first() {
    let scene = scene();
    let ran = scene.run(&["explain", source::VERSION, "--json"]);
    ran.exits(0);
    assert_eq!(ran.json()[TAR_XZ]["git"], 7);
    assert_eq!(scene.records().len(), 1);
}

#[test]
fn what_neither_tag_nor_step_made_is_unexplained() {
    let scene = scene();
    let place = scene.path("published");
    let tamper = "echo 'gl_[$1]_prefix' > m4/build-to-host.m4";
    let how = Publication { tamper, ..HONEST };
    source::publish(&scene.fixture.repository(), &place, how).unwrap();
    scene.republish(TAR_XZ, &std::fs::read(place.join(TAR_XZ)).unwrap());
    let ran = scene.run(&["explain", source::VERSION]);
    ran.exits(1);
    assert!(ran.stdout.contains("UNEXPLAINED       m4/build-to-host.m4\n"), "{}", ran.stdout);
}

#[test]
fn a_file_of_a_step_is_told_from_one_of_the_tag() {
    let scene = scene();
    let (before, after) = RECIPE.split_once("[[step]]\nname = \"archive\"").unwrap();
    scene.recipe(&format!("{before}{NEWS}\n[[step]]\nname = \"archive\"{after}"));
    let ran = scene.run(&["explain", source::VERSION, "--json"]);
    let map = &ran.json()[TAR_XZ];
    // The published archive was made without that step, so the file is missing there.
    assert_eq!(map["missing"], serde_json::json!([["NEWS", "news"]]), "{map:#}");
    assert_eq!(map["unexplained"], 0);
}

#[test]
fn a_rebuild_that_failed_is_explained_as_far_as_it_came_and_accuses_nobody() {
    let scene = scene();
    scene.recipe(
        &RECIPE.replace("name = \"archive\"\nrun = '''", "name = \"archive\"\nrun = '''\nexit 7"),
    );
    let ran = scene.verify(&["--json"]);
    ran.exits(3);
    let artifact = &ran.json()["artifacts"][0];
    assert_eq!(artifact["unexplained"], Value::Array(Vec::new()));
    assert_eq!(artifact["explanation"]["git"], 7);
    let ran = scene.run(&["explain", source::VERSION]);
    ran.exits(2);
    let note = "step archive exited 7: what later steps make is not known";
    assert!(ran.stdout.contains(note), "{}", ran.stdout);
}
