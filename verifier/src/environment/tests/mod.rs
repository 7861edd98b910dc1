//! The doors, against a small archive on loopback.

mod debs;
pub(crate) mod keys;
mod signatures;
mod sources;
pub(super) mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Environment, EnvironmentError, Settings, export};
use world::{World, paths};

/// Nothing unfinished is left in the state directory.
fn assert_tidy(settings: &Settings) {
    let left: Vec<_> = paths(&settings.state)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_same_lock_gives_the_same_tree_everywhere() {
    let world = World::new().await;
    let lock = world.lock().await.unwrap();
    let names: Vec<_> = lock.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["bash", "libc6", "pip"]);
    assert_eq!(lock.wheels[0].file.as_str(), "blurb-2.0.0-py3-none-any.whl");
    let here = World::build(&lock, &world.settings).await.unwrap();
    let elsewhere = world.other_settings("elsewhere");
    let there = World::build(&lock, &elsewhere).await.unwrap();
    assert_eq!((here.digest, there.digest), (lock.tree, lock.tree));
    assert_ne!(here.root, there.root);
    let module = there.root.join("usr/lib/python3/dist-packages/blurb/__init__.py");
    assert_eq!(fs::read_to_string(module).unwrap(), "print('blurb')\n");
    let beside = there.root.join("usr/lib/other-blurb/blurb/__init__.py");
    assert_eq!(fs::read_to_string(beside).unwrap(), "print('blurb')\n");
    assert!(there.root.join("etc/ssl/certs/ca-certificates.crt").is_file());
    let mode = fs::metadata(there.root.join("usr/bin/bash")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert_tidy(&elsewhere);
}

#[tokio::test]
async fn a_tree_that_was_touched_is_assembled_again() {
    let world = World::new().await;
    let lock = world.lock().await.unwrap();
    let damages: [&dyn Fn(&Path); 5] = [
        &|root| fs::write(root.join("usr/bin/bash"), "shelf").unwrap(),
        &|root| fs::remove_file(root.join("etc/hosts")).unwrap(),
        &|root| fs::write(root.join("usr/lib/more.so"), "").unwrap(),
        &|root| {
            fs::set_permissions(root.join("usr"), fs::Permissions::from_mode(0o700)).unwrap();
        },
        &|root| fs::remove_dir_all(root).unwrap(),
    ];
    for damage in damages {
        let built = World::build(&lock, &world.settings).await.unwrap();
        damage(&built.root);
        let again = World::build(&lock, &world.settings).await.unwrap();
        assert_eq!(again, built);
        let listing = super::tree::scan(&again.root).unwrap();
        assert_eq!(super::tree::digest(&listing).unwrap(), lock.tree);
        assert_tidy(&world.settings);
    }
}

#[tokio::test]
async fn an_untouched_tree_needs_no_archive_and_no_cache() {
    let world = World::new().await;
    let lock = world.lock().await.unwrap();
    world.files.lock().unwrap().clear();
    fs::remove_dir_all(world.settings.state.join("cache")).unwrap();
    World::build(&lock, &world.settings).await.unwrap();
    // As after a boot or a copy: no stamp that fits, so everything is hashed once.
    let root = world.settings.state.join("environments").join(lock.tree.to_string());
    fs::write(root.with_extension("stamp"), "old").unwrap();
    let left = world.settings.state.join("environments/small.partial-killed");
    fs::create_dir(left).unwrap();
    World::build(&lock, &world.settings).await.unwrap();
    assert_tidy(&world.settings);
}

#[tokio::test]
async fn a_corrupt_or_half_cache_is_fetched_again() {
    let world = World::new().await;
    let lock = world.lock().await.unwrap();
    let settings = &world.settings;
    let all = paths(&settings.state.join("cache"));
    for path in all.iter().filter(|path| path.is_file()) {
        fs::write(path, "garbage").unwrap();
    }
    let half = settings.state.join("cache/download.partial-killed");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("half"), "ha").unwrap();
    let tree = settings.state.join("environments/small.partial-killed/root");
    fs::create_dir_all(&tree).unwrap();
    fs::remove_dir_all(settings.state.join("environments").join(lock.tree.to_string())).unwrap();
    let built = World::build(&lock, settings).await.unwrap();
    assert_eq!(built.digest, lock.tree);
    assert_tidy(settings);
}

#[tokio::test]
async fn two_builders_at_once_do_not_disturb_each_other() {
    let world = World::new().await;
    let lock = world.lock().await.unwrap();
    let settings = world.other_settings("shared");
    let builds = (0..4).map(|_| World::build(&lock, &settings));
    let built = futures_util::future::try_join_all(builds).await.unwrap();
    assert!(built.iter().all(|one: &Environment| *one == built[0]));
    assert_tidy(&settings);
}

#[tokio::test]
async fn a_package_that_is_gone_is_named_with_the_command_that_helps() {
    let world = World::new().await;
    let lock = world.lock().await.unwrap();
    world.take("pool/main/libc6_2.41-1.deb");
    let settings = world.other_settings("new");
    let error = World::build(&lock, &settings).await.unwrap_err();
    assert!(matches!(&error, EnvironmentError::Gone { name, .. } if name.as_str() == "libc6"));
    assert_eq!(
        error.to_string(),
        "no archive has package libc6 2.41-1 of environment small any more: make a new lock with \
         `verbatim environment lock small`"
    );
    assert_tidy(&settings);
}

#[tokio::test]
async fn other_bytes_under_a_locked_name_are_refused() {
    let world = World::new().await;
    let lock = world.lock().await.unwrap();
    let mut bytes = world.take("pool/main/libc6_2.41-1.deb");
    bytes[70] ^= 1;
    world.put("pool/main/libc6_2.41-1.deb", bytes);
    let error = World::build(&lock, &world.other_settings("new")).await.unwrap_err();
    let sentence = format!("{:#}", anyhow::Error::from(error));
    assert!(sentence.starts_with("fetch package libc6 2.41-1: http://"), "{sentence}");
    assert!(sentence.contains("are locked"), "{sentence}");
}

#[tokio::test]
async fn a_lock_that_assembles_to_another_tree_is_refused() {
    let world = World::new().await;
    let mut lock = world.lock().await.unwrap();
    lock.tree = rebuilder::Digest::of(b"something else");
    let error = World::build(&lock, &world.settings).await.unwrap_err();
    assert!(matches!(error, EnvironmentError::OtherTree { .. }), "{error}");
    assert_tidy(&world.settings);
}

#[tokio::test]
async fn an_index_that_the_keyring_does_not_vouch_for_is_refused() {
    let world = World::new().await;
    let refused = |error: EnvironmentError, expected: &str| {
        let sentence = format!("{:#}", anyhow::Error::from(error));
        assert!(sentence.contains(expected), "{sentence}");
    };
    let good = world.take("dists/trixie/InRelease");
    refused(world.lock().await.unwrap_err(), "has trixie: set environment.archives");
    let text = String::from_utf8(good.clone()).unwrap();
    let tampered = text.replace("Origin: Debian", "Origin: Nobody");
    world.put("dists/trixie/InRelease", tampered.into_bytes());
    let error = world.lock().await.unwrap_err();
    assert!(matches!(error, EnvironmentError::BadSignature { .. }), "{error}");
    refused(error, "does not fit");
    world.publish("Codename: bookworm\nSuite: oldstable\n");
    refused(world.lock().await.unwrap_err(), "it is for bookworm, not for trixie");
    world.publish("Codename: trixie\nValid-Until: Sat, 19 Aug 2023 07:55:41 UTC\n");
    refused(world.lock().await.unwrap_err(), "it was valid until 2023-08-19T07:55:41Z only");
    world.put("dists/trixie/InRelease", good);
    world.put("dists/trixie/main/binary-amd64/Packages.xz", vec![0; 10]);
    refused(world.lock().await.unwrap_err(), "is signed");
    fs::write(&world.settings.keyring, "").unwrap();
    refused(world.lock().await.unwrap_err(), "keyring");
    fs::remove_file(&world.settings.keyring).unwrap();
    refused(world.lock().await.unwrap_err(), "read the archive's keyring");
}

#[tokio::test]
async fn the_image_has_the_same_digest_every_time() {
    let world = World::new().await;
    let lock = world.lock().await.unwrap();
    let here = World::build(&lock, &world.settings).await.unwrap();
    let there = World::build(&lock, &world.other_settings("elsewhere")).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first");
    let second = directory.path().join("second");
    let digest = export(&here, &first).unwrap();
    assert_eq!(export(&there, &second).unwrap(), digest);
    assert_eq!(export(&here, &second).unwrap(), digest, "over an earlier layout");
    for path in paths(&first) {
        let twin = second.join(path.strip_prefix(&first).unwrap());
        assert!(path.is_dir() || fs::read(&path).unwrap() == fs::read(twin).unwrap());
    }
    fs::write(directory.path().join("file"), "mine").unwrap();
    assert!(export(&here, directory.path()).unwrap_err().to_string().contains("neither empty"));
    fs::write(here.root.join("usr/bin/bash"), "shelf").unwrap();
    assert!(export(&here, &second).unwrap_err().to_string().contains("is damaged"));
}
