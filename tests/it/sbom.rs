//! SPDX documents as release-tools makes them, of the small release and of the genuine 3.13.5.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rebuilder::Digest;
use serde_json::Value;
use tests::genuine::{Prepared, is_asked_for};
use tests::{Fixture, source, spdx};
use verifier::authenticate::sbom;
use verifier::compare::Limits;
use verifier::evidence::{CheckOutcome, Evidence};

use crate::PLACE;

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
