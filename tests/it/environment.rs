//! The pinned environment: locked, assembled and exported by the program, as a user does it.

use std::fs;
use std::path::{Path, PathBuf};

use tests::{Scene, leftovers};
use verifier::world::Fault;

use crate::scene;

/// A scene whose environment is assembled nowhere yet.
fn fresh() -> Scene {
    let scene = scene();
    scene.forget_environment();
    let definitions = scene.path("definitions/environments");
    fs::remove_file(&definitions).unwrap();
    fs::create_dir(&definitions).unwrap();
    for name in ["host.toml", "host.lock"] {
        fs::copy(
            scene.fixture.definitions().join("environments").join(name),
            definitions.join(name),
        )
        .unwrap();
    }
    scene
}

/// Changes a file that the archive serves.
fn change_served(scene: &Scene, path: &str, change: impl Fn(&mut Vec<u8>)) {
    let mut state = scene.world.state();
    let mut bytes = fs::read(&state.served[path]).unwrap();
    change(&mut bytes);
    let changed = scene.path("changed");
    fs::write(&changed, bytes).unwrap();
    state.served.insert(path.to_owned(), changed);
}

#[test]
fn the_same_lock_is_made_and_the_same_tree_assembled_everywhere() {
    let scene = fresh();
    let output = scene.path("made.lock").display().to_string();
    let made = scene.run(&["environment", "lock", "host", "--output", &output]);
    assert_eq!(made.exits(0).stdout, format!("{output}\n"));
    let shared = scene.fixture.definitions().join("environments/host.lock");
    assert_eq!(fs::read_to_string(output).unwrap(), fs::read_to_string(shared).unwrap());

    fs::remove_dir_all(scene.state()).unwrap();
    let built = scene.run(&["environment", "build", "host"]);
    let digest = scene.fixture.environment().digest;
    let root = scene.state().join("environments").join(digest.to_string());
    assert_eq!(built.exits(0).stdout, format!("sha256:{digest}  {}\n", root.display()));
    assert!(root.join("usr/bin/git").is_file());
}

#[test]
fn an_assembled_tree_needs_no_archive() {
    let scene = scene();
    scene.run(&["environment", "build", "host"]).exits(0);
    let asked = scene.world.state().requests.clone();
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn the_exported_image_is_the_same_every_time() {
    let scene = scene();
    let export = |name: &str| {
        let ran = scene.run(&["environment", "export", "host", name]);
        let (digest, path) = ran.exits(0).stdout.split_once("  ").unwrap();
        assert_eq!(path, format!("{name}\n"));
        digest.to_owned()
    };
    let digest = export("one");
    assert_eq!(export("two"), digest);
    assert_eq!(files(&scene.path("one")), files(&scene.path("two")));
    assert!(scene.path("one/oci-layout").is_file());
    let index = fs::read_to_string(scene.path("one/index.json")).unwrap();
    assert!(index.contains(&digest), "{digest}: {index}");
}

/// Path and content of every file below `directory`.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let below = path.strip_prefix(directory).unwrap().to_owned();
            found.push((below, fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_package_that_is_gone_is_named_with_the_command_that_helps() {
    let scene = fresh();
    scene.world.state().served.remove("/debian/pool/host-tools.deb");
    scene.refuses(
        "no archive has package host-tools 1 of environment host any more: make a new lock with \
         `verbatim environment lock host`",
    );
}

#[test]
fn other_bytes_under_a_locked_name_are_refused() {
    let scene = fresh();
    change_served(&scene, "/debian/pool/host-tools.deb", |bytes| bytes[5000] ^= 1);
    scene.refuses("are locked");
    assert_eq!(leftovers::of(&scene.state()), Vec::<String>::new());
}

#[test]
fn an_archive_that_fails_is_trouble_and_a_cut_is_resumed() {
    let scene = fresh();
    let package = "/debian/pool/host-tools.deb";
    for (fault, expected) in [
        (Fault::Status(503, Vec::new()), "answered HTTP 503"),
        (Fault::TenGigabytes, "sends more than"),
        (Fault::Body(b"<html>".to_vec()), "are locked"),
    ] {
        scene.world.state().fail(package, fault, u32::MAX);
        scene.refuses(expected);
    }
    scene.world.state().fail(package, Fault::Cut(1_000_000), 1);
    scene.verify(&[]).exits(0);
    assert_eq!(scene.world.state().ranges, ["bytes=1000000-"]);
}

#[test]
fn an_index_that_the_keyring_does_not_vouch_for_is_refused() {
    let refused = |scene: &Scene, expected: &str| {
        let ran = scene.run(&["environment", "lock", "host", "--output", "made.lock"]);
        ran.gives_up(expected);
        assert!(!scene.path("made.lock").exists());
    };
    let scene = fresh();
    let index = "/debian/dists/host/InRelease";
    change_served(&scene, index, |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap().replace("07:55:41", "07:55:42");
        *bytes = text.into_bytes();
    });
    refused(&scene, "does not fit");
    change_served(&scene, index, |bytes| *bytes = b"Codename: host\n".to_vec());
    refused(&scene, "it is not signed");
    scene.world.state().served.remove(index);
    refused(&scene, "has host: set environment.archives");

    let mut scene = fresh();
    let packages = "/debian/dists/host/main/binary-amd64/Packages.xz";
    change_served(&scene, packages, |bytes| bytes[10] ^= 1);
    refused(&scene, "is signed");
    let empty = scene.path("empty.pgp");
    fs::write(&empty, "").unwrap();
    scene.set("environment.keyring", empty.display().to_string());
    refused(&scene, "empty.pgp");
    scene.set("environment.keyring", "/nowhere/keyring.pgp");
    refused(&scene, "read the archive's keyring /nowhere/keyring.pgp");
}

#[test]
fn an_environment_that_is_not_defined_is_named() {
    let scene = scene();
    for command in [["environment", "build", "nowhere"], ["environment", "lock", "nowhere"]] {
        scene.run(&command).gives_up("environments/nowhere.");
    }
    let ran = scene.run(&["environment", "export", "host", "/proc/nowhere"]);
    ran.gives_up("export host to /proc/nowhere");
}
