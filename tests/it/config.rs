//! Settings: the file, the environment and the command line, in this order.

use std::fs;

use crate::scene;

#[test]
fn variables_take_the_place_of_the_file_and_options_that_of_both() {
    let mut scene = scene();
    let right = scene.settings["source"]["repository"].as_str().unwrap().to_owned();
    scene.set("source.repository", "/nowhere");
    scene.refuses("find the repository /nowhere");
    scene.variables.push(("VERBATIM_SOURCE__REPOSITORY".to_owned(), right));
    let elsewhere = scene.path("elsewhere").display().to_string();
    scene.variables.push(("VERBATIM_STATE__DIRECTORY".to_owned(), elsewhere));
    scene.set("state.directory", "/proc/nowhere");
    scene.verify(&[]).exits(0);
    assert!(!scene.path("elsewhere").exists(), "--state names the directory");
    assert_eq!(scene.records().len(), 1);
}

#[test]
fn a_key_that_does_not_exist_is_named_with_the_nearest() {
    let mut scene = scene();
    scene.set("feed.appi", "https://x.example");
    let ran = scene.verify(&[]);
    ran.gives_up("appi is not a key; the nearest key is api");
    assert!(ran.sentence().contains("verbatim.toml"), "{ran:?}");
    scene.settings["feed"].as_table_mut().unwrap().remove("appi");
    scene.variables.push(("VERBATIM_REBUILD__LIMITS__WAL_SECONDS".to_owned(), "1".to_owned()));
    scene.verify(&[]).gives_up("wal_seconds is not a key; the nearest key is wall_seconds");
}

#[test]
fn a_value_of_the_wrong_kind_names_its_key() {
    for (key, value, expected) in [
        ("feed.api", "not a URL", "feed.api"),
        ("feed.files", "file:///ftp", "feed.files"),
        ("rebuild.runtime", "docker", "rebuild.runtime"),
        ("rebuild.limits.processes", "many", "rebuild.limits.processes"),
        ("store.url", "mysql://x", "store.url \"mysql://x\" is not understood"),
    ] {
        let mut scene = scene();
        scene.set(key, value);
        scene.verify(&[]).gives_up(expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let scene = scene();
    let mut command = scene.command(&["verify", "9.1.0"]);
    fs::write(scene.path("verbatim.toml"), "[feed\n").unwrap();
    tests::Ran::of(command.output().unwrap()).gives_up("verbatim.toml");
    fs::remove_file(scene.path("verbatim.toml")).unwrap();
    tests::Ran::of(command.output().unwrap()).gives_up("verbatim.toml");
}

#[test]
fn the_store_can_lie_elsewhere() {
    let mut scene = scene();
    let store = scene.path("elsewhere/store.sqlite");
    scene.set("store.url", format!("sqlite:{}", store.display()));
    scene.verify(&[]).exits(0);
    assert!(store.is_file() && !scene.state().join("records.sqlite").exists());
}

#[test]
fn plain_http_is_for_loopback_only() {
    let mut scene = scene();
    scene.set("feed.api", "http://feed.example/api");
    scene.refuses("is refused: http is not allowed here, only https is");
    scene.set("feed.api", "ftp://feed.example/api");
    scene.refuses("is refused: ftp is not allowed here, only https is");
}
