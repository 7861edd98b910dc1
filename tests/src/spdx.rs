//! The SPDX document of a source archive, made in the way of python/release-tools, sbom.py, by
//! other code than the program under test uses.
//!
//! Left out is what no check reads: the packages that pip carries, which the script looks up on the
//! network, and package verification codes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rebuilder::Digest;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

/// The document of the archive at `path`, whose name says its version.
pub fn document(path: &Path) -> Value {
    let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let top = name.trim_end_matches(".tgz").trim_end_matches(".tar.xz").to_owned();
    let version = top.strip_prefix("Python-").expect("the archive of a release").to_owned();
    let contents = files(path, &top);
    let mut document = match contents.get("Misc/sbom.spdx.json") {
        Some(bytes) => serde_json::from_slice(bytes).expect("the source has an SPDX document"),
        None => json!({"packages": [], "files": [], "relationships": []}),
    };
    let location = format!("https://www.python.org/ftp/python/{version}/{name}");
    let object = document.as_object_mut().expect("a document is an object");
    for (key, value) in [
        ("SPDXID", json!("SPDXRef-DOCUMENT")),
        ("spdxVersion", json!("SPDX-2.3")),
        ("name", json!("CPython SBOM")),
        ("dataLicense", json!("CC0-1.0")),
        ("documentNamespace", json!(format!("{location}.spdx.json"))),
        (
            "creationInfo",
            json!({"created": "2025-06-15T17:30:00Z", "licenseListVersion": "3.22",
                "creators": ["Person: Python Release Managers", "Tool: ReleaseTools-0"]}),
        ),
    ] {
        object.insert(key.to_owned(), value);
    }
    add_packages(&mut document, path, &name, &version, &location, &contents);
    add_files(&mut document, &contents);
    document
}

/// The files of the archive without the top directory; links and directories are none.
fn files(path: &Path, top: &str) -> BTreeMap<String, Vec<u8>> {
    let file = File::open(path).expect("open the archive");
    let stream: Box<dyn Read> = match path.extension().is_some_and(|kind| kind == "tgz") {
        true => Box::new(flate2::read::GzDecoder::new(file)),
        false => Box::new(liblzma::read::XzDecoder::new(file)),
    };
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(stream).entries().expect("read the archive") {
        let mut entry = entry.expect("read a member");
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("a name in UTF-8");
        let name = name.strip_prefix(&format!("{top}/")).expect("below the top").to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("read a member");
        files.insert(name, content);
    }
    files
}

fn array<'a>(document: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    document[key].as_array_mut().expect("a document has its lists")
}

fn relationship(element: &str, kind: &str, related: &str) -> Value {
    json!({"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related})
}

const CPYTHON: &str = "SPDXRef-PACKAGE-cpython";

fn add_packages(
    document: &mut Value,
    path: &Path,
    name: &str,
    version: &str,
    location: &str,
    contents: &BTreeMap<String, Vec<u8>>,
) {
    let package = |id: &str, name: &str, version: &str, sha256: Digest| {
        json!({"SPDXID": id, "name": name, "versionInfo": version, "downloadLocation": location,
            "filesAnalyzed": true, "supplier": "Organization: Python Software Foundation",
            "primaryPackagePurpose": "SOURCE", "licenseConcluded": "NOASSERTION",
            "checksums": [{"algorithm": "SHA256", "checksumValue": sha256}]})
    };
    for known in array(document, "packages").clone() {
        let id = known["SPDXID"].as_str().expect("a package has an id");
        array(document, "relationships").push(relationship(CPYTHON, "DEPENDS_ON", id));
    }
    let (sha256, _) = Digest::of_file(path).expect("read the archive");
    let mut cpython = package(CPYTHON, "CPython", version, sha256);
    cpython["packageFileName"] = json!(name);
    array(document, "packages").push(cpython);
    for (path, wheel) in contents {
        let Some(file) = path.strip_prefix("Lib/ensurepip/_bundled/pip-") else { continue };
        let version = file.split('-').next().unwrap_or_default();
        let pip = package("SPDXRef-PACKAGE-pip", "pip", version, Digest::of(wheel));
        array(document, "packages").push(pip);
        let depends = relationship(CPYTHON, "DEPENDS_ON", "SPDXRef-PACKAGE-pip");
        array(document, "relationships").push(depends);
    }
    let describes = relationship("SPDXRef-DOCUMENT", "DESCRIBES", CPYTHON);
    array(document, "relationships").push(describes);
}

fn add_files(document: &mut Value, contents: &BTreeMap<String, Vec<u8>>) {
    let known: Vec<String> = array(document, "files")
        .iter()
        .map(|file| file["fileName"].as_str().expect("a file has a name").to_owned())
        .collect();
    for (name, content) in contents.iter().filter(|(name, _)| !known.contains(name)) {
        let id = spdx_id(&format!("SPDXRef-FILE-{name}"));
        let sha1 = hex::encode(Sha1::digest(content));
        array(document, "files").push(json!({"SPDXID": id, "fileName": name, "checksums": [
            {"algorithm": "SHA1", "checksumValue": sha1},
            {"algorithm": "SHA256", "checksumValue": Digest::of(content)},
        ]}));
        array(document, "relationships").push(relationship(CPYTHON, "CONTAINS", &id));
    }
}

/// Every run of characters that an SPDX id may not have becomes one `-`.
fn spdx_id(value: &str) -> String {
    let mut id = String::new();
    for c in value.chars() {
        match c.is_ascii_alphanumeric() || c == '.' || c == '-' {
            true => id.push(c),
            // The dash of a run that has been written already.
            false if id.ends_with('\u{0}') => {}
            false => id.push('\u{0}'),
        }
    }
    id.replace('\u{0}', "-")
}
