//! SPDX 2.3 documents in JSON, as far as they make claims about an archive. Pure.
//!
//! What the standard requires of a document, a package and a file has to be there; what it allows
//! beside that is passed over unread. serde_json passes over values without recursion, so depth
//! costs nothing, and a key that stands twice is an error: two readers cannot read two things.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use rebuilder::Digest;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest list of files, packages, relationships or checksums; CPython has 4,808 files.
const ELEMENTS_MAX: usize = 65_536;
/// How the error of a longer list begins; serde lets no other kind of error through.
const TOO_MANY: &str = "a list whose length is over the limit of";
/// SPDX 2.3, 6.3: what a document calls itself.
const DOCUMENT_ID: &str = "SPDXRef-DOCUMENT";

/// The claims of a document.
#[derive(Debug)]
pub struct Document {
    /// When it was made (6.9).
    pub created: String,
    /// The package that it describes.
    pub described: Described,
    /// Files by name (8.1), without a leading `./`.
    pub files: BTreeMap<String, FileDigests>,
    /// Names of files that are listed more than once.
    pub repeated: Vec<String>,
}

/// A package (7).
#[derive(Debug)]
pub struct Described {
    /// 7.1.
    pub name: String,
    /// 7.4.
    pub file_name: Option<String>,
    /// 7.10.
    pub sha256: Option<Digest>,
}

/// The checksums of a file (8.4).
#[derive(Debug, PartialEq, Eq)]
pub struct FileDigests {
    /// Required.
    pub sha1: [u8; 20],
    /// Allowed.
    pub sha256: Option<Digest>,
}

/// Why there are no claims.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The bytes are no SPDX 2.3 document.
    #[error("{0}")]
    Malformed(String),
    /// A bound of ours, or another version of SPDX.
    #[error("{0}")]
    NotRead(String),
}

impl Document {
    /// Reads at most `bytes_max` bytes.
    pub fn parse(bytes: &[u8], bytes_max: usize) -> Result<Document, DocumentError> {
        if bytes.len() > bytes_max {
            return Err(DocumentError::NotRead(format!("it is longer than {bytes_max} bytes")));
        }
        // The version first: of another one, nothing else can be expected.
        let version: VersionWire = json(bytes)?;
        if version.spdx_version != "SPDX-2.3" {
            let version: String = version.spdx_version.chars().take(40).collect();
            return Err(DocumentError::NotRead(format!("it is {version:?}, not SPDX-2.3")));
        }
        let wire: Wire = json(bytes)?;
        if wire.spdx_id != DOCUMENT_ID {
            return Err(malformed(format!("it does not call itself {DOCUMENT_ID} (6.3)")));
        }
        if wire.data_license != "CC0-1.0" {
            return Err(malformed("its dataLicense is not CC0-1.0 (6.2)"));
        }
        if wire.creation_info.creators.is_empty() {
            return Err(malformed("it has no creator (6.8)"));
        }
        let described = described(&wire)?;
        let (files, repeated) = files(wire.files)?;
        let created = wire.creation_info.created.into_owned();
        Ok(Document { created, described, files, repeated })
    }
}

fn malformed(reason: impl Into<String>) -> DocumentError {
    DocumentError::Malformed(format!("it is no SPDX 2.3 document: {}", reason.into()))
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.to_string().starts_with(TOO_MANY) {
            return DocumentError::NotRead(format!("it has {TOO_MANY} {ELEMENTS_MAX}"));
        }
        // serde quotes unexpected values, however long they are.
        malformed(error.to_string().chars().take(200).collect::<String>())
    })
}

/// The one package that `SPDXRef-DOCUMENT DESCRIBES` (11.1).
fn described(wire: &Wire) -> Result<Described, DocumentError> {
    let mut ids = wire.relationships.iter().filter(|relationship| {
        relationship.element == DOCUMENT_ID && relationship.kind == "DESCRIBES"
    });
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return Err(malformed("it does not describe exactly one package (11.1)"));
    };
    let mut packages = wire.packages.iter().filter(|package| package.spdx_id == id.related);
    let (Some(package), None) = (packages.next(), packages.next()) else {
        return Err(malformed("not exactly one package has the id that it describes (7.2)"));
    };
    Ok(Described {
        name: package.name.clone().into_owned(),
        file_name: package.file_name.clone().map(Cow::into_owned),
        sha256: sha256_of(&package.checksums)?,
    })
}

type Files = (BTreeMap<String, FileDigests>, Vec<String>);

fn files(wire: Vec<FileWire>) -> Result<Files, DocumentError> {
    let mut files = BTreeMap::new();
    let mut repeated = Vec::new();
    for file in wire {
        let digests = FileDigests { sha1: sha1_of(&file)?, sha256: sha256_of(&file.checksums)? };
        let name = file.name.strip_prefix("./").unwrap_or(&file.name).to_owned();
        // SPDX ids (8.2) are not looked at: release-tools makes one id of `a-b` and `a_b`.
        match files.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(digests);
            }
            Entry::Occupied(entry) => repeated.push(entry.key().clone()),
        }
    }
    Ok((files, repeated))
}

fn sha1_of(file: &FileWire) -> Result<[u8; 20], DocumentError> {
    let name = || file.name.chars().take(80).collect::<String>();
    let value = one_checksum(&file.checksums, "SHA1")?
        .ok_or_else(|| malformed(format!("{:?} has no SHA1 (8.4)", name())))?;
    let mut bytes = [0; 20];
    hex::decode_to_slice(value, &mut bytes)
        .map_err(|_| malformed(format!("the SHA1 of {:?} is none (8.4)", name())))?;
    Ok(bytes)
}

fn sha256_of(checksums: &[ChecksumWire]) -> Result<Option<Digest>, DocumentError> {
    let value = one_checksum(checksums, "SHA256")?;
    value
        .map(str::parse)
        .transpose()
        .map_err(|error: rebuilder::InvalidDigest| malformed(error.to_string()))
}

/// Two checksums of one kind would let two readers see two files.
fn one_checksum<'a>(
    checksums: &'a [ChecksumWire],
    algorithm: &str,
) -> Result<Option<&'a str>, DocumentError> {
    let mut values = checksums.iter().filter(|checksum| checksum.algorithm == algorithm);
    match (values.next(), values.next()) {
        (found, None) => Ok(found.map(|checksum| &*checksum.value)),
        _ => Err(malformed(format!("one element has two checksums of kind {algorithm}"))),
    }
}

/// A list that is given up where it is too long, and not only counted when it is in memory.
fn bounded<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Elements<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                if elements.len() >= ELEMENTS_MAX {
                    return Err(serde::de::Error::custom(TOO_MANY));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    deserializer.deserialize_seq(Elements(PhantomData))
}

#[derive(Deserialize)]
struct VersionWire<'a> {
    #[serde(rename = "spdxVersion", borrow)]
    spdx_version: Cow<'a, str>,
}

/// What 6 requires of a document.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "SPDXID", borrow)]
    spdx_id: Cow<'a, str>,
    #[serde(rename = "dataLicense", borrow)]
    data_license: Cow<'a, str>,
    #[serde(rename = "name", borrow)]
    _name: Cow<'a, str>,
    #[serde(rename = "documentNamespace", borrow)]
    _namespace: Cow<'a, str>,
    #[serde(rename = "creationInfo", borrow)]
    creation_info: CreationWire<'a>,
    #[serde(borrow, deserialize_with = "bounded")]
    packages: Vec<PackageWire<'a>>,
    #[serde(borrow, deserialize_with = "bounded")]
    files: Vec<FileWire<'a>>,
    #[serde(borrow, deserialize_with = "bounded")]
    relationships: Vec<RelationshipWire<'a>>,
}

#[derive(Deserialize)]
struct CreationWire<'a> {
    #[serde(borrow)]
    created: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "bounded")]
    creators: Vec<Cow<'a, str>>,
}

/// What 7 requires of a package, and what says which file it is.
#[derive(Deserialize)]
struct PackageWire<'a> {
    #[serde(rename = "SPDXID", borrow)]
    spdx_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(rename = "downloadLocation", borrow)]
    _location: Cow<'a, str>,
    #[serde(rename = "packageFileName", borrow, default)]
    file_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "bounded")]
    checksums: Vec<ChecksumWire<'a>>,
}

/// What 8 requires of a file.
#[derive(Deserialize)]
struct FileWire<'a> {
    #[serde(rename = "SPDXID", borrow)]
    _spdx_id: Cow<'a, str>,
    #[serde(rename = "fileName", borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "bounded")]
    checksums: Vec<ChecksumWire<'a>>,
}

#[derive(Deserialize)]
struct ChecksumWire<'a> {
    #[serde(borrow)]
    algorithm: Cow<'a, str>,
    #[serde(rename = "checksumValue", borrow)]
    value: Cow<'a, str>,
}

/// What 11 requires of a relationship.
#[derive(Deserialize)]
struct RelationshipWire<'a> {
    #[serde(rename = "spdxElementId", borrow)]
    element: Cow<'a, str>,
    #[serde(rename = "relationshipType", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "relatedSpdxElement", borrow)]
    related: Cow<'a, str>,
}
