//! The genuine 3.13.5, what it would look like had it been tampered with, and genuine releases that
//! were packed by hand. Minutes each.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::genuine::{Prepared, is_asked_for};
use tests::{Ran, Scene, leftovers, source};
use verifier::world::Announcement;
use verifier::world::earlier::{self, Earlier};

use crate::PLACE;

const VERSION: &str = "3.13.5";
const TAR_XZ: &str = "Python-3.13.5.tar.xz";
/// As python.org published it, see UPSTREAM.md.
const TAR_XZ_SHA256: &str = "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640";

/// Unpacks the genuine archive, changes it and packs it as the release manager did.
fn tampered(tamper: &str, tar: &str, xz: &str) -> String {
    format!(
        "xz -dc /input/tarball | tar xpf -\n\
         epoch=$(stat -c %Y Python-3.13.5/README.rst)\n\
         cd Python-3.13.5\n{tamper}\ncd ..\n\
         tar cf - --sort=name {tar} --owner=0 --group=0 --numeric-owner \
         --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
         --mode=go+u,go-w Python-3.13.5/ | xz {xz} > out"
    )
}

const AS_PUBLISHED: &str = "--mtime=@$epoch --clamp-mtime";
/// The tier of other contents does not depend on the compressor, and this one is soon done.
const FAST: &str = "-1 -T1";

/// What is expected of a tampered .tar.xz.
struct Expected<'a> {
    tier: &'a str,
    unexplained: &'a [&'a str],
    cause: &'a str,
}

fn check(commands: &str, expected: Expected) {
    if !is_asked_for() {
        return;
    }
    let prepared = Prepared::in_place(PLACE);
    let place = tempfile::tempdir().unwrap();
    let made = prepared.make(place.path(), commands);
    let published = made.with_file_name(TAR_XZ);
    fs::rename(made, &published).unwrap();
    let scene = prepared.scene(PLACE, &[published]);
    different(&scene, expected);
}

/// Verifies, and expects all of the .tar.xz.
fn different(scene: &Scene, expected: Expected) {
    let ran = scene.run(&["verify", VERSION, "--json"]);
    ran.exits(1);
    let record = ran.json();
    assert_eq!(record["status"], "fail");
    let artifacts = record["artifacts"].as_array().unwrap();
    let artifact = artifacts.iter().find(|artifact| artifact["name"] == TAR_XZ).unwrap();
    println!("{}", artifact["summary"]);
    assert_eq!(artifact["verdict"], "different");
    assert_eq!(artifact["tier"], expected.tier, "{artifact:#}");
    assert_eq!(artifact["unexplained"], json!(expected.unexplained), "{artifact:#}");
    let causes = artifact["causes"].as_array().unwrap();
    assert!(causes.iter().any(|cause| cause["cause"] == expected.cause), "{artifact:#}");
}

#[test]
fn the_demo_reproduces_the_genuine_release_bit_for_bit() {
    if !is_asked_for() {
        return;
    }
    let prepared = Prepared::in_place(PLACE);
    let mut command = Command::new(PLACE.program);
    command.args(["demo", "--once", "--config", "/dev/null", "--state"]).arg(&prepared.state);
    let ran = Ran::of(command.stdin(Stdio::null()).output().unwrap());
    ran.exits(0);
    let expected = "cpython 3.13.5  pass\n  \
        Python-3.13.5.tgz      reproduced, bit for bit   (29,450,781 bytes, sha256 e6190f52…)\n  \
        Python-3.13.5.tar.xz   reproduced, bit for bit   (22,856,016 bytes, sha256 93e583f2…)\n";
    assert!(ran.stdout.starts_with(expected), "{}", ran.stdout);
    let signed = format!(
        "openpgp       agrees       {TAR_XZ}: signed by Thomas Wouters (key \
         7169605F62C751356D054A26A821E680E5FA6305) on 2025-06-11T17:45:54Z\n"
    );
    assert!(ran.stdout.contains(&signed), "{}", ran.stdout);
    let early = format!("the archive inside {TAR_XZ} is the rebuilt Python-3.13.5.tar");
    assert!(ran.stderr.contains(&early), "{}", ran.stderr);
}

#[test]
fn the_genuine_signature_makes_the_genuine_file_authentic_and_no_other() {
    if !is_asked_for() {
        return;
    }
    let prepared = Prepared::in_place(PLACE);
    let genuine = &prepared.genuine.tar_xz;
    let asc = genuine.with_extension("xz.asc");
    let place = tempfile::tempdir().unwrap();
    let authenticate = |file: &Path, asc: &Path| {
        let mut command = Command::new(PLACE.program);
        command.args(["authenticate", "--config", "/dev/null", "--signature"]).arg(asc).arg(file);
        Ran::of(command.output().unwrap())
    };
    let ran = authenticate(genuine, &asc);
    ran.exits(0);
    assert!(ran.stdout.starts_with(&format!("{TAR_XZ} is authentic: CPython 3.13.5\n")));
    let flipped = |path: &Path, name: &str| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let path = place.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let other_file = flipped(genuine, TAR_XZ);
    let other_asc = flipped(&asc, "asc");
    for (file, asc) in [(&other_file, &asc), (genuine, &other_asc)] {
        let ran = authenticate(file, asc);
        ran.exits(1);
        assert!(ran.stdout.contains("NOT authentic"), "{}", ran.stdout);
    }
    // Of another series, whose manager is somebody else.
    let mut command = Command::new(PLACE.program);
    command.args(["authenticate", "--version", "3.14.2", "--signature"]).arg(&asc).arg(genuine);
    let ran = Ran::of(command.output().unwrap());
    ran.exits(1);
    assert!(ran.stdout.contains("signed by Thomas Wouters"), "{}", ran.stdout);
    assert!(ran.stdout.contains("but Hugo van Kemenade has no OpenPGP key"), "{}", ran.stdout);
}

#[test]
fn root_and_an_ordinary_user_get_the_same_digests_twice_in_a_row() {
    if !is_asked_for() {
        return;
    }
    let prepared = Prepared::in_place(PLACE);
    let genuine = &prepared.genuine;
    let scene = prepared.scene(PLACE, &[genuine.tgz.clone(), genuine.tar_xz.clone()]);
    let first = scene.run(&["verify", VERSION, "--json"]).exits(0).json();
    assert_eq!(first["artifacts"][1]["published"]["sha256"], TAR_XZ_SHA256);
    let second = if nix::unistd::geteuid().is_root() {
        by_an_ordinary_user(&prepared, &scene)
    } else {
        scene.run(&["verify", VERSION, "--json"]).exits(0).json()
    };
    assert_ne!(first["id"], second["id"]);
    for same in ["environment", "recipe", "definition", "artifacts", "source", "status"] {
        assert_eq!(first[same], second[same], "{same}");
    }
}

/// With a state directory of its own, whose environment has still to be assembled.
fn by_an_ordinary_user(prepared: &Prepared, scene: &Scene) -> Value {
    const NOBODY: u32 = 65_534;
    let state = scene.path("of-nobody");
    fs::create_dir(&state).unwrap();
    let word = |path: &Path| path.display().to_string();
    let copy = |from: &Path, to: &Path| {
        source::run("cp", &["-rL", &word(from), &word(to)]).unwrap();
    };
    // What is fetched in part belongs to a test beside this one, and may be gone any moment.
    fs::create_dir(state.join("cache")).unwrap();
    for name in ["cache/sha256", "locks"].iter().filter(|name| prepared.state.join(name).exists()) {
        copy(&prepared.state.join(name), &state.join(name));
    }
    let program = scene.path("verbatim");
    copy(Path::new(PLACE.program), &program);
    source::run("chown", &["-R", &format!("{NOBODY}:{NOBODY}"), &word(&state)]).unwrap();
    source::run("chmod", &["a+rx", &word(&scene.path("")), &word(&program)]).unwrap();
    let config = scene.command(&[]).get_args().nth(1).unwrap().to_owned();
    source::run("chmod", &["a+r", &config.to_string_lossy()]).unwrap();
    let mut command = Command::new(program);
    command.arg("--config").arg(config).arg("--state").arg(&state);
    command.args(["verify", VERSION, "--json"]).env("HOME", "/nonexistent");
    let ran = Ran::of(command.uid(NOBODY).gid(NOBODY).current_dir("/").output().unwrap());
    leftovers::assert_none(&state);
    ran.exits(0).json()
}

#[test]
fn a_file_added_to_the_genuine_archive_is_unexplained() {
    let tamper = "mkdir -p m4\necho 'gl_[$1]_prefix' > m4/build-to-host.m4";
    check(
        &tampered(tamper, AS_PUBLISHED, FAST),
        Expected {
            tier: "different",
            unexplained: &["m4/build-to-host.m4"],
            cause: "member.removed",
        },
    );
}

#[test]
fn a_line_changed_in_the_genuine_configure_is_unexplained() {
    let tamper = "sed -i '1000s/$/ #/' configure";
    let expected =
        Expected { tier: "different", unexplained: &["configure"], cause: "member.changed" };
    check(&tampered(tamper, AS_PUBLISHED, FAST), expected);
}

#[test]
fn the_genuine_archive_compressed_again_has_the_same_payload() {
    let expected = Expected { tier: "payload", unexplained: &[], cause: "xz.dictionary" };
    check("xz -dc /input/tarball | xz -9 -T1 > out", expected);
}

#[test]
fn the_genuine_archive_an_hour_later_has_the_same_contents() {
    let expected = Expected { tier: "contents", unexplained: &[], cause: "tar.mtime" };
    check(&tampered("", "--mtime=@$((epoch + 3600))", FAST), expected);
}

#[test]
fn the_genuine_archive_cut_short_is_different() {
    let expected = Expected { tier: "different", unexplained: &[], cause: "archive.corrupt" };
    check("head -c 20000000 /input/tarball > out", expected);
}

#[test]
fn a_text_in_place_of_the_genuine_archive_is_different() {
    let expected = Expected { tier: "different", unexplained: &[], cause: "format" };
    check("echo 'This is no archive.' > out", expected);
}

/// The release by hand comes out once replayed, and every content is traced.
#[track_caller]
fn replayed(earlier: &Earlier, replay: Value) {
    if !is_asked_for() {
        return;
    }
    let (prepared, published) = Prepared::with_earlier(PLACE, earlier);
    let version = earlier.version.parse().unwrap();
    let files = [published.file];
    let announcement = Announcement { version: &version, date: earlier.announced, files: &files };
    let scene = prepared.scene_of(PLACE, &announcement, &published.repository);
    let record = scene.run(&["verify", earlier.version, "--json"]).exits(0).json();
    assert_eq!(record["status"], "pass", "{record:#}");
    assert_eq!(record["recipe"]["name"], "cpython-source-e0");
    let era = &record["era"];
    assert_eq!(era["expected"], json!({"version": "E0", "date": "E0"}));
    assert_eq!((&era["read"], &era["agrees"]), (&json!(["E0"]), &json!(true)));
    let artifact = &record["artifacts"][0];
    assert_eq!((&artifact["name"], &artifact["tier"]), (&json!(earlier.name), &json!("replayed")));
    assert_eq!(artifact["verdict"], "reproduced");
    assert_eq!(artifact["replay"], replay);
    let map = &artifact["explanation"];
    assert_eq!((&map["unexplained"], &map["missing"]), (&json!(0), &json!([])), "{map:#}");
    let by_blurb = json!([["Misc/NEWS", {"step": "blurb"}]]);
    assert_eq!(map["others"], by_blurb, "all else is the tag's");
    assert_eq!(map["git"].as_u64().unwrap() + 1, map["files"].as_u64().unwrap());
    let text = verifier::publish::text(&scene.records_of(earlier.version)[0]);
    let (version, name) = (earlier.version, earlier.name);
    assert!(text.starts_with(&format!("cpython {version}  pass, replayed\n  {name} ")), "{text}");
    assert!(text.contains("reproduced (replayed): identical once the order of its "), "{text}");
}

#[test]
fn the_genuine_3_11_2_comes_out_once_it_is_replayed() {
    let owner = json!({"uid": 1000, "gid": 1000, "user": "pablogsal", "group": "pablogsal",
        "members": 4770});
    let replay = json!({
        "outcome": "identical", "command": "gzip --no-name -9", "members": 4770,
        "times": [
            {"time": "2023-02-07T13:37:51Z", "members": 4760},
            {"time": "2023-02-07T13:38:04Z", "members": 4},
            {"time": "2023-02-07T13:52:42Z", "members": 3},
            {"time": "2023-02-07T13:52:43Z", "members": 3},
        ],
        "owners": [owner],
    });
    replayed(&earlier::V3_11_2, replay);
}

#[test]
fn the_genuine_3_9_2_comes_out_once_it_is_replayed() {
    let owner = json!({"uid": 1000, "gid": 1000, "user": "ambv", "group": "ambv", "members": 4552});
    let replay = json!({
        "outcome": "identical", "command": "xz -6 -T1", "members": 4552,
        "times": [
            {"time": "2021-02-19T12:31:44Z", "members": 4543},
            {"time": "2021-02-19T13:15:07Z", "members": 3},
            {"time": "2021-02-19T13:34:46Z", "members": 6},
        ],
        "owners": [owner],
    });
    replayed(&earlier::V3_9_2, replay);
}

/// A scene that announces the genuine .tar.xz, and whose definitions are a copy to be changed.
fn with_own_definitions(prepared: &Prepared) -> (Scene, PathBuf) {
    let mut scene = prepared.scene(PLACE, std::slice::from_ref(&prepared.genuine.tar_xz));
    let definitions = scene.path("own");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let word = |path: &Path| path.display().to_string();
    source::run("cp", &["-r", &word(&shipped), &word(&definitions)]).unwrap();
    let lock = prepared.state.join("locks/debian-13.lock");
    if lock.is_file() {
        fs::copy(lock, definitions.join("environments/debian-13.lock")).unwrap();
    }
    scene.set("rebuild.definitions", word(&definitions));
    (scene, definitions)
}

/// Replaces text of a definition, which must be there.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} has no {from:?}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_recipe_whose_xz_uses_threads_gives_another_compression() {
    if !is_asked_for() {
        return;
    }
    let prepared = Prepared::in_place(PLACE);
    let (scene, definitions) = with_own_definitions(&prepared);
    // What xz does by itself without -T1 where there are several processors.
    edit(
        &definitions.join("recipes/cpython-source.toml"),
        r#"XZ_THREADS = "-T1""#,
        r#"XZ_THREADS = "-T2""#,
    );
    let expected = Expected { tier: "payload", unexplained: &[], cause: "xz.blocks" };
    different(&scene, expected);
}

#[test]
fn a_newer_blurb_writes_another_misc_news() {
    if !is_asked_for() {
        return;
    }
    let prepared = Prepared::in_place(PLACE);
    let (scene, definitions) = with_own_definitions(&prepared);
    edit(&definitions.join("environments/debian-13.toml"), "blurb==2.0.0", "blurb==2.3.0");
    // Packages come from the shared cache, trees of this environment go to a place of its own.
    let state = scene.state();
    fs::remove_file(state.join("environments")).unwrap();
    source::run(
        "cp",
        &[
            "-r",
            &prepared.state.join("cache").display().to_string(),
            &state.join("cache").display().to_string(),
        ],
    )
    .unwrap();
    scene.run(&["environment", "lock", "debian-13"]).exits(0);
    let lock = fs::read_to_string(definitions.join("environments/debian-13.lock")).unwrap();
    assert!(lock.contains("blurb-2.3.0-py3-none-any.whl"), "{lock}");
    let expected =
        Expected { tier: "different", unexplained: &["Misc/NEWS"], cause: "member.changed" };
    different(&scene, expected);
}
