//! SPDX documents as release-tools makes them, of the small release and of the genuine 3.13.5.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rebuilder::Digest;
use serde_json::{Value, json};
use tests::genuine::{Prepared, is_asked_for};
use tests::{Fixture, Scene, source, spdx};
use verifier::authenticate::sbom;
use verifier::compare::Limits;
use verifier::evidence::{CheckOutcome, Evidence};
use verifier::world::Fault;

use crate::authenticate::{authenticates, evidence, finds, with_mary};
use crate::{PLACE, scene};

fn check(document: &Value, archive: &Path) -> Evidence {
    let name = archive.file_name().unwrap().to_string_lossy().into_owned();
    let (sha256, _) = Digest::of_file(archive).unwrap();
    let bytes = serde_json::to_vec_pretty(document).unwrap();
    let started = Instant::now();
    let evidence = sbom::check(&bytes, &name, sha256, archive, &Limits::default()).unwrap();
    println!("{name}: {} bytes of SPDX in {:?}: {evidence:?}", bytes.len(), started.elapsed());
    evidence
}

#[test]
fn the_document_of_an_archive_agrees_with_it_and_with_no_other() {
    let version = source::VERSION;
    let [tgz, tar_xz] = ["tgz", "tar.xz"].map(|kind| format!("Python-{version}.{kind}"));
    let [tgz, tar_xz] = [tgz, tar_xz].map(|name| Fixture::of(PLACE).published(&name));
    let documents = [&tgz, &tar_xz].map(|path| spdx::document(path));
    for (document, archive) in documents.iter().zip([&tgz, &tar_xz]) {
        let evidence = check(document, archive);
        assert_eq!(evidence.outcome, CheckOutcome::Agrees, "{evidence:?}");
        assert!(evidence.detail.starts_with("lists this archive and its "), "{evidence:?}");
    }
    let swapped = check(&documents[0], &tar_xz);
    assert_eq!(swapped.outcome, CheckOutcome::Disagrees, "{swapped:?}");
    assert!(swapped.detail.starts_with("2 mismatches: it is of the file Python-"), "{swapped:?}");
}

const TGZ: &str = "Python-9.1.0.tgz";
const ENDING: &str = ".spdx.json";

/// The document that belongs beside the .tgz.
fn true_document() -> Value {
    spdx::document(&Fixture::of(PLACE).published(TGZ))
}

/// Announces `document` beside the .tgz and expects this outcome and detail.
#[track_caller]
fn judged(scene: &Scene, document: &Value, outcome: &str, detail: &str) -> Value {
    scene.accompany(TGZ, ENDING, document.to_string().as_bytes());
    finds(scene, "sbom", TGZ, outcome, detail)
}

fn file<'a>(document: &'a mut Value, name: &str) -> &'a mut Value {
    let files = document["files"].as_array_mut().unwrap().iter_mut();
    files.into_iter().find(|file| file["fileName"] == name).unwrap()
}

fn digests(sha1: &str, sha256: &str) -> Value {
    json!([{"algorithm": "SHA1", "checksumValue": sha1},
        {"algorithm": "SHA256", "checksumValue": sha256}])
}

#[test]
fn an_sbom_is_fetched_and_compared_with_the_archive() {
    let scene = scene();
    let record = judged(&scene, &true_document(), "agrees", "lists this archive and its 6 files");
    // The .tar.xz has none, and should.
    assert_eq!(evidence(&record, "sbom", "Python-9.1.0.tar.xz").0, "missing");

    let mut unlisted = true_document();
    unlisted["files"].as_array_mut().unwrap().retain(|file| file["fileName"] != "README.rst");
    let detail = "1 mismatch: in the archive but not listed: README.rst";
    let record = judged(&scene, &unlisted, "disagrees", detail);
    assert_eq!(record["artifacts"][0]["verdict"], "reproduced");
    let text = scene.verify(&[]).exits(1).stdout.clone();
    let head = format!("cpython 9.1.0  fail: sbom of {TGZ} disagrees\n");
    assert!(text.starts_with(&head), "{text}");

    let mut added = true_document();
    let mut backdoor = file(&mut added, "README.rst").clone();
    backdoor["fileName"] = json!("m4/build-to-host.m4");
    backdoor["SPDXID"] = json!("SPDXRef-FILE-m4-build-to-host.m4");
    added["files"].as_array_mut().unwrap().push(backdoor);
    let detail = "1 mismatch: listed but not in the archive: m4/build-to-host.m4";
    judged(&scene, &added, "disagrees", detail);

    let mut altered = true_document();
    let (sha1, sha256) = ("0".repeat(40), "0".repeat(64));
    file(&mut altered, "configure")["checksums"] = digests(&sha1, &sha256);
    file(&mut altered, "Lib/hello.py")["checksums"][0]["checksumValue"] = json!(sha1);
    let detail = "2 mismatches: other bytes than listed: Lib/hello.py (SHA-1), configure (SHA-256)";
    judged(&scene, &altered, "disagrees", detail);

    let mut other = true_document();
    for package in other["packages"].as_array_mut().unwrap() {
        if package["name"] == "CPython" {
            package["checksums"][0]["checksumValue"] = json!(sha256);
        }
    }
    let detail =
        format!("1 mismatch: it is of an archive with SHA-256 {sha256}, and this one has ");
    judged(&scene, &other, "disagrees", &detail);
}

#[test]
fn a_downloaded_archive_is_compared_with_the_sbom_beside_it() {
    let (scene, mary) = with_mary();
    let bytes = std::fs::read(Fixture::of(PLACE).published(TGZ)).unwrap();
    let asc = mary.sign(&bytes);
    let (asc_name, sbom_name) = (format!("{TGZ}.asc"), format!("{TGZ}{ENDING}"));
    let mut altered = true_document();
    file(&mut altered, "configure")["checksums"] = digests(&"0".repeat(40), &"0".repeat(64));
    let said = |document: &Value, asc: Option<&str>| {
        let document = document.to_string();
        let mut files = vec![(TGZ, bytes.as_slice()), (sbom_name.as_str(), document.as_bytes())];
        files.extend(asc.map(|asc| (asc_name.as_str(), asc.as_bytes())));
        authenticates(&scene, &files, &[TGZ])
    };
    let good = said(&true_document(), Some(&asc));
    good.exits(0);
    assert!(good.stdout.contains("sbom      agrees: lists this archive and"), "{}", good.stdout);
    let bad = said(&altered, Some(&asc));
    bad.exits(1);
    assert!(bad.stdout.contains("disagrees: 1 mismatch: other bytes than"), "{}", bad.stdout);
    // Without a signature, a list that is true says nothing of who made the file.
    said(&true_document(), None).exits(2);
}

#[test]
fn an_sbom_that_cannot_be_had_is_told_from_one_that_is_wrong() {
    let scene = scene();
    let path = format!("/ftp/python/9.1.0/{TGZ}{ENDING}");
    let fail = |fault| scene.world.state().fail(&path, fault, u32::MAX);
    scene.accompany(TGZ, ENDING, b"<!DOCTYPE html>");
    finds(&scene, "sbom", TGZ, "disagrees", "");
    fail(Fault::Status(404, Vec::new()));
    finds(&scene, "sbom", TGZ, "missing", "its SPDX document is announced, but not served");
    fail(Fault::TenGigabytes);
    finds(&scene, "sbom", TGZ, "cannot_check", "its SPDX document is longer than 67108864 bytes");
    fail(Fault::Status(500, Vec::new()));
    scene.refuses(&format!("/{TGZ}{ENDING} answered HTTP 500"));
}

#[test]
fn the_genuine_source_has_a_document_that_can_be_completed_and_checked() {
    if !is_asked_for() {
        return;
    }
    let genuine = Prepared::in_place(PLACE).genuine;
    for archive in [&genuine.tgz, &genuine.tar_xz] {
        let mut document = spdx::document(archive);
        let evidence = check(&document, archive);
        assert_eq!(evidence.outcome, CheckOutcome::Agrees, "{evidence:?}");
        assert!(evidence.detail.contains("its 4,808 files"), "{evidence:?}");
        // Why ids of files cannot be asked to be unique: the genuine names make equal ones.
        let mut ids: BTreeMap<String, u32> = BTreeMap::new();
        for file in document["files"].as_array().unwrap() {
            *ids.entry(file["SPDXID"].to_string()).or_default() += 1;
        }
        assert!(ids.values().any(|count| *count > 1), "ids are unique: the comment is wrong");
        document["files"].as_array_mut().unwrap().retain(|file| file["fileName"] != "README.rst");
        let evidence = check(&document, archive);
        assert_eq!(evidence.detail, "1 mismatch: in the archive but not listed: README.rst");
    }
}
