//! Whom to trust: the release managers, their keys, and Sigstore's trusted root.
//!
//! Data, in `config/trust`; parsed strictly, so that what is held here is consistent: every version
//! has at most one manager, every key has the fingerprint that is written down for it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail};
use jiff::civil::Date;
use pep440_rs::VersionSpecifiers;
use pgp::composed::SignedPublicKey;
use serde::Deserialize;

use super::sigstore::Authority;
use crate::definitions::Definitions;
use crate::openpgp;
use crate::version::Version;

const MANAGERS: &str = "trust/release-managers.toml";
const ROOT: &str = "trust/sigstore-trusted-root.json";

/// Everything that signatures are judged by.
pub struct Trust {
    managers: Vec<Manager>,
    exceptions: Vec<Exception>,
    sigstore_since: Ranges,
    openpgp_until: Ranges,
    keyring: Vec<SignedPublicKey>,
    /// Sigstore's certificate authority and logs.
    pub authority: Authority,
}

/// Somebody who makes releases.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manager {
    /// As people call him or her.
    pub name: String,
    versions: Ranges,
    /// Who a Sigstore certificate has to name.
    pub sigstore: Identity,
    /// The OpenPGP key; none from 3.14 on.
    pub openpgp: Option<Key>,
}

/// A name in a Sigstore certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// An e-mail address.
    pub identity: String,
    /// The OpenID Connect issuer that vouched for it.
    pub issuer: String,
}

/// An OpenPGP key by its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// 40 hexadecimal digits in upper case.
    pub fingerprint: String,
    /// The file that holds it, below `trust/`; none if the key is not at hand.
    #[serde(default)]
    pub key: Option<String>,
}

/// One version that somebody else than its manager signed, for a known reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    version: Version,
    signer: String,
    /// Since when it is so.
    pub date: Date,
    /// Why it is all right.
    pub reason: String,
}

/// PEP 440 specifiers, of which one has to fit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct Ranges(Vec<VersionSpecifiers>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManagersFile {
    expected: ExpectedFile,
    manager: Vec<Manager>,
    #[serde(default)]
    exception: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedFile {
    sigstore: Ranges,
    openpgp: Ranges,
}

/// Who should have signed one version.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The manager of the version.
    pub manager: &'a Manager,
    others: Vec<(&'a Manager, &'a Exception)>,
}

impl Trust {
    /// Reads `trust/` of the definitions.
    pub fn load(definitions: &Definitions) -> anyhow::Result<Trust> {
        let text = definitions.trust_text(MANAGERS)?;
        let file: ManagersFile =
            toml::from_str(&text).with_context(|| format!("read {MANAGERS}"))?;
        let mut keyring = Vec::new();
        for manager in &file.manager {
            keyring.extend(certificate(definitions, manager)?);
        }
        let known = |name: &str| file.manager.iter().any(|manager| manager.name == name);
        for exception in &file.exception {
            if !known(&exception.signer) {
                bail!("{MANAGERS} has an exception for {:?}, who is no manager", exception.signer);
            }
        }
        let root = definitions.trust_text(ROOT)?;
        Ok(Trust {
            managers: file.manager,
            exceptions: file.exception,
            sigstore_since: file.expected.sigstore,
            openpgp_until: file.expected.openpgp,
            keyring,
            authority: Authority::parse(&root).with_context(|| format!("read {ROOT}"))?,
        })
    }

    /// Who should have signed `version`; none if that is not known.
    pub fn expected(&self, version: &Version) -> anyhow::Result<Option<Expected<'_>>> {
        let mut managers = self.managers.iter().filter(|one| one.versions.contain(version));
        let manager = match (managers.next(), managers.next()) {
            (Some(one), Some(other)) => {
                bail!("{MANAGERS} gives {version} to both {} and {}", one.name, other.name)
            }
            (Some(manager), None) => manager,
            (None, _) => return Ok(None),
        };
        let exceptions = self.exceptions.iter().filter(|one| one.version == *version);
        let signer = |exception: &'_ Exception| {
            self.managers.iter().find(|manager| manager.name == exception.signer)
        };
        let others = exceptions.filter_map(|one| Some((signer(one)?, one))).collect();
        Ok(Some(Expected { manager, others }))
    }

    /// Whether `version` should have a Sigstore signature.
    pub fn expects_sigstore(&self, version: &Version) -> bool {
        self.sigstore_since.contain(version)
    }

    /// Whether `version` and its tag should have OpenPGP signatures.
    pub fn expects_openpgp(&self, version: &Version) -> bool {
        self.openpgp_until.contain(version)
    }

    /// The OpenPGP keys at hand, of all managers.
    pub fn keyring(&self) -> &[SignedPublicKey] {
        &self.keyring
    }

    /// The name of whose key has this fingerprint.
    pub fn owner(&self, fingerprint: &str) -> Option<&str> {
        let is_owner = |one: &&Manager| one.fingerprint() == Some(fingerprint);
        self.managers.iter().find(is_owner).map(|manager| manager.name.as_str())
    }
}

impl Manager {
    /// The fingerprint of the OpenPGP key, if there is one.
    pub fn fingerprint(&self) -> Option<&str> {
        self.openpgp.as_ref().map(|key| key.fingerprint.as_str())
    }
}

impl<'a> Expected<'a> {
    /// Everybody who may have signed, the manager first.
    pub fn signers(&self) -> impl Iterator<Item = (&'a Manager, Option<&'a Exception>)> {
        let others = self.others.iter().map(|(manager, exception)| (*manager, Some(*exception)));
        std::iter::once((self.manager, None)).chain(others)
    }
}

impl Ranges {
    fn contain(&self, version: &Version) -> bool {
        self.0.iter().any(|range| range.contains(version.as_pep440()))
    }
}

impl TryFrom<Vec<String>> for Ranges {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Ranges, String> {
        let parse = |text: String| {
            let range = VersionSpecifiers::from_str(&text);
            range.map_err(|error| format!("{text:?} is no range of versions: {error}"))
        };
        Ok(Ranges(texts.into_iter().map(parse).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({})", self.identity, self.issuer)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Trust").field("managers", &self.managers).finish_non_exhaustive()
    }
}

fn certificate(
    definitions: &Definitions,
    manager: &Manager,
) -> anyhow::Result<Option<SignedPublicKey>> {
    let Some(key) = &manager.openpgp else { return Ok(None) };
    let digits = |c: char| c.is_ascii_digit() || ('A'..='F').contains(&c);
    if key.fingerprint.len() != 40 || !key.fingerprint.chars().all(digits) {
        bail!("{MANAGERS}: {:?} is no fingerprint of 40 digits 0-9 A-F", key.fingerprint);
    }
    let Some(file) = &key.key else { return Ok(None) };
    let name = format!("trust/{file}");
    let text = definitions.trust_text(&name)?;
    let keys = openpgp::read_keyring(text.as_bytes()).map_err(|error| anyhow::anyhow!(error));
    let keys = keys.with_context(|| format!("read {name}"))?;
    let wanted = |one: &SignedPublicKey| openpgp::fingerprint(one) == key.fingerprint;
    let found = keys.into_iter().find(wanted);
    let fingerprint = &key.fingerprint;
    Ok(Some(found.with_context(|| format!("{name} does not hold the key {fingerprint}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust() -> Trust {
        Trust::load(&Definitions::BuiltIn).unwrap()
    }

    #[test]
    fn every_series_has_its_manager_and_its_kinds_of_signature() {
        let trust = trust();
        for (version, name, sigstore, openpgp) in [
            ("3.7.13", "Ned Deily", false, true),
            ("3.7.14", "Ned Deily", true, true),
            ("3.9.2", "Łukasz Langa", false, true),
            ("3.10.0a1", "Pablo Galindo Salgado", false, true),
            ("3.11.0rc1", "Pablo Galindo Salgado", false, true),
            ("3.11.0", "Pablo Galindo Salgado", true, true),
            ("3.12.0a1", "Thomas Wouters", true, true),
            ("3.13.5", "Thomas Wouters", true, true),
            ("3.14.0a1", "Hugo van Kemenade", true, false),
            ("3.15.0rc1", "Hugo van Kemenade", true, false),
            ("3.17.0", "Savannah Ostrowski", true, false),
        ] {
            let version: Version = version.parse().unwrap();
            let expected = trust.expected(&version).unwrap().unwrap();
            assert_eq!(expected.manager.name, name, "{version}");
            assert_eq!(trust.expects_sigstore(&version), sigstore, "{version}");
            assert_eq!(trust.expects_openpgp(&version), openpgp, "{version}");
            assert_eq!(expected.signers().count(), 1);
        }
        for version in ["2.7.18", "3.18.0a1", "9.1.0"] {
            assert!(trust.expected(&version.parse().unwrap()).unwrap().is_none(), "{version}");
        }
    }

    #[test]
    fn an_exception_adds_a_signer_to_one_version() {
        let trust = trust();
        let names = |version: &str| -> Vec<String> {
            let expected = trust.expected(&version.parse().unwrap()).unwrap().unwrap();
            expected.signers().map(|(manager, _)| manager.name.clone()).collect()
        };
        assert_eq!(names("3.10.14"), ["Pablo Galindo Salgado", "Łukasz Langa"]);
        assert_eq!(names("3.10.13"), ["Pablo Galindo Salgado"]);
    }

    fn refused(change: &dyn Fn(String) -> String) -> String {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("trust")).unwrap();
        let text = change(Definitions::BuiltIn.text(MANAGERS).unwrap());
        std::fs::write(place.path().join(MANAGERS), text).unwrap();
        let trust = Trust::load(&Definitions::Directory(place.path()));
        let result = trust.and_then(|trust| {
            trust.expected(&"3.13.5".parse()?)?;
            Ok(())
        });
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn a_file_that_is_not_consistent_is_refused() {
        let cases: [(&str, &str, &str); 6] = [
            ("name = \"Ned Deily\"", "nom = \"Ned Deily\"", "unknown field `nom`"),
            (">=3.6.0a1,<3.8", ">=3.6.0a1,,", "is no range of versions"),
            (">=3.6.0a1,<3.8", ">=3.6.0a1", "gives 3.13.5 to both Ned Deily and Thomas Wouters"),
            ("7169605F", "7169605E", "does not hold the key 7169605E"),
            ("\"0D96DF4D", "\"0d96df4d", "is no fingerprint of 40 digits"),
            ("signer = \"Łukasz", "signer = \"Lukasz", "who is no manager"),
        ];
        for (from, to, expected) in cases {
            let error = refused(&|text| {
                assert!(text.contains(from), "{from}");
                text.replacen(from, to, 1)
            });
            assert!(error.contains(expected), "{error}");
        }
    }
}
