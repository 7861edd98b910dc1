//! Replay, through the line: a release that was packed by hand comes out once order, times and
//! owners are taken from the published archive; nothing else does, and everything says so.

use std::fs;

use serde_json::{Value, json};
use tests::fixture::RECIPE;
use tests::{Ran, Scene, source};

use crate::scene;

const TGZ: &str = "Python-9.1.0.tgz";
/// `sort -r` puts directories behind what is in them: no archiver does, so the order is replayed.
const BY_HAND: &str = "sort -r | tar cf - --format=gnu --no-recursion \
    --owner=ambv:1000 --group=staff:50 -T -";

/// Publishes the release as somebody packs it after `change`; the recipe replays with `gzip -n9`.
fn packed(change: &str, pack: &str, gzip: &str) -> Scene {
    let scene = scene();
    let archive = scene.fixture.published(TGZ);
    let script = format!(
        "cd {}; umask 022; tar xpf {}\n{change}\n\
         find Python-9.1.0 | {pack} | gzip {gzip} > by-hand.tgz",
        scene.path("").display(),
        archive.display()
    );
    source::run("bash", &["-euo", "pipefail", "-c", &script]).unwrap();
    let bytes = fs::read(scene.path("by-hand.tgz")).unwrap();
    // The release has this one file.
    scene.world.state().files.retain(|(_, row)| !row.to_string().contains(".tar.xz"));
    scene.republish(TGZ, &bytes);
    scene.recipe(&recipe("[replay]\n\"Python-{version}.tgz\" = \"gzip -n9\"\n"));
    scene
}

fn recipe(replay: &str) -> String {
    let pax = "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime";
    let gnu = RECIPE.replace(pax, "--format=gnu");
    // Headers of long names have user 0 by name.
    let gnu = gnu.replace(" --numeric-owner", "");
    let gnu = gnu.replace(" --mode=go+u,go-w", "");
    let tar = "tar cf \"Python-$VERSION.tar\"";
    let gnu = gnu.replace(tar, &format!("chmod -R go+u,go-w \"Python-$VERSION\"\n{tar}"));
    assert_eq!(gnu.matches("go+u").count(), 1, "{gnu}");
    gnu.replacen("[[step]]", &format!("{replay}\n[[step]]"), 1)
}

/// Verifies; gives the entry of the file.
#[track_caller]
fn artifact(scene: &Scene, exit: i32) -> (Value, Ran) {
    let ran = scene.verify(&["--json"]);
    ran.exits(exit);
    let record = ran.json();
    assert_eq!(record["status"], if exit == 0 { "pass" } else { "fail" });
    assert_eq!(record["artifacts"].as_array().unwrap().len(), 1, "{record:#}");
    (record["artifacts"][0].clone(), ran)
}

/// A file that a replay does not make the published one.
#[track_caller]
fn stays_different(scene: &Scene, tier: &str, replay: &str, summary: &str) {
    let (artifact, _) = artifact(scene, 1);
    assert_eq!((&artifact["verdict"], &artifact["tier"]), (&json!("different"), &json!(tier)));
    match replay {
        "" => assert!(artifact.get("replay").is_none(), "{artifact:#}"),
        outcome => assert_eq!(artifact["replay"]["outcome"], outcome, "{artifact:#}"),
    }
    let text = artifact["summary"].as_str().unwrap();
    assert!(text.contains(summary), "{text}");
}

#[test]
fn a_release_packed_by_hand_is_replayed_and_says_so_everywhere() {
    let touch = "touch -d @1750002603 Python-9.1.0/Lib/hello.py";
    let scene = packed(touch, BY_HAND, "-n9");
    let (artifact, ran) = artifact(&scene, 0);
    assert_eq!(artifact["verdict"], "reproduced");
    assert_eq!(artifact["tier"], "replayed");
    assert_ne!(artifact["published"], artifact["rebuilt"], "the rebuild's own is on record");
    assert_eq!(artifact["unexplained"], json!([]));
    assert_eq!(artifact["explanation"]["unexplained"], 0);
    let replay = &artifact["replay"];
    assert_eq!((&replay["outcome"], &replay["command"]), (&json!("identical"), &json!("gzip -n9")));
    let members = replay["members"].as_u64().unwrap();
    let owner =
        json!({"uid": 1000, "gid": 50, "user": "ambv", "group": "staff", "members": members});
    assert_eq!(replay["owners"], json!([owner]));
    let late = json!({"time": "2025-06-15T15:50:03Z", "members": 1});
    assert_eq!(replay["times"].as_array().unwrap().last(), Some(&late));
    let causes = artifact["causes"].as_array().unwrap();
    let causes: Vec<&str> = causes.iter().filter_map(|cause| cause["cause"].as_str()).collect();
    for cause in ["tar.mtime", "tar.order", "tar.owner"] {
        assert!(causes.contains(&cause), "{causes:?}");
    }
    let record = scene.records().pop().unwrap();
    assert_eq!(serde_json::to_value(&record).unwrap(), ran.json(), "as the store has it");

    let text = verifier::publish::text(&record);
    assert!(text.starts_with("cpython 9.1.0  pass, replayed\n"), "{text}");
    let times = replay["times"].as_array().unwrap().len();
    let taken = format!(
        "identical once the order of its {members} members, {times} modification times and the \
         owner ambv:staff (1000:50) are taken from the published archive; all else, with every \
         content, is rebuilt"
    );
    assert!(text.contains(&format!("reproduced (replayed): {taken}   (")), "{text}");
    assert!(!text.contains("reproduced, bit for bit"), "{text}");
    assert!(text.contains("\n  era           unexpected   as in E0; E5 by its date\n"), "{text}");
    let explained = scene.run(&["explain", source::VERSION]);
    let explained = explained.exits(0);
    assert!(explained.stdout.contains(&format!("  archive: {taken}\n")), "{}", explained.stdout);
    let maps = scene.run(&["explain", source::VERSION, "--json"]).exits(0).json();
    assert_eq!(maps[TGZ]["replay"], *replay);
}

#[test]
fn a_recipe_that_does_not_replay_makes_no_pass_of_other_owners() {
    let scene = packed("", BY_HAND, "-n9");
    scene.recipe(&recipe(""));
    stays_different(&scene, "contents", "", "the same 14 members, other metadata");
}

#[test]
fn another_compression_is_not_replayed() {
    let scene = packed("", BY_HAND, "-n1");
    let left = "of the published archive, it is identical inside, only the compression differs";
    stays_different(&scene, "contents", "different", left);
}

#[test]
fn other_contents_or_permissions_are_never_replayed() {
    for change in
        ["echo '# more' >> Python-9.1.0/Lib/hello.py", "chmod 600 Python-9.1.0/Lib/hello.py"]
    {
        let scene = packed(change, BY_HAND, "-n9");
        stays_different(&scene, "different", "", "");
    }
}

#[test]
fn an_archive_that_hides_more_than_a_machine_leaves_is_refused() {
    let touch = "n=1750000001; find Python-9.1.0 | while read -r path; do \
                 touch -h -d @$n \"$path\"; n=$((n + 1)); done; \
                 touch -d @1750000000.5 Python-9.1.0/configure";
    let posix = BY_HAND.replace("--format=gnu", "--format=posix");
    let scene = packed(touch, &posix, "-n9");
    stays_different(&scene, "contents", "refused", "not replayed: the published Python-9.1.0/");
}
