//! A release as announced, and the parsing that makes it safe to use.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rebuilder::Digest;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::version::Version;

/// One version as python.org announces it. Nothing here has been checked against bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Which version.
    pub version: Version,
    /// `release_date` of the API.
    pub announced: Timestamp,
    /// The source files, in the order of their names.
    pub files: Vec<PublishedFile>,
    /// Names of other files of the release: installers, archives we know no recipe for.
    pub ignored: Vec<String>,
}

/// One published source file, with what is claimed about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedFile {
    /// Its name, safe to use as a file name.
    pub name: FileName,
    /// Where it is served.
    pub url: Url,
    /// Claimed size in bytes, if any.
    pub size: Option<u64>,
    /// Claimed SHA-256, if any.
    pub sha256: Option<Digest>,
    /// Claimed MD5, if any.
    pub md5: Option<Md5>,
    /// The files beside it that speak of it.
    #[serde(default)]
    pub sidecars: Sidecars,
}

/// Where the files beside a published file are served, as far as they are announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecars {
    /// `.asc`: a detached OpenPGP signature.
    pub asc: Option<Url>,
    /// `.sigstore`: a Sigstore bundle.
    pub bundle: Option<Url>,
    /// `.sig`: a detached Sigstore signature.
    pub signature: Option<Url>,
    /// `.crt`: its certificate.
    pub certificate: Option<Url>,
    /// `.spdx.json`: an SPDX document.
    pub sbom: Option<Url>,
}

/// A file name without directory, control characters or tricks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct FileName(String);

/// A name that could reach outside a directory or fool a reader.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an acceptable file name (letters, digits, '.', '-', '_' and '+' only)")]
pub struct InvalidFileName(String);

const FILE_NAME_BYTES_MAX: usize = 128;

impl FileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = InvalidFileName;

    fn from_str(text: &str) -> Result<FileName, InvalidFileName> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
        let acceptable = !text.is_empty()
            && text.len() <= FILE_NAME_BYTES_MAX
            && !text.starts_with('.')
            && text.chars().all(plain);
        if acceptable {
            return Ok(FileName(text.to_owned()));
        }
        Err(InvalidFileName(text.chars().take(FILE_NAME_BYTES_MAX).collect()))
    }
}

impl TryFrom<String> for FileName {
    type Error = InvalidFileName;

    fn try_from(text: String) -> Result<FileName, InvalidFileName> {
        text.parse()
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An MD5 digest (RFC 1321). It protects against accidents, not attacks; python.org claimed
/// nothing better until early 2026.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Md5([u8; 16]);

/// Text that is not 32 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an MD5 digest (32 hexadecimal digits)")]
pub struct InvalidMd5(String);

impl Md5 {
    /// The MD5 of everything that `reader` gives.
    pub fn of_reader(mut reader: impl std::io::Read) -> std::io::Result<Md5> {
        use md5::Digest as _;
        let mut hasher = md5::Md5::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                return Ok(Md5(hasher.finalize().into()));
            }
            hasher.update(&buffer[..count]);
        }
    }
}

impl FromStr for Md5 {
    type Err = InvalidMd5;

    fn from_str(text: &str) -> Result<Md5, InvalidMd5> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| InvalidMd5(text.chars().take(80).collect()))?;
        Ok(Md5(bytes))
    }
}

impl TryFrom<String> for Md5 {
    type Error = InvalidMd5;

    fn try_from(text: String) -> Result<Md5, InvalidMd5> {
        text.parse()
    }
}

impl From<Md5> for String {
    fn from(md5: Md5) -> String {
        md5.to_string()
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::FileName;

    #[test]
    fn a_file_name_cannot_leave_its_directory_or_fool_a_reader() {
        for name in ["", "..", ".x", "a/b", "a\\b", "a\nb", "a b", "a\u{202e}b", "a%2fb"] {
            assert!(name.parse::<FileName>().is_err(), "{name:?}");
        }
        assert!("Python-3.15.0rc1.tar.xz".parse::<FileName>().is_ok());
    }
}
