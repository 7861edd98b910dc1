//! The two documents of an environment: what a person writes (`EnvironmentSpec`, `debian-13.toml`)
//! and what `verbatim environment lock` makes of it (`Lock`, `debian-13.lock`).
//!
//! Both are TOML. Unknown keys are errors, and every name, path and digest is parsed into a type
//! that cannot hold anything that is unsafe in a URL or a file name.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rebuilder::Digest;
use serde::{Deserialize, Serialize};

/// Longest name, version or path in either document, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What an environment is to hold; a reviewed file in `config/environments/`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// The environment's own name: `debian-13`.
    pub name: Word,
    /// Code name of the Debian release: `trixie`.
    pub suite: Word,
    /// Debian's name of the architecture: `amd64`.
    pub architecture: Word,
    /// Components of the archive that are searched: `main`.
    pub components: Vec<Word>,
    /// Packages that the recipes use; their dependencies are found by `lock`.
    pub packages: Vec<Word>,
    /// Dependencies that are left out, each with the reason why nothing misses it.
    #[serde(default)]
    pub omit: BTreeMap<Word, String>,
    /// Python wheels beside the packages.
    #[serde(default)]
    pub wheels: Vec<Requirement>,
    /// More wheels, each in a directory of its own that Python does not look into by itself: other
    /// versions, of which a recipe picks one by `PYTHONPATH`.
    #[serde(default)]
    pub beside: BTreeMap<TreePath, Requirement>,
    /// Paths of packages that are not unpacked, with everything below them.
    #[serde(default)]
    pub exclude: Vec<TreePath>,
}

/// Everything that an environment is assembled from, and the digest of the tree that comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The environment's name.
    pub name: Word,
    /// Code name of the Debian release.
    pub suite: Word,
    /// Debian's name of the architecture.
    pub architecture: Word,
    /// Date of the signed index that the packages were found in.
    pub date: Timestamp,
    /// Digest of the assembled tree: what [`super::build`] must arrive at on every machine.
    pub tree: Digest,
    /// Paths of packages that are not unpacked.
    #[serde(default)]
    pub exclude: Vec<TreePath>,
    /// In order of name.
    #[serde(rename = "package")]
    pub packages: Vec<LockedPackage>,
    /// In order of name and directory.
    #[serde(rename = "wheel", default)]
    pub wheels: Vec<LockedWheel>,
}

/// One Debian package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// `git`.
    pub name: Word,
    /// `1:2.47.3-0+deb13u1`.
    pub version: Word,
    /// Below the archive's base URL: `pool/main/g/git/git_2.47.3-0+deb13u1_amd64.deb`.
    pub path: ArchivePath,
    /// Size of the `.deb` in bytes.
    pub size: u64,
    /// SHA-256 of the `.deb`.
    pub sha256: Digest,
}

/// One Python wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedWheel {
    /// `blurb`.
    pub name: Word,
    /// `2.0.0`.
    pub version: Word,
    /// `blurb-2.0.0-py3-none-any.whl`.
    pub file: WheelFile,
    /// SHA-256 of the wheel.
    pub sha256: Digest,
    /// Where it is unpacked, if not where Python looks for modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<TreePath>,
}

impl EnvironmentSpec {
    /// Reads a `.toml` file's text.
    pub fn parse(text: &str) -> Result<EnvironmentSpec, toml::de::Error> {
        toml::from_str(text)
    }
}

impl Lock {
    /// Reads a `.lock` file's text.
    pub fn parse(text: &str) -> Result<Lock, toml::de::Error> {
        toml::from_str(text)
    }

    /// The text of the `.lock` file, for people to review.
    pub fn to_text(&self) -> anyhow::Result<String> {
        let name = &self.name;
        let body = toml::to_string(self)?;
        Ok(format!("# Written by `verbatim environment lock {name}`.\n\n{body}"))
    }
}

/// Text that a rule of its type has accepted.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<$name, InvalidText> {
                let accepts: fn(&str) -> bool = $accepts;
                if !text.is_empty() && text.len() <= TEXT_BYTES_MAX && accepts(&text) {
                    return Ok($name(text));
                }
                // Only the start: the text may be hostile and long.
                Err(InvalidText { what: $what, text: text.chars().take(80).collect() })
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<$name, InvalidText> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(checked: $name) -> String {
                checked.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Text that its type does not accept.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct InvalidText {
    what: &'static str,
    text: String,
}

checked_text!(
    /// A name or version: one path component of letters, digits and `+-.~:_`.
    Word,
    "a name or version (letters, digits and +-.~:_, beginning with a letter or digit)",
    |text| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.~:_".contains(c))
    }
);

checked_text!(
    /// A path below an archive's base URL.
    ArchivePath,
    "a path in a package archive (pool/…)",
    |text| text.starts_with("pool/") && is_plain_path(text) && text.is_ascii()
);

checked_text!(
    /// The file name of a wheel that runs anywhere.
    WheelFile,
    "the file name of a pure Python wheel (…-none-any.whl)",
    |text| text.ends_with("-none-any.whl") && is_plain_path(text) && !text.contains('/')
);

checked_text!(
    /// A path below the root of a tree, without a leading slash: `usr/share/doc`.
    TreePath,
    "a path relative to the root, without . and ..",
    is_plain_path
);

/// Relative, normalized, and without characters that mean something to a terminal or a URL.
fn is_plain_path(text: &str) -> bool {
    let plain = |c: char| !c.is_control() && !"\\?#%".contains(c);
    text.chars().all(plain)
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// A wheel that is asked for: `blurb==2.0.0`, or with a pinned hash as pip writes it,
/// `blurb==2.0.0 --hash=sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Requirement {
    /// `blurb`.
    pub name: Word,
    /// `2.0.0`.
    pub version: Word,
    /// What the file must hash to, where somebody has said so.
    pub sha256: Option<Digest>,
}

impl TryFrom<String> for Requirement {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Requirement, InvalidText> {
        parse_requirement(&text).ok_or(InvalidText {
            what: "a wheel (NAME==VERSION, optionally --hash=sha256:HEX)",
            text: text.chars().take(80).collect(),
        })
    }
}

fn parse_requirement(text: &str) -> Option<Requirement> {
    let (wanted, sha256) = match text.split_once(" --hash=sha256:") {
        Some((wanted, hex)) => (wanted, Some(hex.parse().ok()?)),
        None => (text, None),
    };
    let (name, version) = wanted.split_once("==")?;
    Some(Requirement { name: name.parse().ok()?, version: version.parse().ok()?, sha256 })
}

impl fmt::Display for Requirement {
    /// A line of pip's requirements file.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}=={}", self.name, self.version)?;
        match self.sha256 {
            Some(sha256) => write!(f, " --hash=sha256:{sha256}"),
            None => Ok(()),
        }
    }
}

impl From<&LockedWheel> for Requirement {
    fn from(wheel: &LockedWheel) -> Requirement {
        Requirement {
            name: wheel.name.clone(),
            version: wheel.version.clone(),
            sha256: Some(wheel.sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "name = 'small'\nsuite = 'trixie'\narchitecture = 'amd64'\n\
        components = ['main']\npackages = ['git', 'libstdc++6']\n";

    #[test]
    fn what_a_spec_may_not_say_is_refused_with_a_sentence() {
        assert!(EnvironmentSpec::parse(SPEC).is_ok());
        let cases = [
            ("mirror = 'x'", "unknown field `mirror`"),
            ("exclude = ['../etc']", "not a path relative to the root"),
            ("exclude = ['/etc']", "not a path relative to the root"),
            ("wheels = ['blurb']", "not a wheel"),
            ("wheels = ['blurb==2.0.0 --hash=sha256:12']", "not a wheel"),
            ("wheels = ['blurb==2.0.0 -i x']", "not a wheel"),
            ("beside = { '../x' = 'blurb==1.1.0' }", "not a path relative to the root"),
        ];
        for (line, expected) in cases {
            let error = EnvironmentSpec::parse(&format!("{SPEC}{line}\n")).unwrap_err();
            assert!(error.to_string().contains(expected), "{line}: {error}");
        }
        let name = EnvironmentSpec::parse(&SPEC.replace("small", "../x")).unwrap_err();
        assert!(name.to_string().contains("not a name"), "{name}");
    }

    #[test]
    fn a_lock_survives_being_written_and_read() {
        let lock = Lock {
            name: "small".parse().unwrap(),
            suite: "trixie".parse().unwrap(),
            architecture: "amd64".parse().unwrap(),
            date: "2026-09-12T07:55:41Z".parse().unwrap(),
            tree: Digest::of(b"tree"),
            exclude: vec!["usr/share/doc".parse().unwrap()],
            packages: vec![LockedPackage {
                name: "git".parse().unwrap(),
                version: "1:2.47.3-0+deb13u1".parse().unwrap(),
                path: "pool/main/g/git/git_2.47.3-0+deb13u1_amd64.deb".parse().unwrap(),
                size: 8861572,
                sha256: Digest::of(b"deb"),
            }],
            wheels: vec![LockedWheel {
                name: "blurb".parse().unwrap(),
                version: "2.0.0".parse().unwrap(),
                file: "blurb-2.0.0-py3-none-any.whl".parse().unwrap(),
                sha256: Digest::of(b"wheel"),
                directory: Some("usr/lib/blurb-2.0.0".parse().unwrap()),
            }],
        };
        let text = lock.to_text().unwrap();
        assert_eq!(Lock::parse(&text).unwrap(), lock);
        for (from, to) in [
            ("pool/main", "pool/../x"),
            ("pool/main", "http://x"),
            ("-none-any", "-cp313-linux"),
            ("size =", "length ="),
        ] {
            assert!(Lock::parse(&text.replace(from, to)).is_err(), "{from} {to}");
        }
    }
}
