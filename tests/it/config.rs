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
    ran.gives_up("verbatim.toml, line 7: feed.appi is not a key; the nearest key is feed.api");
    assert!(ran.sentence().contains("verbatim.toml"), "{ran:?}");
    scene.settings["feed"].as_table_mut().unwrap().remove("appi");
    scene.variables.push(("VERBATIM_REBUILD__LIMITS__WAL_SECONDS".to_owned(), "1".to_owned()));
    scene.verify(&[]).gives_up(
        "the variable VERBATIM_REBUILD__LIMITS__WAL_SECONDS: rebuild.limits.wal_seconds is not a \
         key; the nearest key is rebuild.limits.wall_seconds",
    );
}

#[test]
fn a_value_of_the_wrong_kind_names_its_key() {
    for (key, value, expected) in [
        ("feed.api", "not a URL", "feed.api"),
        ("feed.files", "file:///ftp", "feed.files"),
        ("rebuild.runtime", "docker", "rebuild.runtime"),
        ("rebuild.limits.processes", "many", "rebuild.limits.processes"),
        ("store.url", "mysql://x", "store.url is wrong: \"mysql://x\" is not understood"),
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

#[test]
fn config_check_names_the_line_and_the_nearest_key_of_every_mistake() {
    let scene = scene();
    scene.run(&["config", "check"]).exits(0);
    let mut command = scene.command(&["config", "check"]);
    let text = "[feed]\ninterval = 30\n\n[sever]\nlisten = \"127.0.0.1:0\"\n\n\
                [queue]\nretries = \"1s\"\n";
    fs::write(scene.path("verbatim.toml"), text).unwrap();
    let ran = tests::Ran::of(command.output().unwrap());
    for expected in [
        "verbatim.toml, line 2: feed.interval is wrong: invalid type",
        "verbatim.toml, line 4: sever is not a key; the nearest key is server",
        "verbatim.toml, line 8: queue.retries is not a key; the nearest key is queue.retry",
    ] {
        ran.gives_up(expected);
    }
}
