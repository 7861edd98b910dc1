//! Room 1, feed: every answer that python.org's API should not give, and some that it does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::Scene;
use verifier::world::Fault;

use crate::scene;

const RELEASES: &str = "/api/v2/downloads/release/";
const FILES: &str = "/api/v2/downloads/release_file/";
const FOR_EVER: u32 = u32::MAX;

fn body(text: &str) -> Fault {
    Fault::Body(text.as_bytes().to_vec())
}

fn throttled(retry_after: &str) -> Fault {
    Fault::Status(429, vec![("retry-after".to_owned(), retry_after.to_owned())])
}

/// How often the API was asked for `path`.
fn requests(scene: &Scene, path: &str) -> usize {
    scene.world.state().requests.iter().filter(|request| *request == path).count()
}

#[test]
fn a_wrong_answer_is_refused_with_its_reason() {
    let scene = scene();
    let cases = [
        (Fault::Status(404, Vec::new()), "does not exist (HTTP 404)", 1),
        (Fault::Status(403, Vec::new()), "answered HTTP 403", 1),
        (Fault::Status(500, Vec::new()), "answered HTTP 500", 3),
        (throttled("3600"), "wants to be left alone: try again in 3600 s", 1),
        (throttled("Fri, 31 Dec 1999 23:59:59 GMT"), "try again in 60 s", 1),
        (body(r#"[{"name": "Python 9.1.0", "ver"#), "is not the list that the API documents", 1),
        (body("<!DOCTYPE html>"), "is not the list that the API documents", 1),
        (body("\u{1b}[2J\u{7}"), "is not the list that the API documents", 1),
        (body(r#"{"detail": "Not found."}"#), "is not the list that the API documents", 1),
        (body(&"[".repeat(100_000)), "is not the list that the API documents", 1),
        (body(""), "is not the list that the API documents", 1),
        (Fault::Endless, "sends more than the 16777216 bytes that are allowed", 1),
        (Fault::TenGigabytes, "sends more than the 16777216 bytes that are allowed", 1),
        (Fault::Redirect("http://127.0.0.2:9/".to_owned()), "redirects to another host", 1),
        (Fault::Redirect("https://evil.example/".to_owned()), "redirects to another host", 1),
    ];
    for (fault, expected, tries) in cases {
        for path in [RELEASES, FILES] {
            scene.world.state().requests.clear();
            scene.world.state().fail(path, fault.clone(), FOR_EVER);
            scene.refuses(expected);
            assert_eq!(requests(&scene, path), tries, "requests for {path}: {expected}");
            scene.world.state().faults.clear();
        }
    }
    scene.verify(&[]).exits(0);
}

#[test]
fn redirects_in_a_circle_come_to_an_end() {
    let scene = scene();
    scene.world.state().fail(RELEASES, Fault::Redirect(RELEASES.to_owned()), FOR_EVER);
    scene.refuses("too many redirects");
    assert!(requests(&scene, RELEASES) < 10);
}

#[test]
fn a_list_without_any_release_is_not_believed() {
    let scene = scene();
    scene.world.state().fail(RELEASES, body("[]"), 1);
    scene.refuses("lists no release at all: the answer is not believed");
}

#[test]
fn trouble_that_passes_is_waited_for() {
    let scene = scene();
    scene.world.state().fail(RELEASES, Fault::Status(503, Vec::new()), 2);
    scene.world.state().fail(FILES, throttled("2"), 1);
    let begun = Instant::now();
    scene.verify(&[]).exits(0);
    assert!(begun.elapsed() >= Duration::from_secs(2), "the server asked for 2 s");
    assert_eq!((requests(&scene, RELEASES), requests(&scene, FILES)), (3, 2));
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let mut scene = scene();
    // The port was free a moment ago, and nobody listens on it now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    scene.set("feed.api", format!("http://127.0.0.1:{port}/api"));
    scene.refuses(&format!("cannot reach http://127.0.0.1:{port}/api/release/"));
}

#[test]
fn a_release_that_is_not_out_is_not_verified() {
    let scene = scene();
    let ran = scene.run(&["verify", "9.2.0"]);
    ran.gives_up("python.org announces 0 releases named 9.2.0, not one");
    let row = scene.world.state().releases[0].clone();
    let cases = [
        ("version", json!(100), "announces 0 releases"),
        ("is_published", json!(false), "announces 0 releases"),
        ("name", json!("Python install manager 9.1.0"), "announces 0 releases"),
        ("release_date", json!("yesterday"), "announces 0 releases"),
        ("resource_uri", json!("https://x.example/release/\u{1b}[2J"), "primary key"),
    ];
    for (key, value, expected) in cases {
        scene.world.state().releases[0][key] = value;
        scene.refuses(expected);
        scene.world.state().releases[0] = row.clone();
    }
    scene.world.state().releases.push(row);
    scene.refuses("announces 2 releases named 9.1.0, not one");
}

#[test]
fn odd_rows_hide_no_release() {
    let scene = scene();
    let odd = [json!("odd"), json!(null), json!({"name": 5}), json!([]), json!({})];
    scene.world.state().releases.splice(0..0, odd);
    scene.verify(&[]).exits(0);
}

#[test]
fn only_source_files_are_verified_and_the_others_are_listed() {
    let scene = scene();
    let base = format!("{}/ftp/python/9.1.0", scene.world.base());
    let row = |name: &str, url: String, is_source: bool| {
        (1000, json!({"name": name, "url": url, "is_source": is_source}))
    };
    scene.world.state().files.extend([
        row("Windows installer", "https://elsewhere.example/x.exe".to_owned(), false),
        row("Installer \u{1b}[2J", format!("{base}/x.pkg"), false),
        row("Zipped source", format!("{base}/Python-9.1.0.zip"), true),
    ]);
    let ran = scene.verify(&["--json"]);
    ran.exits(0);
    assert_eq!(ran.json()["artifacts"].as_array().unwrap().len(), 2);
    let listed = "not verified: Windows installer, Installer \\u{1b}[2J, Python-9.1.0.zip\n";
    assert!(ran.stderr.contains(listed), "{}", ran.stderr);
}

/// Announces the .tgz with `value` in place of what its row says under `key`.
fn refuses_row(scene: &Scene, key: &str, value: Value, expected: &str) {
    let name = "Python-9.1.0.tgz";
    let good = scene.world.state().row(name).unwrap().clone();
    let place = scene.world.state().files.iter().position(|(_, row)| *row == good).unwrap();
    scene.world.state().files[place].1[key] = value.clone();
    println!("{key} = {value}");
    scene.refuses(expected);
    scene.world.state().files[place].1 = good;
}

#[test]
fn a_file_that_lies_elsewhere_or_has_a_hostile_name_is_refused() {
    let scene = scene();
    let base = format!("{}/ftp/python", scene.world.base());
    let host = scene.world.base().strip_prefix("http://").unwrap();
    let below = |rest: &str| format!("{base}/9.1.0/{rest}");
    let cases = [
        (below("a%2Fb.tgz"), "is not an acceptable file name"),
        (below("..%2f..%2fetc%2fpasswd"), "is not an acceptable file name"),
        (below(".bashrc"), "is not an acceptable file name"),
        (below(""), "is not an acceptable file name"),
        (below("Python-9.1.0\u{202e}zgt.exe"), "is not an acceptable file name"),
        (below(&"x".repeat(200)), "is not an acceptable file name"),
        (below("\u{1b}[2J.tgz"), "is not an acceptable file name"),
        (below("x/../Python-9.1.0.tgz"), "is not the plain URL of a file"),
        (below("Python-9.1.0.tgz\n"), "is not the plain URL of a file"),
        (below("Python-9.1.0.tgz?x=y"), "is not"),
        (below("Python-9.1.0.tgz#x"), "is not"),
        (format!("{base}/../../secret/Python-9.1.0.tgz"), "does not lie below"),
        (format!("{base}x/Python-9.1.0.tgz"), "does not lie below"),
        (format!("http://{host}@evil.example/ftp/python/x.tgz"), "does not lie below"),
        ("https://evil.example/ftp/python/Python-9.1.0.tgz".to_owned(), "does not lie below"),
        ("file:///etc/passwd".to_owned(), "does not lie below"),
        ("not a URL \u{1b}[2J".to_owned(), "is no URL"),
    ];
    for (url, expected) in cases {
        refuses_row(&scene, "url", json!(url), expected);
    }
}

#[test]
fn a_row_that_says_nonsense_about_a_source_file_is_refused() {
    let scene = scene();
    let cases = [
        ("sha256_sum", json!("abc"), "is not a SHA-256"),
        ("sha256_sum", json!("\u{1b}".repeat(64)), "is not a SHA-256"),
        ("md5_sum", json!("x".repeat(32)), "is not an MD5 digest"),
        ("filesize", json!(-1), "read a file row of release 9.1.0"),
        ("filesize", json!("many"), "read a file row of release 9.1.0"),
        ("is_source", json!("yes"), "read a file row of release 9.1.0"),
        ("url", json!(null), "read a file row of release 9.1.0"),
    ];
    for (key, value, expected) in cases {
        refuses_row(&scene, key, value, expected);
    }
}

#[test]
fn a_file_that_is_announced_twice_is_refused() {
    let scene = scene();
    let row = scene.world.state().files[0].clone();
    scene.world.state().files.push(row);
    scene.refuses("announces one source file twice");
}

#[test]
fn more_files_than_any_release_has_are_refused() {
    let scene = scene();
    let row = scene.world.state().files[0].clone();
    scene.world.state().files.extend(vec![row; 1_000]);
    scene.refuses("announces more than 1000 files");
}

#[test]
fn a_release_without_a_source_file_has_nothing_to_verify() {
    let scene = scene();
    scene.world.state().files.clear();
    scene.refuses("python.org announces no source file for 9.1.0 (yet)");
}

#[test]
fn a_version_that_python_org_would_not_write_is_refused() {
    for version in ["9", "v9.1.0", "9.1.0.post1", "../9.1.0", "", "9.1.0\u{1b}"] {
        let ran = scene().run(&["verify", version]);
        ran.exits(2);
        assert!(ran.stderr.contains("is not a CPython version"), "{ran:?}");
        assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
    }
}
