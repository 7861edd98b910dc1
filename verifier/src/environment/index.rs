//! The archive's index: from a signed InRelease file to the packages it vouches for.
//!
//! Trust goes one way: keyring, InRelease, SHA-256 of Packages.xz, SHA-256 of each `.deb`. Nothing
//! is parsed before the link above it has been checked.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use anyhow::{Context, bail, ensure};
use deb822_fast::{Deb822, Paragraph};
use debversion::Version;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use rebuilder::Digest;

use super::definition::{ArchivePath, LockedPackage, Word};
use super::signature::SignedText;

/// Longest Packages file, decompressed.
const INDEX_BYTES_MAX: u64 = 512 << 20;
/// Memory that the decoder of a Packages.xz may use.
const DECODER_BYTES_MAX: u64 = 128 << 20;
/// How far the archive's clock may be ahead of ours, in seconds.
const CLOCK_SECONDS_MAX: i64 = 86_400;

/// What a verified InRelease says about the indexes that are wanted.
#[derive(Debug)]
pub struct Release {
    /// When the index was made.
    pub date: Timestamp,
    /// Whether index files can be had by their digest.
    pub by_hash: bool,
    /// In the order in which they were asked for.
    pub indexes: Vec<IndexFile>,
}

/// An index file below `dists/<suite>/`.
#[derive(Debug)]
pub struct IndexFile {
    /// `main/binary-amd64/Packages.xz`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

impl Release {
    /// Reads the signed text and makes sure that it is the suite that was asked for, now. `paths`
    /// are the indexes that are wanted, such as `main/binary-amd64/Packages.xz`.
    pub fn parse(
        text: &SignedText,
        suite: &Word,
        paths: &[String],
        now: Timestamp,
    ) -> anyhow::Result<Release> {
        let paragraphs: Deb822 = text.as_str().parse().context("read the index")?;
        let paragraphs: Vec<Paragraph> = paragraphs.into();
        let [paragraph] = paragraphs.as_slice() else { bail!("it is not one paragraph") };
        let field = |name: &str| paragraph.get(name).map(str::trim);
        // A signed file of another suite, served under this one's name, is a replay.
        let suite = suite.as_str();
        let named = [field("Codename"), field("Suite")].contains(&Some(suite));
        ensure!(named, "it is for {}, not for {suite}", field("Codename").unwrap_or("no suite"));
        let date = time(field("Date").context("it has no date")?)?;
        ensure!(date.as_second() <= now.as_second() + CLOCK_SECONDS_MAX, "it is from {date}");
        if let Some(until) = field("Valid-Until") {
            let until = time(until)?;
            ensure!(now <= until, "it was valid until {until} only");
        }
        let sums = field("SHA256").context("it has no SHA-256 digests")?;
        let indexes = paths.iter().map(|path| index_file(sums, path.clone()));
        let indexes = indexes.collect::<anyhow::Result<_>>()?;
        let by_hash = field("Acquire-By-Hash") == Some("yes");
        Ok(Release { date, by_hash, indexes })
    }
}

fn index_file(sums: &str, path: String) -> anyhow::Result<IndexFile> {
    for line in sums.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(hex), Some(size), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if name == path {
            return Ok(IndexFile { path, size: size.parse()?, sha256: hex.parse()? });
        }
    }
    bail!("it names no {path}")
}

/// Debian writes RFC 2822 dates with a zone that the RFC does not know.
fn time(text: &str) -> anyhow::Result<Timestamp> {
    let text = text.strip_suffix(" UTC").map_or_else(|| text.to_owned(), |t| format!("{t} +0000"));
    rfc2822::DateTimeParser::new().parse_timestamp(&text).with_context(|| format!("date {text:?}"))
}

/// One package that the archive has.
#[derive(Clone, Debug)]
pub struct Package {
    /// What the lock will hold.
    pub locked: LockedPackage,
    /// `Pre-Depends` and `Depends`, joined.
    pub depends: String,
    /// `Provides`.
    pub provides: String,
}

/// Reads the Packages.xz `bytes`, whose digest has been checked, into `packages`. Of several
/// versions of one package the highest is kept.
pub fn read_packages(bytes: &[u8], packages: &mut BTreeMap<Word, Package>) -> anyhow::Result<()> {
    let stream = liblzma::stream::Stream::new_stream_decoder(DECODER_BYTES_MAX, 0)?;
    let decoder = liblzma::read::XzDecoder::new_stream(bytes, stream).take(INDEX_BYTES_MAX);
    for paragraph in Deb822::iter_paragraphs_from_reader(BufReader::new(decoder)) {
        let paragraph = paragraph.context("read the package index")?;
        let name = paragraph.get("Package").unwrap_or("a nameless package").to_owned();
        let package = package(&paragraph).with_context(|| format!("read the entry of {name}"))?;
        match packages.get(&package.locked.name) {
            Some(known) if !is_newer(&package, known)? => {}
            _ => {
                packages.insert(package.locked.name.clone(), package);
            }
        }
    }
    Ok(())
}

fn is_newer(package: &Package, known: &Package) -> anyhow::Result<bool> {
    let version = |package: &Package| package.locked.version.as_str().parse::<Version>();
    Ok(version(package)? > version(known)?)
}

fn package(paragraph: &Paragraph) -> anyhow::Result<Package> {
    let field = |name: &str| paragraph.get(name).with_context(|| format!("it has no {name}"));
    let optional = |name: &str| paragraph.get(name).unwrap_or_default().to_owned();
    let (before, after) = (optional("Pre-Depends"), optional("Depends"));
    let path: ArchivePath = field("Filename")?.parse()?;
    let locked = LockedPackage {
        name: field("Package")?.parse()?,
        version: field("Version")?.parse()?,
        path,
        size: field("Size")?.parse()?,
        sha256: field("SHA256")?.parse()?,
    };
    Ok(Package { locked, depends: format!("{before}, {after}"), provides: optional("Provides") })
}
