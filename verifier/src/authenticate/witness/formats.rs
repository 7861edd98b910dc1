//! How witnesses write their records, and what they say in one form: SHA-256 by file name. Pure;
//! what is read may be hostile, or a page that says "try again later".

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};

use deb822_fast::{Deb822, Paragraph};
use jiff::Timestamp;
use rebuilder::Digest;
use serde::Deserialize;

use crate::version::Version;

/// Digests that one file may have; 3.14.0a5 has two.
const DIGESTS_MAX: usize = 8;
/// Longest Sources index, unpacked; Debian's has 60 MB.
const INDEX_BYTES_MAX: u64 = 512 << 20;
/// Memory that the decoder of a Sources.xz may use.
const DECODER_BYTES_MAX: u64 = 128 << 20;

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Lines of `sha256sum` or `sha256sum --tag`; blank lines and `#` comments are passed over.
    Sha256sum,
    /// A build definition of pyenv: `"https://…/Python-3.13.5.tar.xz#HEX"` in a shell script.
    Pyenv,
    /// versions.json of docker-library/python: the newest version of each series, the .tar.xz.
    DockerLibrary,
    /// A Sources.xz of a Debian archive, whose source packages carry the published file unchanged
    /// as `python3.13_3.13.5.orig.tar.xz`.
    DebianSources,
}

/// What a witness says of the files that it was asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    sha256: BTreeMap<String, BTreeSet<Digest>>,
    /// When the record was made, where it says so itself and somebody vouches for that.
    pub recorded: Option<Timestamp>,
}

/// A record that is not in its format.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its record cannot be read: {0}")]
pub struct Unreadable(String);

impl Statement {
    /// Every digest that it has for the file `name`.
    pub fn records_of(&self, name: &str) -> Vec<Digest> {
        self.sha256.get(name).into_iter().flatten().copied().collect()
    }
}

/// Reads the record `bytes` for what it says of the files `names`.
pub fn parse(format: Format, bytes: &[u8], names: &[String]) -> Result<Statement, Unreadable> {
    let mut found = Found { names, records: 0, statement: Statement::default() };
    match format {
        Format::Sha256sum => sha256sum(text(bytes)?, &mut found)?,
        Format::Pyenv => pyenv(text(bytes)?, &mut found)?,
        Format::DockerLibrary => docker_library(bytes, &mut found)?,
        Format::DebianSources => debian_sources(bytes, &mut found)?,
    }
    // A record of nothing at all is something else: an empty answer, or a page for people.
    match found.records {
        0 => Err(Unreadable("it holds no SHA-256 of any file".to_owned())),
        _ => Ok(found.statement),
    }
}

/// Collects what was asked for and counts the rest.
struct Found<'a> {
    names: &'a [String],
    records: u64,
    statement: Statement,
}

impl Found<'_> {
    fn add(&mut self, name: &str, sha256: Digest) -> Result<(), Unreadable> {
        self.records += 1;
        if !self.names.iter().any(|wanted| wanted == name) {
            return Ok(());
        }
        let digests = self.statement.sha256.entry(name.to_owned()).or_default();
        digests.insert(sha256);
        match digests.len() > DIGESTS_MAX {
            true => Err(Unreadable(format!("it has more than {DIGESTS_MAX} SHA-256 for {name}"))),
            false => Ok(()),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    str::from_utf8(bytes).map_err(|_| Unreadable("it is not UTF-8 text".to_owned()))
}

/// GNU coreutils manual, "md5sum invocation": `HEX  NAME`, `HEX *NAME` or `SHA256 (NAME) = HEX`.
fn sha256sum(text: &str, found: &mut Found) -> Result<(), Unreadable> {
    for (line, number) in text.lines().zip(1_u64..) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let record = untagged(line).or_else(|| tagged(line));
        let Some((name, sha256)) = record else {
            return Err(Unreadable(format!("line {number} is no line of sha256sum")));
        };
        // Lists are made in directories of all kinds.
        let name = name.rsplit('/').next().unwrap_or(name);
        found.add(name, sha256)?;
    }
    Ok(())
}

fn untagged(line: &str) -> Option<(&str, Digest)> {
    let (hex, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*'])?;
    (!name.is_empty()).then_some((name, hex.parse().ok()?))
}

fn tagged(line: &str) -> Option<(&str, Digest)> {
    let (name, hex) = line.strip_prefix("SHA256 (")?.rsplit_once(") = ")?;
    Some((name, hex.parse().ok()?))
}

/// The words in double quotes that are a URL, `#` and a digest.
fn pyenv(text: &str, found: &mut Found) -> Result<(), Unreadable> {
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for word in line.split('"').skip(1).step_by(2) {
            let Some((url, hex)) = word.split_once('#') else { continue };
            let Ok(sha256) = hex.parse() else { continue };
            let name = url.rsplit('/').next().unwrap_or(url);
            found.add(name, sha256)?;
        }
    }
    Ok(())
}

/// The keys are theirs, so unknown ones are passed over. A series that they have dropped is null.
fn docker_library(bytes: &[u8], found: &mut Found) -> Result<(), Unreadable> {
    let series: BTreeMap<String, Option<Series>> = serde_json::from_slice(bytes)
        .map_err(|error| Unreadable(error.to_string().chars().take(200).collect()))?;
    for series in series.into_values().flatten() {
        let source = series.checksums.and_then(|checksums| checksums.source);
        let sha256 = source.and_then(|source| source.sha256);
        if let (Some(version), Some(sha256)) = (series.version, sha256) {
            found.add(&format!("Python-{version}.tar.xz"), sha256)?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Series {
    version: Option<String>,
    checksums: Option<Checksums>,
}

#[derive(Deserialize)]
struct Checksums {
    source: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    sha256: Option<Digest>,
}

/// Debian's control files, deb-src-control(5) and "Checksums-Sha256" of Debian Policy, 5.6.24.
fn debian_sources(bytes: &[u8], found: &mut Found) -> Result<(), Unreadable> {
    let unreadable = |error: String| Unreadable(error.chars().take(200).collect());
    let stream = liblzma::stream::Stream::new_stream_decoder(DECODER_BYTES_MAX, 0)
        .map_err(|error| unreadable(error.to_string()))?;
    let mut decoder = liblzma::read::XzDecoder::new_stream(bytes, stream).take(INDEX_BYTES_MAX);
    for paragraph in Deb822::iter_paragraphs_from_reader(BufReader::new(&mut decoder)) {
        let paragraph: Paragraph = paragraph.map_err(|error| unreadable(error.to_string()))?;
        let sums = paragraph.get("Checksums-Sha256").unwrap_or_default();
        for line in sums.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(hex), Some(_size), Some(name)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Ok(sha256) = hex.parse() else { continue };
            let published = published_name(name);
            found.add(published.as_deref().unwrap_or(name), sha256)?;
        }
    }
    if decoder.limit() == 0 {
        return Err(Unreadable(format!("it unpacks to {INDEX_BYTES_MAX} bytes or more")));
    }
    Ok(())
}

/// `Python-3.13.5.tar.xz` for `python3.13_3.13.5.orig.tar.xz`. A version that Debian has marked as
/// its own (`+dfsg`, `+ds`) is another archive, and none of python.org.
fn published_name(name: &str) -> Option<String> {
    let (package, rest) = name.split_once('_')?;
    let series = package.strip_prefix("python")?;
    let (version, kind) = rest.split_once(".orig.tar.")?;
    // Debian Policy, 5.6.12: `~` sorts before the end, as a release candidate has to.
    let version: Version = version.replace('~', "").parse().ok()?;
    let is_of_series = version.base().strip_prefix(series)?.starts_with('.');
    match kind {
        "xz" if is_of_series => Some(format!("Python-{version}.tar.xz")),
        "gz" if is_of_series => Some(format!("Python-{version}.tgz")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::published_name;

    #[test]
    fn only_unchanged_archives_of_cpython_have_a_published_name() {
        let cases = [
            ("python3.13_3.13.5.orig.tar.xz", Some("Python-3.13.5.tar.xz")),
            ("python3.11_3.11.2.orig.tar.gz", Some("Python-3.11.2.tgz")),
            ("python3.15_3.15.0~rc1.orig.tar.xz", Some("Python-3.15.0rc1.tar.xz")),
            ("python3.13_3.13.5.orig.tar.xz.asc", None),
            ("python3.13_3.13.5+dfsg.orig.tar.xz", None),
            ("python3.13_3.14.5.orig.tar.xz", None),
            ("python3.1_3.13.5.orig.tar.xz", None),
            ("python3.13_3.13.5-2.debian.tar.xz", None),
            ("python-pip_25.1.orig.tar.gz", None),
            ("python_3.13.5.orig.tar.xz", None),
        ];
        for (name, expected) in cases {
            assert_eq!(published_name(name).as_deref(), expected, "{name}");
        }
    }
}
