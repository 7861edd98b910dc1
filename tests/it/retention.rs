//! Byproducts: compressed when they are old, removed when the policy says so; records stay.

use std::fs;
use std::path::{Path, PathBuf};

use tests::Scene;
use verifier::observation::AlarmKind;

use crate::scene;

/// A scene with one verified release, whose program believes the clock that the file tells.
fn verified() -> (Scene, PathBuf) {
    let mut scene = scene();
    scene.set("feed.since", "2025-01-01");
    scene.set("retention.compress_after_days", 7);
    scene.set("retention.logs_days", 30);
    scene.set("retention.reports_days", 60);
    let clock = scene.clock();
    round(&scene);
    (scene, clock)
}

fn round(scene: &Scene) {
    scene.run(&["serve", "--once"]).exits(0);
}

/// It is so many days later.
fn later(scene: &Scene, clock: &Path, days: u32) {
    fs::write(clock, (days * 24 * 3600).to_string()).unwrap();
    round(scene);
}

/// The names in a directory below the state directory, and below that.
fn names(scene: &Scene, directory: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut pending = vec![scene.state().join(directory)];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                names.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    names
}

fn are_compressed(names: &[String]) -> bool {
    !names.is_empty() && names.iter().all(|name| name.ends_with(".zst"))
}

#[test]
fn byproducts_are_compressed_and_age_out_and_records_stay() {
    let (scene, clock) = verified();
    let before = [names(&scene, "jobs"), names(&scene, "reports")];
    later(&scene, &clock, 6);
    assert_eq!([names(&scene, "jobs"), names(&scene, "reports")], before);
    later(&scene, &clock, 8);
    let compressed: [Vec<String>; 2] =
        before.map(|names| names.iter().map(|name| format!("{name}.zst")).collect());
    let now = [names(&scene, "jobs"), names(&scene, "reports")];
    assert_eq!(now, compressed);
    let record = scene.records().remove(0);
    let bytes = fs::read(scene.state().join(format!("reports/{}/record.json.zst", record.id)));
    let text = zstd::decode_all(&bytes.unwrap()[..]).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["id"], record.id);
    // Another record of the release: the first one's reports are no longer the newest ones.
    scene.ask_store(|store| async move {
        let mut second = store.newest_of(&record.release.version).await.unwrap().unwrap();
        second.id = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
        store.append(&second).await.unwrap();
    });
    later(&scene, &clock, 31);
    assert_eq!(names(&scene, "jobs"), [""; 0]);
    assert!(are_compressed(&names(&scene, "reports")));
    later(&scene, &clock, 61);
    assert_eq!(names(&scene, "reports"), [""; 0]);
    assert_eq!(scene.records().len(), 2);
}

#[test]
fn the_newest_reports_stay_and_a_clock_that_was_set_removes_nothing() {
    let (scene, clock) = verified();
    scene.ask_store(|store| async move {
        store.raise(AlarmKind::ClockJumped, "clock", "it was set").await.unwrap();
    });
    later(&scene, &clock, 10_000);
    assert_eq!(names(&scene, "jobs").len(), 1);
    assert!(are_compressed(&names(&scene, "reports")));
    scene.ask_store(|store| async move {
        store.settle_alarm(AlarmKind::ClockJumped, "clock").await.unwrap();
    });
    round(&scene);
    assert_eq!(names(&scene, "jobs"), [""; 0]);
    assert!(are_compressed(&names(&scene, "reports")), "they are of the newest record");
}

#[test]
fn who_is_killed_while_compressing_loses_nothing() {
    for point in ["compress.before", "compress.after"] {
        let (mut scene, clock) = verified();
        let before = [names(&scene, "jobs"), names(&scene, "reports")].concat();
        fs::write(&clock, (8 * 24 * 3600).to_string()).unwrap();
        let settings = scene.variables.clone();
        let mark = scene.path("mark");
        scene.variables.extend([
            ("UNDER_TEST_FAULT".to_owned(), format!("kill {point}")),
            ("UNDER_TEST_FAULT_MARK".to_owned(), mark.display().to_string()),
        ]);
        assert_eq!(scene.run(&["serve", "--once"]).code, None, "{point}");
        let between = [names(&scene, "jobs"), names(&scene, "reports")].concat();
        for name in &before {
            let is_there = between.contains(name) || between.contains(&format!("{name}.zst"));
            assert!(is_there, "{point}: {name} of {between:?}");
        }
        scene.variables = settings;
        round(&scene);
        let after = [names(&scene, "jobs"), names(&scene, "reports")].concat();
        assert_eq!(after.len(), before.len(), "{after:?}");
        assert!(are_compressed(&after), "{point}: {after:?}");
    }
}
