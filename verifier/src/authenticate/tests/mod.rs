//! Signatures of every kind, good and bad: OpenPGP ones made here, Sigstore ones made by the
//! production service (see `testdata/NOTICE`).

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::RevocationCode;
use proptest::prelude::*;
use rebuilder::Digest;
use serde_json::Value;
use tempfile::TempDir;

use super::signed::{self, Finding, Subject};
use super::trust::Trust;
use crate::definitions::Definitions;
use crate::environment::tests::keys::{KEY_MADE, Key};
use crate::evidence::CheckOutcome::{self, Agrees, CannotCheck, Disagrees, Missing, NotExpected};
use crate::source::Source;

const DAY: u32 = 86_400;
const SIGNED: u32 = KEY_MADE + 100 * DAY;
const CONTENT: &[u8] = b"the bytes of a release";

/// A file, and definitions that trust Mary for 9.0 to 9.13 and others for other series.
struct Scene {
    place: TempDir,
    key: Key,
    other: Key,
}

const MANAGERS: &str = r#"
expected = { sigstore = [">=9.1"], openpgp = ["<9.14"] }
[[manager]]
name = "Mary"
versions = [">=9.0,<9.14"]
sigstore = { identity = "IDENTITY", issuer = "ISSUER" }
openpgp = { fingerprint = "MARY", key = "mary.asc" }
[[manager]]
name = "Norman"
versions = [">=8,<9"]
sigstore = { identity = "norman@example.org", issuer = "https://example.org" }
openpgp = { fingerprint = "NORMAN", key = "norman.asc" }
[[manager]]
name = "Olga"
versions = [">=9.14"]
sigstore = { identity = "olga@example.org", issuer = "https://example.org" }
[[manager]]
name = "Peter"
versions = [">=7,<8"]
sigstore = { identity = "peter@example.org", issuer = "https://example.org" }
openpgp = { fingerprint = "E3FF2839C048B25C084DEBE9B26995E310250568" }
[[exception]]
version = "9.2.0"
signer = "Norman"
date = "2024-03-19"
reason = "Mary was ill"
"#;

impl Scene {
    fn new() -> Scene {
        let scene =
            Scene { place: tempfile::tempdir().unwrap(), key: Key::new(), other: Key::new() };
        fs::write(scene.file(), CONTENT).unwrap();
        scene
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("file")
    }

    /// Trusts the keys as they are now.
    fn trust(&self) -> Trust {
        self.trust_with("mary@example.org", "https://example.org")
    }

    fn trust_with(&self, identity: &str, issuer: &str) -> Trust {
        let directory = self.place.path().join("trust");
        fs::create_dir_all(&directory).unwrap();
        let text = MANAGERS
            .replace("MARY", &self.key.fingerprint())
            .replace("NORMAN", &self.other.fingerprint())
            .replace("IDENTITY", identity)
            .replace("ISSUER", issuer);
        fs::write(directory.join("release-managers.toml"), text).unwrap();
        fs::write(directory.join("mary.asc"), self.key.armoured()).unwrap();
        fs::write(directory.join("norman.asc"), self.other.armoured()).unwrap();
        Trust::load(&Definitions::Directory(self.place.path())).unwrap()
    }

    fn asc_of(&self, version: &str, asc: &str) -> Finding {
        let (path, version) = (self.file(), version.parse().unwrap());
        let sha256 = Digest::of(CONTENT);
        let subject = Subject { path: &path, sha256, version: &version };
        signed::asc(asc.as_bytes(), subject, &self.trust(), now()).unwrap()
    }

    #[track_caller]
    fn check(&self, asc: &str, outcome: CheckOutcome, detail: &str) {
        is(&self.asc_of("9.1.0", asc), outcome, detail);
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(i64::from(SIGNED + 1000 * DAY)).unwrap()
}

#[track_caller]
fn is(finding: &Finding, outcome: CheckOutcome, detail: &str) {
    assert_eq!(finding.outcome, outcome, "{finding:?}");
    assert!(finding.detail.contains(detail), "{finding:?} does not say {detail:?}");
}

#[test]
fn a_good_asc_by_the_managers_key_or_its_subkey_agrees() {
    let scene = Scene::new();
    let who = format!("signed by Mary (key {}) on 2020-12-22T", scene.key.fingerprint());
    scene.check(&scene.key.sign_detached(CONTENT, SIGNED), Agrees, &who);
    scene.check(&scene.key.sign_detached_by_subkey(CONTENT, SIGNED), Agrees, &who);
}

#[test]
fn one_flipped_bit_in_file_or_signature_disagrees() {
    let scene = Scene::new();
    let asc = scene.key.sign_detached(CONTENT, SIGNED);
    let mut other = CONTENT.to_vec();
    other[3] ^= 1;
    fs::write(scene.file(), other).unwrap();
    scene.check(&asc, Disagrees, "does not fit");
    fs::write(scene.file(), CONTENT).unwrap();
    // Of the armour's body; what it decodes to is another signature, or none.
    let body = asc.find("\n\n").unwrap() + 2;
    for place in (body..asc.len() - 40).step_by(7) {
        let mut bytes = asc.clone().into_bytes();
        bytes[place] ^= 1;
        let Ok(spoilt) = String::from_utf8(bytes) else { continue };
        let finding = scene.asc_of("9.1.0", &spoilt);
        // Only what is not signed itself may change: the key id beside the fingerprint.
        let harmless = finding.outcome == Agrees && finding.detail.contains("2020-12-22T");
        assert!(finding.outcome == Disagrees || harmless, "{place}: {finding:?}");
    }
}

#[test]
fn another_managers_key_disagrees_unless_it_is_a_known_exception() {
    let scene = Scene::new();
    let by_norman = scene.other.sign_detached(CONTENT, SIGNED);
    let should = format!("but Mary (key {}) should have", scene.key.fingerprint());
    scene.check(&by_norman, Disagrees, "signed by Norman (key ");
    scene.check(&by_norman, Disagrees, &should);
    let excused = scene.asc_of("9.2.0", &by_norman);
    is(&excused, Agrees, "signed by Norman");
    is(&excused, Agrees, "known since 2024-03-19: Mary was ill");
    let by_stranger = Key::new().sign_detached(CONTENT, SIGNED);
    scene.check(&by_stranger, Disagrees, "by the unknown key ");
}

#[test]
fn what_cannot_be_known_is_not_judged() {
    let scene = Scene::new();
    let asc = Key::new().sign_detached(CONTENT, SIGNED);
    is(
        &scene.asc_of("7.1.0", &asc),
        CannotCheck,
        "E3FF2839C048B25C084DEBE9B26995E310250568 of Peter",
    );
    is(&scene.asc_of("9.14.0", &asc), CannotCheck, "but Olga has no OpenPGP key");
    is(&scene.asc_of("5.0.0", &asc), CannotCheck, "who should have signed 5.0.0 is not known here");
}

#[test]
fn a_key_is_judged_at_the_time_of_signing() {
    let mut scene = Scene::new();
    let asc = scene.key.sign_detached(CONTENT, SIGNED);
    let early = scene.key.sign_detached(CONTENT, KEY_MADE - DAY);
    scene.check(&early, Disagrees, "signed before it was made");
    let late = scene.key.sign_detached(CONTENT, SIGNED + 2000 * DAY);
    scene.check(&late, Disagrees, "in the future");
    // Expired since, but good then.
    scene.key.certify(true, 120 * DAY);
    scene.check(&asc, Agrees, "signed by Mary");
    scene.key.certify(true, 50 * DAY);
    scene.check(&asc, Disagrees, "had expired when it signed");
    scene.key.certify(false, 0);
    scene.check(&asc, Disagrees, "is not meant to sign");
    scene.check(&scene.key.sign_detached_by_subkey(CONTENT, SIGNED), Agrees, "signed by Mary");
    scene.key.forget_back_signature();
    let by_subkey = scene.key.sign_detached_by_subkey(CONTENT, SIGNED);
    scene.check(&by_subkey, Disagrees, "is not meant to sign");
}

#[test]
fn a_revoked_key_disagrees_and_a_retired_one_keeps_its_past() {
    let mut scene = Scene::new();
    scene.key.revoke(RevocationCode::KeyRetired, SIGNED + DAY);
    scene.check(&scene.key.sign_detached(CONTENT, SIGNED), Agrees, "signed by Mary");
    let after = scene.key.sign_detached(CONTENT, SIGNED + 2 * DAY);
    scene.check(&after, Disagrees, "is revoked");
    scene.key.revoke(RevocationCode::KeyCompromised, SIGNED + 3 * DAY);
    scene.check(&scene.key.sign_detached(CONTENT, SIGNED), Disagrees, "is revoked");
}

#[test]
fn weak_hash_functions_are_refused_by_name() {
    let scene = Scene::new();
    for (hash, name) in [
        (HashAlgorithm::Sha1, "SHA1"),
        (HashAlgorithm::Md5, "MD5"),
        (HashAlgorithm::Ripemd160, "RIPEMD160"),
    ] {
        let asc = scene.key.sign_detached_weakly(CONTENT, SIGNED, hash);
        scene.check(&asc, Disagrees, &format!("a hash function that is broken ({name})"));
    }
}

#[test]
fn what_is_no_signature_disagrees() {
    let scene = Scene::new();
    let asc = scene.key.sign_detached(CONTENT, SIGNED);
    for spoilt in ["", "x", "<!DOCTYPE html>", &asc[..asc.len() / 2], &scene.key.armoured()] {
        scene.check(spoilt, Disagrees, "the signature cannot be read");
    }
    scene.check(&scene.key.sign("a text", SIGNED), Disagrees, "");
}

const COMMIT: &str = "caeb25767ae34ea59cae82502609cd610957a132";

fn tagged(scene: &Scene, version: &str, raw: Option<&str>) -> Finding {
    let source = Source {
        repository: "r".to_owned(),
        tag: format!("v{version}"),
        tag_object: None,
        commit: COMMIT.to_owned(),
        tree: COMMIT.to_owned(),
        committed: Timestamp::UNIX_EPOCH,
    };
    let version = version.parse().unwrap();
    signed::tag(raw.map(str::as_bytes), &source, &version, &scene.trust(), now()).unwrap()
}

fn tag_text(version: &str, commit: &str) -> String {
    format!("object {commit}\ntype commit\ntag v{version}\ntagger M <m@x> 1 +0000\n\nPython\n")
}

#[test]
fn a_tag_is_judged_by_its_signature_and_by_what_it_names() {
    let scene = Scene::new();
    let signed = |key: &Key, text: &str| {
        tagged(
            &scene,
            "9.1.0",
            Some(&(text.to_owned() + &key.sign_detached(text.as_bytes(), SIGNED))),
        )
    };
    let text = tag_text("9.1.0", COMMIT);
    is(&signed(&scene.key, &text), Agrees, "signed by Mary");
    is(&signed(&scene.other, &text), Disagrees, "but Mary");
    is(&signed(&Key::new(), &text), Disagrees, "unknown key");
    // A genuine signature, but of another tag or another commit.
    is(&signed(&scene.key, &tag_text("9.0.0", COMMIT)), Disagrees, "another tag");
    is(&signed(&scene.key, &tag_text("9.1.0", &"0".repeat(40))), Disagrees, "another commit");
    let altered =
        text.replace("Python", "Pithon") + &scene.key.sign_detached(text.as_bytes(), SIGNED);
    is(&tagged(&scene, "9.1.0", Some(&altered)), Disagrees, "does not fit");
    is(&tagged(&scene, "9.1.0", Some(&text)), Missing, "annotated and not signed");
    is(&tagged(&scene, "9.1.0", None), Missing, "lightweight and not signed");
    is(&tagged(&scene, "9.14.0", Some(&text)), NotExpected, "annotated and not signed");
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sigstore").join(name)
}

/// A file, its genuine bundle, and who signed it.
const GENUINE: [(&str, &str, &str, &str); 3] = [
    ("sigstore-2.0.0.tgz", "sigstore-2.0.0.v0.1.sigstore", JS, ACTIONS),
    ("rfc8785-0.1.2-py3-none-any.whl", "rfc8785.v0.2.sigstore", RFC8785, ACTIONS),
    ("blob.txt", "blob.v0.3.sigstore", "w.vollprecht@gmail.com", GITHUB),
];
const JS: &str =
    "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main";
const RFC8785: &str =
    "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2";
const ACTIONS: &str = "https://token.actions.githubusercontent.com";
const GITHUB: &str = "https://github.com/login/oauth";

fn bundle_of(trust: &Trust, file: &str, bundle: &[u8]) -> Finding {
    let (path, version) = (data(file), "9.1.0".parse().unwrap());
    let sha256 = Digest::of_file(&path).unwrap().0;
    signed::bundle(bundle, Subject { path: &path, sha256, version: &version }, trust).unwrap()
}

#[test]
fn genuine_bundles_of_every_layout_agree_with_the_right_person_only() {
    let scene = Scene::new();
    for (file, bundle, identity, issuer) in GENUINE {
        let text = fs::read(data(bundle)).unwrap();
        let found = bundle_of(&scene.trust_with(identity, issuer), file, &text);
        is(&found, Agrees, &format!("signed by {identity} ({issuer}) on 202"));
        is(&found, Agrees, ": Mary");
        let other = bundle_of(&scene.trust_with("mary@example.org", issuer), file, &text);
        is(&other, Disagrees, &format!("signed by {identity}"));
        is(&other, Disagrees, "but Mary should have as mary@example.org");
        let other = bundle_of(&scene.trust_with(identity, "https://example.org"), file, &text);
        is(&other, Disagrees, "but Mary should have as");
    }
}

#[test]
fn a_bundle_of_another_file_disagrees() {
    let scene = Scene::new();
    for (file, bundle, identity, issuer) in GENUINE {
        let other = GENUINE.iter().find(|(other, ..)| *other != file).unwrap().0;
        let text = fs::read(data(bundle)).unwrap();
        is(&bundle_of(&scene.trust_with(identity, issuer), other, &text), Disagrees, "");
    }
}

/// The genuine bundle of `blob.txt`, changed.
fn tampered(change: impl Fn(&mut Value)) -> Finding {
    let text = fs::read(data("blob.v0.3.sigstore")).unwrap();
    let mut value: Value = serde_json::from_slice(&text).unwrap();
    let before = value.clone();
    change(&mut value);
    assert_ne!(before, value, "nothing was changed");
    let trust = Scene::new().trust_with("w.vollprecht@gmail.com", GITHUB);
    bundle_of(&trust, "blob.txt", value.to_string().as_bytes())
}

/// Another byte in the middle of a base64 text.
fn other_byte(text: &mut Value) {
    let mut letters: Vec<char> = text.as_str().unwrap().chars().collect();
    let middle = letters.len() / 2;
    letters[middle] = if letters[middle] == 'A' { 'B' } else { 'A' };
    *text = letters.into_iter().collect::<String>().into();
}

#[test]
fn a_tampered_bundle_disagrees_with_its_reason() {
    let entry = "/verificationMaterial/tlogEntries/0";
    let fields = [
        "/inclusionPromise/signedEntryTimestamp".to_owned(),
        "/inclusionProof/rootHash".to_owned(),
        "/inclusionProof/hashes/0".to_owned(),
        "/canonicalizedBody".to_owned(),
    ];
    for field in fields {
        let path = format!("{entry}{field}");
        let found = tampered(|value| other_byte(value.pointer_mut(&path).unwrap()));
        println!("{path}: {}", found.detail);
        is(&found, Disagrees, "");
        assert!(!found.detail.is_empty());
    }
    let path = format!("{entry}/integratedTime");
    let found = tampered(|value| *value.pointer_mut(&path).unwrap() = "1764787000".into());
    is(&found, Disagrees, "");
    let path = "/verificationMaterial/certificate/rawBytes";
    is(&tampered(|value| other_byte(value.pointer_mut(path).unwrap())), Disagrees, "");
    let path = "/messageSignature/signature";
    is(&tampered(|value| other_byte(value.pointer_mut(path).unwrap())), Disagrees, "");
    // Of other genuine bundles, of which the second was made by Sigstore's staging instance.
    for (path, donor) in [
        (entry, "rfc8785.v0.2.sigstore"),
        ("/verificationMaterial/certificate", "rfc8785.staging.v0.3.sigstore"),
    ] {
        let donor: Value = serde_json::from_slice(&fs::read(data(donor)).unwrap()).unwrap();
        let part = donor.pointer(path).unwrap();
        is(&tampered(|value| *value.pointer_mut(path).unwrap() = part.clone()), Disagrees, "");
    }
}

#[test]
fn a_bundle_that_proves_no_time_or_has_an_unknown_layout_is_not_judged() {
    let entries = "/verificationMaterial/tlogEntries";
    let found = tampered(|value| *value.pointer_mut(entries).unwrap() = Value::Array(Vec::new()));
    is(&found, CannotCheck, "");
    let staging = fs::read(data("rfc8785.staging.v0.3.sigstore")).unwrap();
    let trust = Scene::new().trust_with("william@yossarian.net", GITHUB);
    let found = bundle_of(&trust, "rfc8785-0.1.2-py3-none-any.whl", &staging);
    is(&found, CannotCheck, "a transparency log that the trusted root does not know");
    let early = fs::read(data("no-log-entry.v0.1.sigstore")).unwrap();
    is(&bundle_of(&trust, "blob.txt", &early), CannotCheck, "");
    let next = "application/vnd.dev.sigstore.bundle.v0.9+json";
    is(&tampered(|value| value["mediaType"] = next.into()), CannotCheck, "are not known here");
    is(&tampered(|value| value["mediaType"] = "text/plain".into()), Disagrees, "it is no bundle");
}

#[test]
fn what_is_no_bundle_disagrees() {
    let trust = Scene::new().trust();
    let genuine = fs::read(data("blob.v0.3.sigstore")).unwrap();
    let deep = "[".repeat(100_000);
    for spoilt in [b"".as_slice(), b"{}", b"null", b"\xff", deep.as_bytes(), &genuine[..2000]] {
        is(&bundle_of(&trust, "blob.txt", spoilt), Disagrees, "it is no bundle");
    }
}

/// The signature and certificate of the genuine bundle, as files of their own.
fn parts() -> (String, String) {
    let text = fs::read(data("blob.v0.3.sigstore")).unwrap();
    let value: Value = serde_json::from_slice(&text).unwrap();
    let of = |path: &str| value.pointer(path).unwrap().as_str().unwrap().to_owned();
    let der = of("/verificationMaterial/certificate/rawBytes");
    let lines: Vec<&str> =
        der.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    let body = lines.join("\n");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    (of("/messageSignature/signature"), pem)
}

fn detached_of(identity: &str, file: &str, sig: &str, crt: &str) -> Finding {
    let trust = Scene::new().trust_with(identity, GITHUB);
    let (path, version) = (data(file), "9.1.0".parse().unwrap());
    let sha256 = Digest::of_file(&path).unwrap().0;
    let subject = Subject { path: &path, sha256, version: &version };
    signed::detached(sig.as_bytes(), crt.as_bytes(), subject, &trust).unwrap()
}

#[test]
fn a_detached_signature_names_its_signer_but_proves_no_time() {
    let (sig, crt) = parts();
    let right = "w.vollprecht@gmail.com";
    is(&detached_of(right, "blob.txt", &sig, &crt), CannotCheck, "nothing proves that it was");
    is(&detached_of(right, "blob.txt", &sig, &crt), CannotCheck, "signed by w.vollprecht");
    is(&detached_of("mary@example.org", "blob.txt", &sig, &crt), Disagrees, "but Mary should have");
    let other = "rfc8785-0.1.2-py3-none-any.whl";
    is(&detached_of(right, other, &sig, &crt), Disagrees, "the .sig does not fit the file");
    is(&detached_of(right, "blob.txt", "AAAA", &crt), Disagrees, "does not fit the file");
    is(&detached_of(right, "blob.txt", "%", &crt), Disagrees, "the .sig is not a signature");
    is(&detached_of(right, "blob.txt", &sig, "x"), Disagrees, "the .crt is not a certificate");
    // The authority's own signature at its end, spoilt: the same key and name, issued by nobody.
    let mut forged: Vec<u8> = crt.clone().into_bytes();
    let place = crt.find("\n-----END").unwrap() - 20;
    forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    is(&detached_of(right, "blob.txt", &sig, &forged), Disagrees, "not of Sigstore's authority");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn hostile_sidecars_never_agree_and_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        place in any::<prop::sample::Index>(),
        keep in any::<prop::sample::Index>(),
    ) {
        let key = Key::new();
        let keyring = crate::openpgp::read_keyring(&key.keyring()).unwrap();
        let check = |asc: &[u8]| {
            for signature in crate::openpgp::read_detached(asc).unwrap_or_default() {
                let found = crate::openpgp::check(&signature, &b"other bytes"[..], &keyring, now());
                assert!(found.is_err());
            }
        };
        check(&bytes);
        let genuine = key.sign_detached(CONTENT, SIGNED).into_bytes();
        check(&spliced(&genuine, &bytes, place, keep));
        let root = include_str!("../../../../config/trust/sigstore-trusted-root.json");
        let authority = super::sigstore::Authority::parse(root).unwrap();
        let bundle = fs::read(data("blob.v0.3.sigstore")).unwrap();
        let bundle = spliced(&bundle, &bytes, place, keep);
        prop_assert!(authority.bundle(&bundle, &b"other bytes"[..]).is_err());
        let (sig, crt) = parts();
        let crt = spliced(crt.as_bytes(), &bytes, place, keep);
        prop_assert!(authority.detached(sig.as_bytes(), &crt, Digest::of(b"other")).is_err());
        prop_assert!(authority.detached(&bytes, &crt, Digest::of(b"other")).is_err());
    }
}

/// Some of `bytes` in the middle of `genuine`.
fn spliced(
    genuine: &[u8],
    bytes: &[u8],
    place: prop::sample::Index,
    keep: prop::sample::Index,
) -> Vec<u8> {
    let place = place.index(genuine.len());
    let end = (place + keep.index(40)).min(genuine.len());
    let few = &bytes[..bytes.len().min(10)];
    [&genuine[..place], few, &genuine[end..]].concat()
}
