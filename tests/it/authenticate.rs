//! Room 2, authenticate: files and tags that are not what is claimed, are signed by somebody
//! else, or do not arrive.

use std::fs;
use std::path::Path;

use rebuilder::Digest;
use serde_json::{Value, json};
use tests::signer::sign_tag;
use tests::{Ran, Scene, Signer, source};
use verifier::release::Md5;
use verifier::world::Fault;

use crate::scene;

const TGZ: &str = "Python-9.1.0.tgz";
const PATH: &str = "/ftp/python/9.1.0/Python-9.1.0.tgz";
const FOR_EVER: u32 = u32::MAX;

/// Makes the API claim something of the .tgz.
fn claim(scene: &Scene, key: &str, value: Value) {
    scene.world.state().row(TGZ).unwrap()[key] = value;
}

fn requests(scene: &Scene) -> usize {
    scene.world.state().requests.iter().filter(|path| *path == PATH).count()
}

/// The evidence of a check of `artifact` in a record.
pub fn evidence(record: &Value, check: &str, artifact: &str) -> (String, String) {
    let all = record["evidence"].as_array().unwrap();
    let one = all.iter().find(|one| one["check"] == check && one["artifact"] == artifact).unwrap();
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("detail"))
}

/// Verifies, and expects this outcome of a check, with a detail that says `detail`.
#[track_caller]
pub fn finds(scene: &Scene, check: &str, artifact: &str, outcome: &str, detail: &str) -> Value {
    let ran = scene.verify(&["--json"]);
    let record = ran.exits(i32::from(outcome == "disagrees")).json();
    let (found, said) = evidence(&record, check, artifact);
    assert_eq!(found, outcome, "{said}");
    assert!(said.contains(detail), "{said:?} does not say {detail:?}");
    assert_eq!(record["status"], if outcome == "disagrees" { "fail" } else { "pass" });
    record
}

#[test]
fn a_claim_that_disagrees_fails_the_release_and_both_values_are_said() {
    let bytes = fs::read(scene().fixture.published(TGZ)).unwrap();
    let (size, wrong) = (bytes.len(), "0".repeat(64));
    let sha256 = Digest::of(&bytes).to_string();
    let md5 = Md5::of_reader(bytes.as_slice()).unwrap().to_string();
    let cases = [
        ("filesize", "size", json!(size + 1), (size + 1).to_string(), size.to_string()),
        ("sha256_sum", "sha256", json!(wrong), wrong.clone(), sha256),
        ("md5_sum", "md5", json!(wrong[..32]), wrong[..32].to_owned(), md5),
    ];
    for (key, check, value, claimed, found) in cases {
        let scene = scene();
        claim(&scene, key, value);
        let detail = format!("python.org's API claims {claimed}, the file has {found}");
        let record = finds(&scene, check, TGZ, "disagrees", &detail);
        // The bytes are those of the tag all the same, and the verdict says so.
        assert_eq!(record["artifacts"][0]["verdict"], "reproduced");
        let text = scene.verify(&[]).exits(1).stdout.clone();
        let head = format!("cpython 9.1.0  fail: {check} of {TGZ} disagrees\n");
        assert!(text.starts_with(&head), "{text}");
        assert!(text.contains(&format!("DISAGREES    {TGZ}: {detail}")), "{text}");
    }
}

#[test]
fn a_file_replaced_under_its_name_is_compared_and_fails() {
    let scene = scene();
    let mut bytes = fs::read(scene.fixture.published(TGZ)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let path = scene.path("replaced");
    fs::write(&path, bytes).unwrap();
    scene.world.state().served.insert(PATH.to_owned(), path);
    let record = finds(&scene, "md5", TGZ, "disagrees", "python.org's API claims ");
    assert_eq!(record["artifacts"][0]["verdict"], "different");
    assert_eq!(evidence(&record, "size", TGZ).0, "agrees");
    assert_eq!(scene.records().len(), 1);
}

const MARY: (&str, &str) = ("mary@example.org", "https://example.org");

/// A scene whose release Mary should sign, and her key.
pub fn with_mary() -> (Scene, Signer) {
    let (scene, mary) = (scene(), Signer::default());
    scene.trust(&mary, MARY.0, MARY.1);
    (scene, mary)
}

fn announced(scene: &Scene, hours_ago: i64) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = jiff::Timestamp::from_second(now.as_secs() as i64 - hours_ago * 3600).unwrap();
    scene.world.state().releases[0]["release_date"] = at.to_string().into();
}

#[test]
fn an_asc_is_fetched_and_judged() {
    let (scene, mary) = with_mary();
    let bytes = fs::read(scene.fixture.published(TGZ)).unwrap();
    let openpgp = |outcome: &str, detail: &str| {
        finds(&scene, "openpgp", TGZ, outcome, detail);
    };
    openpgp("missing", "");
    announced(&scene, 47);
    openpgp("not_yet", "");
    announced(&scene, 49);
    openpgp("missing", "");
    scene.accompany(TGZ, ".asc", mary.sign(&bytes).as_bytes());
    openpgp("agrees", &format!("signed by Mary (key {}) on 20", mary.fingerprint()));
    scene.accompany(TGZ, ".asc", mary.sign(b"other bytes").as_bytes());
    openpgp("disagrees", "does not fit");
    let stranger = Signer::default();
    scene.accompany(TGZ, ".asc", stranger.sign(&bytes).as_bytes());
    openpgp("disagrees", &format!("by the unknown key {}, but Mary", stranger.fingerprint()));
    scene.accompany(TGZ, ".asc", b"<!DOCTYPE html>");
    openpgp("disagrees", "the signature cannot be read");
}

#[test]
fn a_sidecar_that_does_not_come_is_told_from_one_that_is_none() {
    let (scene, mary) = with_mary();
    let bytes = fs::read(scene.fixture.published(TGZ)).unwrap();
    scene.accompany(TGZ, ".asc", mary.sign(&bytes).as_bytes());
    let asc = format!("{PATH}.asc");
    let fail = |fault| scene.world.state().fail(&asc, fault, FOR_EVER);
    fail(Fault::Status(404, Vec::new()));
    finds(&scene, "openpgp", TGZ, "missing", "is announced, but not served");
    fail(Fault::Endless);
    finds(&scene, "openpgp", TGZ, "disagrees", "is longer than any signature");
    fail(Fault::TenGigabytes);
    finds(&scene, "openpgp", TGZ, "disagrees", "is longer than any signature");
    fail(Fault::Status(500, Vec::new()));
    scene.refuses("/Python-9.1.0.tgz.asc answered HTTP 500");
    fail(Fault::Cut(10));
    scene.refuses("/Python-9.1.0.tgz.asc was cut short");
    scene.world.state().faults.clear();
    finds(&scene, "openpgp", TGZ, "agrees", "signed by Mary");
    for (field, url) in [
        ("gpg_signature_file", "https://evil.example/x.asc"),
        ("sigstore_bundle_file", "file:///etc/passwd"),
        ("sigstore_signature_file", "x"),
        ("sbom_spdx2_file", "http://127.0.0.1:1/x"),
    ] {
        let row = scene.world.state().row(TGZ).unwrap().clone();
        claim(&scene, field, json!(url));
        scene.refuses("read the file");
        *scene.world.state().row(TGZ).unwrap() = row;
    }
}

fn blob() -> (Vec<u8>, Vec<u8>) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifier/testdata/sigstore");
    let read = |name: &str| fs::read(place.join(name)).unwrap();
    (read("blob.txt"), read("blob.v0.3.sigstore"))
}

const BLOB: (&str, &str) = ("w.vollprecht@gmail.com", "https://github.com/login/oauth");

#[test]
fn a_bundle_is_fetched_and_judged() {
    let (scene, mary) = with_mary();
    let (bytes, bundle) = blob();
    scene.republish(TGZ, &bytes);
    scene.accompany(TGZ, ".sigstore", &bundle);
    let judged = |scene: &Scene| {
        let record = scene.verify(&["--json"]).exits(1).json();
        evidence(&record, "sigstore", TGZ)
    };
    let (outcome, detail) = judged(&scene);
    assert_eq!(outcome, "disagrees");
    assert!(detail.contains("signed by w.vollprecht@gmail.com"), "{detail}");
    assert!(detail.contains("but Mary should have as mary@example.org"), "{detail}");
    scene.trust(&mary, BLOB.0, BLOB.1);
    let (outcome, detail) = judged(&scene);
    assert_eq!(outcome, "agrees", "{detail}");
    assert!(detail.contains("on 2025-12-03T") && detail.ends_with(": Mary"), "{detail}");
}

#[test]
fn a_tag_is_as_good_as_its_signature() {
    let (mut scene, mary) = with_mary();
    let repository = scene.path("own.git");
    let word = |path: &Path| path.display().to_string();
    let from = word(&scene.fixture.repository());
    source::run("git", &["clone", "-q", "--mirror", &from, &word(&repository)]).unwrap();
    scene.set("source.repository", word(&repository));
    let tag = "v9.1.0";
    let record = finds(&scene, "tag_signature", tag, "missing", "annotated and not signed");
    assert_eq!(evidence(&record, "tag", tag).0, "not_expected");
    let original = source::read_ref(&repository, tag);
    sign_tag(&repository, tag, &mary);
    let record = finds(&scene, "tag_signature", tag, "agrees", "signed by Mary");
    let (outcome, detail) = evidence(&record, "tag", tag);
    assert_eq!(outcome, "agrees");
    assert!(detail.ends_with("the tag object was made anew"), "{detail}");
    source::run("git", &["-C", &word(&repository), "update-ref", "refs/tags/v9.1.0", &original])
        .unwrap();
    sign_tag(&repository, tag, &Signer::default());
    finds(&scene, "tag_signature", tag, "disagrees", "by the unknown key ");
}

/// Runs `authenticate` in a directory with these files; the state directory stays away.
pub fn authenticates(scene: &Scene, files: &[(&str, &[u8])], arguments: &[&str]) -> Ran {
    let place = scene.path("download");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).unwrap();
    for (name, bytes) in files {
        fs::write(place.join(name), bytes).unwrap();
    }
    let mut command = scene.command(&[&["authenticate"], arguments].concat());
    Ran::of(command.current_dir(&place).output().unwrap())
}

#[test]
fn a_downloaded_file_is_authenticated_offline_by_what_lies_beside_it() {
    let (scene, mary) = with_mary();
    let asc = mary.sign(b"tarball");
    let (file, name) = ("Python-9.1.0.tar.xz", "Python-9.1.0.tar.xz.asc");
    let bytes = b"tarball".as_slice();
    let ran = authenticates(&scene, &[(file, bytes), (name, asc.as_bytes())], &[file]);
    ran.exits(0);
    let head = "Python-9.1.0.tar.xz is authentic: CPython 9.1.0\n";
    assert!(ran.stdout.starts_with(head), "{}", ran.stdout);
    let by = format!("openpgp   agrees: signed by Mary (key {}) on ", mary.fingerprint());
    assert!(ran.stdout.contains(&by), "{}", ran.stdout);
    let json = authenticates(&scene, &[(file, bytes), (name, asc.as_bytes())], &[file, "--json"]);
    assert_eq!(json.json()["authentic"], "yes");
    assert_eq!(json.json()["version"], "9.1.0");

    let other = Signer::default().sign(b"tarball");
    for (bytes, asc) in [(b"tarbalm".as_slice(), &asc), (b"tarball".as_slice(), &other)] {
        let ran = authenticates(&scene, &[(file, bytes), (name, asc.as_bytes())], &[file]);
        ran.exits(1);
        assert!(ran.stdout.contains("is NOT authentic as CPython 9.1.0"), "{}", ran.stdout);
    }
    let alone = authenticates(&scene, &[(file, bytes)], &[file]);
    alone.exits(2);
    assert!(alone.stdout.contains("missing: there is no .asc beside the file"), "{alone:?}");
    let renamed = [("x", bytes), ("y", asc.as_bytes())];
    let named = ["x", "--version", "9.1.0", "--signature", "y"];
    authenticates(&scene, &renamed, &named).exits(0);
    assert!(!scene.state().join("records.sqlite").exists());
}

#[test]
fn a_sigstore_bundle_is_found_under_both_of_its_names() {
    let (scene, mary) = with_mary();
    let (bytes, bundle) = blob();
    let file = "Python-9.2.0.tgz";
    let files = |ending: &str| {
        [(file.to_owned(), bytes.clone()), (format!("{file}{ending}"), bundle.clone())]
    };
    for (who, code) in [(MARY, 1), (BLOB, 0)] {
        scene.trust(&mary, who.0, who.1);
        for ending in [".sigstore", ".sigstore.json"] {
            let files = files(ending);
            let files: Vec<(&str, &[u8])> =
                files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
            let ran = authenticates(&scene, &files, &[file]);
            ran.exits(code);
            assert!(ran.stdout.contains("w.vollprecht@gmail.com"), "{}", ran.stdout);
        }
    }
}

#[test]
fn what_cannot_be_read_cannot_be_told() {
    let (scene, _) = with_mary();
    for (arguments, expected) in [
        (vec!["Python-9.1.0.tgz"], "read Python-9.1.0.tgz: No such file"),
        (vec!["x.tgz"], "say which release it is by --version"),
        (vec![".", "--version", "9.1.0"], ". is not a file"),
        (vec!["here", "--version", "9.1.0", "--bundle", "y"], "read y: there is no such file"),
    ] {
        authenticates(&scene, &[("here", b"x")], &arguments).gives_up(expected);
    }
    let unknown = authenticates(&scene, &[("Python-8.1.0.tgz", b"x")], &["Python-8.1.0.tgz"]);
    unknown.exits(2);
}

#[test]
fn what_is_claimed_and_what_is_not_is_on_record() {
    let scene = scene();
    let sha256 = Digest::of_file(&scene.fixture.published(TGZ)).unwrap().0.to_string();
    // Digits of either case are the same claim.
    claim(&scene, "sha256_sum", json!(sha256.to_uppercase()));
    let outcomes = |record: Value| -> Vec<String> {
        let evidence = record["evidence"].as_array().unwrap().clone();
        let of_tgz = evidence.into_iter().filter(|one| one["artifact"] == TGZ);
        let of_tgz = of_tgz.take(3);
        of_tgz.map(|one| one["outcome"].as_str().unwrap().to_owned()).collect()
    };
    let all = scene.verify(&["--json"]);
    assert_eq!(outcomes(all.exits(0).json()), ["agrees", "agrees", "agrees"]);
    for (key, empty) in [("filesize", json!(0)), ("sha256_sum", json!("")), ("md5_sum", json!(""))]
    {
        claim(&scene, key, empty);
    }
    let none = scene.verify(&["--json"]);
    assert_eq!(outcomes(none.exits(0).json()), ["missing", "missing", "missing"]);
    for key in ["filesize", "sha256_sum", "md5_sum"] {
        scene.world.state().row(TGZ).unwrap().as_object_mut().unwrap().remove(key);
    }
    let absent = scene.verify(&["--json"]);
    assert_eq!(outcomes(absent.exits(0).json()), ["missing", "missing", "missing"]);
}

#[test]
fn a_download_that_is_cut_once_goes_on_where_it_was() {
    for (bytes, ranges) in [(0, vec![]), (1, vec!["bytes=1-"]), (700, vec!["bytes=700-"])] {
        let scene = scene();
        scene.world.state().fail(PATH, Fault::Cut(bytes), 1);
        scene.verify(&[]).exits(0);
        assert_eq!(requests(&scene), 2, "cut after {bytes} bytes");
        assert_eq!(scene.world.state().ranges, ranges);
    }
}

#[test]
fn a_download_that_is_always_cut_is_trouble() {
    let scene = scene();
    scene.world.state().fail(PATH, Fault::Cut(700), FOR_EVER);
    scene.refuses("/Python-9.1.0.tgz was cut short after 700 bytes");
    assert_eq!(requests(&scene), 2, "resumed once");
}

#[test]
fn a_file_that_does_not_come_is_trouble() {
    let scene = scene();
    let elsewhere = Fault::Redirect("http://127.0.0.2:9/Python-9.1.0.tgz".to_owned());
    let cases = [
        (Fault::Status(404, Vec::new()), "does not exist (HTTP 404)", 1),
        (Fault::Status(410, Vec::new()), "does not exist (HTTP 410)", 1),
        (Fault::Status(502, Vec::new()), "answered HTTP 502", 3),
        (Fault::Status(204, Vec::new()), "Python-9.1.0.tgz is empty, so nothing is judged", 1),
        (elsewhere, "is refused: it redirects to another host, 127.0.0.2", 1),
        (Fault::TenGigabytes, "sends more than the 314572800 bytes that are allowed", 1),
        (Fault::Body(Vec::new()), "Python-9.1.0.tgz is empty, so nothing is judged", 1),
    ];
    for (fault, expected, tries) in cases {
        scene.world.state().requests.clear();
        scene.world.state().fail(PATH, fault, FOR_EVER);
        scene.refuses(expected);
        assert_eq!(requests(&scene), tries, "{expected}");
    }
    scene.world.state().fail(PATH, Fault::Status(500, Vec::new()), 2);
    scene.verify(&[]).exits(0);
}

#[test]
fn a_file_that_is_announced_alone_is_verified_alone() {
    let scene = scene();
    scene.world.state().files.retain(|(_, row)| row["url"].as_str().unwrap().ends_with(TGZ));
    let record = scene.verify(&["--json"]).exits(0).json();
    assert_eq!(record["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(record["status"], "pass");
}
