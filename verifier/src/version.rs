//! CPython versions as python.org writes them, parsed and ordered.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A CPython version: `3.13.5`, `3.15.0rc1`. Ordered as PEP 440 orders them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(pep440_rs::Version);

/// Text that python.org would not write as a version.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a CPython version such as 3.13.5 or 3.15.0rc1")]
pub struct InvalidVersion(String);

/// Longest text that is read as a version, in bytes.
const VERSION_BYTES_MAX: usize = 32;

impl Version {
    /// The final version that this one leads to: `3.15.0` for `3.15.0rc1`. Names the directory
    /// below `ftp/python`.
    pub fn base(&self) -> String {
        self.0.only_release().to_string()
    }

    /// The series of this version: `3.15` for `3.15.0rc1`.
    pub fn series(&self) -> String {
        let release = self.0.release();
        // Invariant: parsing lets only two or three numbers pass.
        format!("{}.{}", release[0], release[1])
    }

    /// Text that sorts as versions do, byte by byte.
    pub fn sort_key(&self) -> String {
        let release = self.0.release();
        let part = |index: usize| release.get(index).copied().unwrap_or_default();
        // Candidates come before the final version: a, b, rc, then z.
        let (kind, number) = match self.0.pre() {
            Some(pre) => (pre.kind.to_string(), pre.number),
            None => ("z".to_owned(), 0),
        };
        format!("{:010}.{:010}.{:010}.{kind}.{number:010}", part(0), part(1), part(2))
    }

    /// The tag of this version: `v3.15.0rc1`.
    pub fn tag(&self) -> String {
        format!("v{self}")
    }

    /// The version as PEP 440 specifiers take it.
    pub fn as_pep440(&self) -> &pep440_rs::Version {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Version, InvalidVersion> {
        let invalid = || InvalidVersion(text.chars().take(VERSION_BYTES_MAX).collect());
        if text.len() > VERSION_BYTES_MAX {
            return Err(invalid());
        }
        let version: pep440_rs::Version = text.parse().map_err(|_| invalid())?;
        // PEP 440 also knows epochs, post, dev and local versions and other spellings: python.org
        // uses none of them, and two names for one version would be two releases.
        let plain = matches!(version.release().len(), 2 | 3)
            && version.epoch() == 0
            && !version.is_post()
            && !version.is_dev()
            && !version.is_local()
            && version.to_string() == text;
        if plain { Ok(Version(version)) } else { Err(invalid()) }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Version, InvalidVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_read_as_python_org_writes_them() {
        for (text, base) in [("3.13.5", "3.13.5"), ("3.15.0rc1", "3.15.0"), ("2.7", "2.7")] {
            let version: Version = text.parse().unwrap();
            assert_eq!(version.to_string(), text);
            assert_eq!(version.base(), base);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "3", "3.13.5.1", "v3.13.5", "3.13.5-rc1", "3.13.5+x", "03.1.2", "3.1.2\n"]
        {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
        assert!("3.".repeat(1000).parse::<Version>().is_err());
    }

    #[test]
    fn a_candidate_comes_before_its_final_version() {
        let order = ["3.13.10", "3.14.0a7", "3.14.0b1", "3.14.0rc3", "3.14.0", "3.14.1"];
        let versions: Vec<Version> = order.iter().map(|text| text.parse().unwrap()).collect();
        assert!(versions.is_sorted());
        assert!(versions.iter().map(Version::sort_key).is_sorted());
    }

    #[test]
    fn a_candidate_belongs_to_the_series_of_its_final_version() {
        let version: Version = "3.15.0rc1".parse().unwrap();
        assert_eq!(version.series(), "3.15");
    }
}
