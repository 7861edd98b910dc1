//! Room 4, compare, through the line: what a published archive may be that the tag does not make.
//!
//! The differ itself is tested where it lives; here stand verdict, tier, `unexplained`, exit status
//! and what a person reads.

use std::fs;

use serde_json::Value;
use tests::source::{self, HONEST, Publication};

use crate::scene;

const TGZ: &str = "Python-9.1.0.tgz";
const TAR_XZ: &str = "Python-9.1.0.tar.xz";

/// What is expected of the .tar.xz; the .tgz is the true one.
struct Expected<'a> {
    tier: &'a str,
    unexplained: &'a [&'a str],
    cause: &'a str,
}

/// The .tar.xz as `how` publishes it.
fn published(how: Publication) -> Vec<u8> {
    let scene = scene();
    let place = scene.path("published");
    source::publish(&scene.fixture.repository(), &place, how).unwrap();
    fs::read(place.join(TAR_XZ)).unwrap()
}

/// Publishes `bytes` as .tar.xz and gives what a person reads of the verdict.
fn check(bytes: &[u8], expected: Expected) -> String {
    let scene = scene();
    scene.republish(TAR_XZ, bytes);
    let ran = scene.verify(&["--json"]);
    ran.exits(1);
    let record = ran.json();
    assert_eq!(record["status"], "fail");
    let (tgz, tar_xz) = (&record["artifacts"][0], &record["artifacts"][1]);
    assert_eq!((&tgz["name"], &tgz["verdict"]), (&TGZ.into(), &"reproduced".into()));
    assert_eq!((&tar_xz["name"], &tar_xz["verdict"]), (&TAR_XZ.into(), &"different".into()));
    assert_eq!(tar_xz["tier"], expected.tier, "{tar_xz:#}");
    assert_eq!(tar_xz["unexplained"], serde_json::json!(expected.unexplained), "{tar_xz:#}");
    assert_eq!(tar_xz["published"]["size"], bytes.len());
    assert_ne!(tar_xz["published"]["sha256"], tar_xz["rebuilt"]["sha256"]);
    let causes = tar_xz["causes"].as_array().unwrap();
    let names: Vec<&Value> = causes.iter().map(|cause| &cause["cause"]).collect();
    assert!(names.contains(&&Value::from(expected.cause)), "{names:?}");
    assert_eq!(scene.records().len(), 1, "a difference is a result");

    let ran = scene.verify(&[]);
    ran.exits(1);
    assert!(ran.stdout.starts_with("cpython 9.1.0  fail\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Python-9.1.0.tgz      reproduced"), "{}", ran.stdout);
    for path in expected.unexplained {
        assert!(ran.stdout.contains(&format!("UNEXPLAINED {path}\n")), "{}", ran.stdout);
    }
    let controls = ran.stdout.chars().any(|c| c.is_control() && c != '\n');
    assert!(!controls, "{:?}", ran.stdout);
    ran.stdout
}

#[test]
fn a_file_that_no_tag_holds_is_unexplained() {
    let tamper = "echo 'gl_[$1]_prefix' > m4/build-to-host.m4";
    let text = check(
        &published(Publication { tamper, ..HONEST }),
        Expected {
            tier: "different",
            unexplained: &["m4/build-to-host.m4"],
            cause: "member.removed",
        },
    );
    assert!(text.contains("different"), "{text}");
}

#[test]
fn a_line_that_was_changed_is_unexplained() {
    let tamper = "sed -i 's/^echo checking 200$/echo checking 2OO/' configure";
    let expected =
        Expected { tier: "different", unexplained: &["configure"], cause: "member.changed" };
    check(&published(Publication { tamper, ..HONEST }), expected);
}

#[test]
fn several_members_are_all_unexplained() {
    let tamper = "echo x >> README.rst; echo x > new; rm m4/README; ln -sf /etc/passwd hello.py";
    check(
        &published(Publication { tamper, ..HONEST }),
        Expected {
            tier: "different",
            unexplained: &["README.rst", "hello.py", "new"],
            cause: "member.added",
        },
    );
}

#[test]
fn a_file_that_was_left_out_is_different_and_leaves_nothing_unexplained() {
    let expected = Expected { tier: "different", unexplained: &[], cause: "member.added" };
    check(&published(Publication { tamper: "rm m4/README", ..HONEST }), expected);
}

#[test]
fn a_file_that_the_recipe_removes_is_unexplained() {
    // The tag holds it; a declared step takes it away; the release manager did not.
    let tamper = "echo '*.pyc' > .gitignore";
    let expected =
        Expected { tier: "different", unexplained: &[".gitignore"], cause: "member.removed" };
    check(&published(Publication { tamper, ..HONEST }), expected);
}

#[test]
fn other_options_of_the_compressor_leave_the_payload_equal() {
    let expected = Expected { tier: "payload", unexplained: &[], cause: "xz.dictionary" };
    check(&published(Publication { xz: "-9 -T1", ..HONEST }), expected);
    let expected = Expected { tier: "payload", unexplained: &[], cause: "xz.check" };
    check(&published(Publication { xz: "-6 -T1 --check=crc32", ..HONEST }), expected);
}

#[test]
fn other_times_leave_the_contents_equal() {
    let mtime = HONEST.mtime + 3600;
    // tar clamps only what is later, so what comes from the commit has to be moved first.
    let tamper = "find . -exec touch -h -d @1760000000 {} +";
    let expected = Expected { tier: "contents", unexplained: &[], cause: "tar.mtime" };
    let text = check(&published(Publication { mtime, tamper, ..HONEST }), expected);
    assert!(text.contains("3600 s"), "{text}");
}

#[test]
fn another_mode_is_different() {
    let tamper = "chmod a+x README.rst";
    let expected = Expected { tier: "different", unexplained: &[], cause: "tar.mode" };
    check(&published(Publication { tamper, ..HONEST }), expected);
}

#[test]
fn an_archive_that_was_cut_short_is_different() {
    let whole = published(HONEST);
    let expected = Expected { tier: "different", unexplained: &[], cause: "archive.corrupt" };
    check(&whole[..whole.len() / 2], expected);
}

#[test]
fn a_file_that_is_no_archive_is_different() {
    let expected = || Expected { tier: "different", unexplained: &[], cause: "format" };
    check(b"This is a text file.\n", expected());
    check(b"\0", expected());
}

#[test]
fn bytes_after_the_archive_are_different() {
    let mut bytes = published(HONEST);
    bytes.extend(b"#!/bin/sh\necho hidden\n");
    let expected = Expected { tier: "different", unexplained: &[], cause: "archive.trailing" };
    check(&bytes, expected);
}

#[test]
fn a_hostile_name_is_shown_harmless() {
    let tamper = "touch \"$(printf 'm4/\\033[2J\\rpass\\342\\200\\256x')\"";
    let scene = scene();
    scene.republish(TAR_XZ, &published(Publication { tamper, ..HONEST }));
    let ran = scene.verify(&["--report", "report"]);
    ran.exits(1);
    let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!ran.stdout.contains(harmful), "{:?}", ran.stdout);
    assert!(ran.stdout.contains("UNEXPLAINED m4/"), "{:?}", ran.stdout);
    let members = fs::read_to_string(scene.path(&format!("report/{TAR_XZ}.published.members.txt")));
    assert!(!members.as_ref().unwrap().contains(harmful), "{members:?}");
}

#[test]
fn every_file_of_a_release_is_judged_by_itself() {
    let scene = scene();
    scene.republish(TGZ, b"not a tarball");
    scene.republish(TAR_XZ, &published(Publication { xz: "-9 -T1", ..HONEST }));
    let record = scene.verify(&["--json"]).exits(1).json();
    let tiers: Vec<&Value> =
        record["artifacts"].as_array().unwrap().iter().map(|one| &one["tier"]).collect();
    assert_eq!(tiers, ["different", "payload"]);
}
