//! Room 2, authenticate: files that are not what is claimed, or do not arrive.

use std::fs;

use rebuilder::Digest;
use serde_json::{Value, json};
use tests::Scene;
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

#[test]
fn a_claim_that_disagrees_stops_the_line_and_both_values_are_said() {
    let bytes = fs::read(scene().fixture.published(TGZ)).unwrap();
    let (size, wrong) = (bytes.len(), "0".repeat(64));
    let md5 = Md5::of_reader(bytes.as_slice()).unwrap();
    let cases = [
        (
            "filesize",
            json!(size + 1),
            format!("the size of {TGZ} is {size}"),
            (size + 1).to_string(),
        ),
        ("filesize", json!(1), format!("the size of {TGZ} is {size}"), "1".to_owned()),
        (
            "sha256_sum",
            json!(wrong),
            format!("the SHA-256 of {TGZ} is {}", Digest::of(&bytes)),
            wrong.clone(),
        ),
        ("md5_sum", json!(wrong[..32]), format!("the MD5 of {TGZ} is {md5}"), wrong[..32].into()),
    ];
    for (key, value, found, claimed) in cases {
        let scene = scene();
        claim(&scene, key, value);
        scene.refuses(&format!("{found}, but python.org's API claims {claimed}: "));
    }
}

#[test]
fn a_file_replaced_under_its_name_stops_the_line() {
    let scene = scene();
    let mut bytes = fs::read(scene.fixture.published(TGZ)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let path = scene.path("replaced");
    fs::write(&path, bytes).unwrap();
    scene.world.state().served.insert(PATH.to_owned(), path);
    scene.refuses("the MD5 of Python-9.1.0.tgz is ");
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
        (Fault::Status(204, Vec::new()), "the size of Python-9.1.0.tgz is 0", 1),
        (elsewhere, "is refused: it redirects to another host, 127.0.0.2", 1),
        (Fault::TenGigabytes, "sends more than the 314572800 bytes that are allowed", 1),
        (Fault::Body(Vec::new()), "the size of Python-9.1.0.tgz is 0", 1),
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
