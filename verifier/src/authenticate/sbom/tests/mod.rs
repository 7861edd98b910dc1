//! Documents as release-tools writes them, of small archives; and everything that can be wrong.

use std::io::Write;

use proptest::prelude::*;
use rebuilder::Digest;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::document::Document;
use super::{DOCUMENT_BYTES_MAX, check, is_expected};
use crate::compare::Limits;
use crate::evidence::{CheckOutcome, Evidence};

const NAME: &str = "Python-9.1.0.tgz";
const TOP: &str = "Python-9.1.0";
const FILES: &[(&str, &str)] =
    &[("Lib/hello.py", "print('hello')\n"), ("Lib/a_b", "1"), ("Lib/a-b", "2"), ("README", "")];

/// An archive, and the document that belongs to it.
struct Release {
    archive: tempfile::NamedTempFile,
    sha256: Digest,
    document: Value,
}

impl Release {
    /// Of these files, a directory and a symbolic link.
    fn new(files: &[(&str, &str)]) -> Release {
        let bytes = gzip(&tar(files));
        let sha256 = Digest::of(&bytes);
        let mut archive = tempfile::NamedTempFile::new().unwrap();
        archive.write_all(&bytes).unwrap();
        Release { archive, sha256, document: document(files, sha256) }
    }

    fn check(&self) -> Evidence {
        self.check_bytes(&serde_json::to_vec_pretty(&self.document).unwrap())
    }

    fn check_bytes(&self, document: &[u8]) -> Evidence {
        check(document, NAME, self.sha256, self.archive.path(), &Limits::default()).unwrap()
    }

    /// The listed file.
    fn listed(&mut self, name: &str) -> &mut Value {
        let files = self.document["files"].as_array_mut().unwrap();
        files.iter_mut().find(|file| file["fileName"] == name).unwrap()
    }

    #[track_caller]
    fn disagrees(&self, expected: &str) {
        let evidence = self.check();
        assert_eq!(evidence.outcome, CheckOutcome::Disagrees, "{evidence:?}");
        assert!(evidence.detail.contains(expected), "{expected}: {}", evidence.detail);
    }
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut append = |path: String, kind: tar::EntryType, text: &str, link: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    };
    append(format!("{TOP}/"), tar::EntryType::Directory, "", "");
    append(format!("{TOP}/hello.py"), tar::EntryType::Symlink, "", "Lib/hello.py");
    for (path, text) in files {
        append(format!("{TOP}/{path}"), tar::EntryType::Regular, text, "");
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(name: &str, text: &str) -> Value {
    let sha1 = hex::encode(Sha1::digest(text.as_bytes()));
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' };
    let id: String = name.chars().map(plain).collect();
    json!({"SPDXID": format!("SPDXRef-FILE-{id}"), "fileName": name, "checksums": [
        {"algorithm": "SHA1", "checksumValue": sha1},
        {"algorithm": "SHA256", "checksumValue": Digest::of(text.as_bytes())},
    ]})
}

fn document(files: &[(&str, &str)], sha256: Digest) -> Value {
    let files: Vec<Value> = files.iter().map(|(name, text)| file(name, text)).collect();
    json!({
        "SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3", "name": "CPython SBOM",
        "dataLicense": "CC0-1.0", "documentNamespace": "https://a.example/x.spdx.json",
        "creationInfo": {"created": "2025-06-11T16:00:00Z", "creators": ["Tool: ReleaseTools-0"]},
        "packages": [
            {"SPDXID": "SPDXRef-PACKAGE-expat", "name": "expat", "downloadLocation": "x",
             "checksums": [{"algorithm": "SHA256", "checksumValue": Digest::of(b"expat")}]},
            {"SPDXID": "SPDXRef-PACKAGE-cpython", "name": "CPython", "downloadLocation": "x",
             "packageFileName": NAME, "versionInfo": "9.1.0", "filesAnalyzed": true,
             "checksums": [{"algorithm": "SHA256", "checksumValue": sha256}]},
        ],
        "files": files,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
             "relatedSpdxElement": "SPDXRef-PACKAGE-cpython"},
        ],
    })
}

#[test]
fn releases_since_the_middle_of_3_12_have_a_document() {
    for (version, expected) in [
        ("3.11.14", false),
        ("3.12.1", false),
        ("3.12.2", true),
        ("3.12.11", true),
        ("3.13.0a3", false),
        ("3.13.0a4", true),
        ("3.13.0", true),
        ("3.15.0rc1", true),
    ] {
        assert_eq!(is_expected(&version.parse().unwrap()), expected, "{version}");
    }
}

#[test]
fn a_document_that_lists_the_archive_agrees() {
    let evidence = Release::new(FILES).check();
    assert_eq!(evidence.outcome, CheckOutcome::Agrees, "{evidence:?}");
    let expected = "lists this archive and its 4 files; made 2025-06-11T16:00:00Z";
    assert_eq!(evidence.detail, expected);
    assert_eq!(evidence.artifact, NAME);
}

#[test]
fn files_that_are_missing_added_or_altered_are_named() {
    let mut missing = Release::new(FILES);
    missing.document["files"].as_array_mut().unwrap().remove(0);
    missing.disagrees("1 mismatch: in the archive but not listed: Lib/hello.py");

    let mut added = Release::new(FILES);
    added.document["files"].as_array_mut().unwrap().push(file("Lib/evil.py", "x"));
    added.disagrees("1 mismatch: listed but not in the archive: Lib/evil.py");

    let mut altered = Release::new(FILES);
    *altered.listed("Lib/a_b") = file("Lib/a_b", "other");
    altered.disagrees("1 mismatch: other bytes than listed: Lib/a_b (SHA-256)");

    let mut sha1 = Release::new(FILES);
    sha1.listed("README")["checksums"][0]["checksumValue"] = json!("0".repeat(40));
    sha1.disagrees("other bytes than listed: README (SHA-1)");

    let mut twice = Release::new(FILES);
    twice.document["files"].as_array_mut().unwrap().push(file("./README", ""));
    twice.disagrees("1 mismatch: more than once: README in the document");

    let mut link = Release::new(FILES);
    link.document["files"].as_array_mut().unwrap().push(file("hello.py", "print('hello')\n"));
    link.disagrees("1 mismatch: listed but no regular file: hello.py");

    let mut weak = Release::new(FILES);
    weak.listed("README")["checksums"].as_array_mut().unwrap().remove(1);
    weak.disagrees("README (no SHA-256 is listed)");
}

#[test]
fn an_archive_with_a_member_twice_is_no_archive_of_the_document() {
    let mut release = Release::new(&[("README", "1"), ("README", "2")]);
    release.document = document(&[("README", "1")], release.sha256);
    release.disagrees("1 mismatch: more than once: README in the archive");
}

#[test]
fn the_document_of_another_file_disagrees() {
    let mut other = Release::new(FILES);
    let wrong = Digest::of(b"another archive");
    other.document["packages"][1]["checksums"][0]["checksumValue"] = json!(wrong);
    other.disagrees(&format!("it is of an archive with SHA-256 {wrong}"));
    other.document["packages"][1]["checksums"] = json!([]);
    other.disagrees("it names no SHA-256 of the archive");

    let mut named = Release::new(FILES);
    named.document["packages"][1]["packageFileName"] = json!("Python-9.1.1.tgz");
    named.disagrees("it is of the file Python-9.1.1.tgz");
    named.document["relationships"][0]["relatedSpdxElement"] = json!("SPDXRef-PACKAGE-expat");
    named.disagrees("it describes expat, not CPython");
}

#[test]
fn the_first_twenty_mismatches_are_named_and_all_are_counted() {
    let names: Vec<String> = (0..1234).map(|number| format!("file{number:04}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let mut release = Release::new(&files);
    release.document["files"] = json!([]);
    let detail = release.check().detail;
    assert!(detail.starts_with("1,234 mismatches: in the archive but not listed: file0000, "));
    assert!(detail.ends_with("file0019; and 1,214 more"), "{detail}");
}

#[test]
fn names_cannot_fool_a_reader_or_fill_a_page() {
    let long = format!("\u{1b}[2J\u{202e}{}", "x".repeat(4000));
    let mut release = Release::new(FILES);
    release.document["files"].as_array_mut().unwrap().push(file(&long, "x"));
    let detail = release.check().detail;
    assert!(detail.len() < 400 && !detail.contains('\u{1b}'), "{detail:?}");
}

#[test]
fn what_is_no_spdx_2_3_document_disagrees_and_says_why() {
    let cases = [
        ("dataLicense", json!("MIT"), "6.2"),
        ("SPDXID", json!("SPDXRef-X"), "6.3"),
        ("creationInfo", json!({"created": "x", "creators": []}), "6.8"),
        ("relationships", json!([]), "exactly one package"),
        ("packages", json!([]), "7.2"),
        ("packages", json!("all"), "invalid type"),
        ("files", json!([{"SPDXID": "x", "fileName": "y", "checksums": []}]), "no SHA1 (8.4)"),
        ("files", Value::Null, "invalid type"),
    ];
    for (key, value, expected) in cases {
        let mut release = Release::new(FILES);
        release.document[key] = value;
        release.disagrees(expected);
    }
    let release = Release::new(FILES);
    let twice = br#"{"spdxVersion": "SPDX-2.3", "spdxVersion": "SPDX-2.3"}"#;
    for bytes in [&b"<html>not found</html>"[..], b"", b"\xff\xfe", b"null", b"[]", twice] {
        let evidence = release.check_bytes(bytes);
        assert_eq!(evidence.outcome, CheckOutcome::Disagrees, "{evidence:?}");
        assert!(evidence.detail.starts_with("it is no SPDX 2.3 document: "), "{evidence:?}");
    }
}

#[test]
fn what_is_not_read_cannot_be_checked() {
    let mut later = Release::new(FILES);
    later.document["spdxVersion"] = json!("SPDX-3.0");
    let evidence = later.check();
    assert_eq!(evidence.outcome, CheckOutcome::CannotCheck);
    assert_eq!(evidence.detail, "it is \"SPDX-3.0\", not SPDX-2.3");

    let release = Release::new(FILES);
    let long = vec![b' '; DOCUMENT_BYTES_MAX + 1];
    assert_eq!(release.check_bytes(&long).outcome, CheckOutcome::CannotCheck);

    let mut sums = Release::new(FILES);
    let sum = sums.listed("README")["checksums"][0].clone();
    sums.listed("README")["checksums"] = Value::Array(vec![sum; 65_537]);
    assert_eq!(sums.check().outcome, CheckOutcome::CannotCheck);

    let mut many = Release::new(FILES);
    let related = many.document["relationships"][0].clone();
    many.document["relationships"] = Value::Array(vec![related; 65_537]);
    let evidence = many.check();
    assert_eq!(evidence.outcome, CheckOutcome::CannotCheck);
    assert!(evidence.detail.contains("over the limit of 65536"), "{evidence:?}");
}

#[test]
fn deep_nesting_is_passed_over() {
    let release = Release::new(FILES);
    let text = release.document.to_string();
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let nested = format!("{{\"annotations\": {deep}, {}", &text[1..]);
    assert_eq!(release.check_bytes(nested.as_bytes()).outcome, CheckOutcome::Agrees);
    let open = format!("{{\"annotations\": {}", "[{\"a\":".repeat(1_000_000));
    assert_eq!(release.check_bytes(open.as_bytes()).outcome, CheckOutcome::Disagrees);
}

#[test]
fn an_archive_that_claims_two_gigabytes_or_is_none_cannot_be_checked() {
    let mut header = tar::Header::new_ustar();
    header.set_path(format!("{TOP}/README")).unwrap();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(2 << 30);
    header.set_cksum();
    for bytes in [gzip(header.as_bytes()), b"no archive".to_vec(), Vec::new()] {
        let mut release = Release::new(FILES);
        std::fs::write(release.archive.path(), &bytes).unwrap();
        release.sha256 = Digest::of(&bytes);
        release.document = document(&[("README", "")], release.sha256);
        let evidence = release.check();
        assert_eq!(evidence.outcome, CheckOutcome::CannotCheck, "{evidence:?}");
        assert!(evidence.detail.contains("cannot be listed"), "{evidence:?}");
    }
}

#[test]
fn an_archive_with_more_members_than_the_limit_cannot_be_checked() {
    let release = Release::new(FILES);
    let limits = Limits { members_max: 3, ..Limits::default() };
    let document = release.document.to_string();
    let path = release.archive.path();
    let evidence = check(document.as_bytes(), NAME, release.sha256, path, &limits).unwrap();
    assert_eq!(evidence.outcome, CheckOutcome::CannotCheck);
    assert!(evidence.detail.contains("more than 3 members"), "{evidence:?}");
}

#[test]
fn an_archive_that_is_not_there_is_trouble_of_this_machine() {
    let release = Release::new(FILES);
    let document = release.document.to_string();
    let nowhere = std::path::Path::new("/nowhere/Python-9.1.0.tgz");
    let limits = Limits::default();
    assert!(check(document.as_bytes(), NAME, release.sha256, nowhere, &limits).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_document_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = Document::parse(&bytes, DOCUMENT_BYTES_MAX);
    }

    /// Whatever single digit of a claim is another one, the document no longer agrees.
    #[test]
    fn a_changed_digit_of_any_claim_is_found(
        claim in 0..4_usize,
        place in any::<prop::sample::Index>(),
        digit in prop::sample::select("0123456789abcdef".chars().collect::<Vec<_>>()),
    ) {
        let mut release = Release::new(&[("abc0", "x")]);
        let value = match claim {
            0 => &mut release.document["packages"][1]["checksums"][0]["checksumValue"],
            1 => &mut release.document["files"][0]["checksums"][0]["checksumValue"],
            2 => &mut release.document["files"][0]["checksums"][1]["checksumValue"],
            _ => &mut release.document["files"][0]["fileName"],
        };
        let mut digits: Vec<char> = value.as_str().unwrap().chars().collect();
        let place = place.index(digits.len());
        prop_assume!(digits[place] != digit);
        digits[place] = digit;
        *value = json!(digits.into_iter().collect::<String>());
        prop_assert_eq!(release.check().outcome, CheckOutcome::Disagrees);
    }
}
