//! `verbatim authenticate FILE`: offline, who signed this file, and should they have?
//!
//! Needs no state directory, no network and no Python: the trusted keys are in the program, and the
//! signatures lie beside the file.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use rebuilder::Digest;
use serde::Serialize;

use crate::authenticate::sbom;
use crate::authenticate::sidecars::{self, Fetched, Sidecar};
use crate::authenticate::signed::{self, Finding, Subject};
use crate::authenticate::trust::Trust;
use crate::compare::{self, report::printable};
use crate::definitions::Definitions;
use crate::evidence::{Check, CheckOutcome, Evidence};
use crate::version::Version;

/// Of source archives.
const SOURCE_ENDINGS: [&str; 2] = [".tgz", ".tar.xz"];

/// What `verbatim authenticate` is asked.
#[derive(Args, Debug)]
pub struct AuthenticateArgs {
    /// A file of python.org, such as Python-3.14.2.tar.xz
    file: PathBuf,
    /// Its version [default: read from the name]
    #[arg(long)]
    version: Option<Version>,
    /// Its Sigstore bundle [default: FILE.sigstore or FILE.sigstore.json]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Its OpenPGP signature [default: FILE.asc]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// The answer, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The name of the file.
    pub file: String,
    /// The release that it should belong to.
    pub version: Version,
    /// What was asked about.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The conclusion.
    pub authentic: Authentic,
    /// Each signature, and the SPDX document if one lies there.
    pub evidence: Vec<Evidence>,
}

/// What all signatures together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentic {
    /// Who should have signed it has.
    Yes,
    /// Some signature says otherwise.
    No,
    /// No signature, or none that proves anything.
    Unknown,
}

impl Answer {
    /// 0 authentic, 1 not, 2 cannot tell.
    pub fn exit_status(&self) -> u8 {
        match self.authentic {
            Authentic::Yes => 0,
            Authentic::No => 1,
            Authentic::Unknown => 2,
        }
    }

    /// A few lines for people.
    pub fn text(&self) -> String {
        let (file, version) = (&self.file, &self.version);
        let head = match self.authentic {
            Authentic::Yes => format!("{file} is authentic: CPython {version}"),
            Authentic::No => format!("{file} is NOT authentic as CPython {version}"),
            Authentic::Unknown => format!("{file}: cannot tell whether it is CPython {version}"),
        };
        let mut lines = vec![head];
        for one in &self.evidence {
            let (check, outcome) = (one.check.as_str(), one.outcome.as_str());
            let colon = if one.detail.is_empty() { "" } else { ": " };
            lines.push(format!("  {check:<9} {outcome}{colon}{}", one.detail));
        }
        lines.push(format!("  sha256    {}", self.sha256));
        // A hostile signature may name anything.
        let harmless: Vec<String> = lines.iter().map(|line| printable(line)).collect();
        harmless.join("\n") + "\n"
    }
}

/// Answers, from the file, what lies beside it, and whom the definitions trust.
pub fn authenticate(args: &AuthenticateArgs, definitions: &Definitions) -> anyhow::Result<Answer> {
    let path = args.file.as_path();
    let about = || format!("read {}", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version = match &args.version {
        Some(version) => version.clone(),
        None => version_of(&name)?,
    };
    if !std::fs::metadata(path).with_context(about)?.is_file() {
        bail!("{} is not a file", path.display());
    }
    let (sha256, size) = Digest::of_file(path).with_context(about)?;
    let found = beside(args, path)?;
    let trust = Trust::load(definitions)?;
    let subject = Subject { path, sha256, version: &version };
    let signatures = [
        (Check::Sigstore, sigstore(&found, subject, &trust)?),
        (Check::Openpgp, openpgp(&found, subject, &trust)?),
    ];
    let signature =
        |(check, Finding { outcome, detail })| Evidence::new(check, &name, outcome, detail);
    let mut evidence: Vec<Evidence> = signatures.into_iter().map(signature).collect();
    evidence.extend(sbom(&found.sbom, subject, &name)?);
    let authentic = conclude(&evidence);
    Ok(Answer { file: name, version, sha256, size, authentic, evidence })
}

/// `Python-3.14.2.tar.xz` → 3.14.2; also `python-3.14.2-amd64.exe` and other files of a release.
fn version_of(name: &str) -> anyhow::Result<Version> {
    let rest = name.split_once(['P', 'p']).and_then(|(_, rest)| rest.strip_prefix("ython-"));
    let rest = rest.unwrap_or_default();
    // The longest beginning that is a version: that of 3.14.0rc1.tgz is not 3.14.0.
    let mut beginnings = (1..=rest.len()).rev().filter_map(|end| rest.get(..end));
    beginnings.find_map(|text| text.parse().ok()).with_context(|| {
        format!("{name:?} does not begin as Python-3.14.2: say which release it is by --version")
    })
}

fn beside(args: &AuthenticateArgs, path: &Path) -> anyhow::Result<Fetched> {
    let named = |file: &Path| match sidecars::signature(file)? {
        // Asked for by name: then its absence is a mistake, not an answer.
        Sidecar::None => bail!("read {}: there is no such file", file.display()),
        found => Ok(found),
    };
    let mut found = sidecars::beside(path)?;
    if let Some(bundle) = &args.bundle {
        found.bundle = named(bundle)?;
    }
    if let Some(signature) = &args.signature {
        found.asc = named(signature)?;
    }
    Ok(found)
}

fn sigstore(found: &Fetched, subject: Subject, trust: &Trust) -> anyhow::Result<Finding> {
    match (&found.bundle, &found.signature, &found.certificate) {
        (Sidecar::Bytes(bundle), _, _) => signed::bundle(bundle, subject, trust),
        (Sidecar::TooLarge, _, _) => Ok(Finding::too_large("bundle")),
        (_, Sidecar::Bytes(signature), Sidecar::Bytes(certificate)) => {
            signed::detached(signature, certificate, subject, trust)
        }
        _ => Ok(absent(trust.expects_sigstore(subject.version), "bundle")),
    }
}

fn openpgp(found: &Fetched, subject: Subject, trust: &Trust) -> anyhow::Result<Finding> {
    match &found.asc {
        Sidecar::Bytes(asc) => signed::asc(asc, subject, trust, Timestamp::now()),
        Sidecar::TooLarge => Ok(Finding::too_large(".asc")),
        Sidecar::None | Sidecar::Gone => Ok(absent(trust.expects_openpgp(subject.version), ".asc")),
    }
}

/// Nothing if there is none: who signed the file is told without it. Those of other files than
/// source archives describe something else.
fn sbom(found: &Sidecar, subject: Subject, name: &str) -> anyhow::Result<Option<Evidence>> {
    if !SOURCE_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return Ok(None);
    }
    Ok(match found {
        Sidecar::Bytes(document) => {
            let (path, limits) = (subject.path, compare::Limits::default());
            Some(sbom::check(document, name, subject.sha256, path, &limits)?)
        }
        Sidecar::TooLarge => Some(sbom::too_large(name)),
        Sidecar::None | Sidecar::Gone => None,
    })
}

fn absent(is_expected: bool, what: &str) -> Finding {
    if is_expected {
        return Finding::new(CheckOutcome::Missing, format!("there is no {what} beside the file"));
    }
    Finding::new(CheckOutcome::NotExpected, "")
}

/// One good signature is enough, and anything that contradicts is enough for the opposite. A list
/// of the contents proves nothing by itself: anybody can write one.
fn conclude(evidence: &[Evidence]) -> Authentic {
    if evidence.iter().any(|one| one.outcome == CheckOutcome::Disagrees) {
        return Authentic::No;
    }
    let is_good = |one: &Evidence| one.check != Check::Sbom && one.outcome == CheckOutcome::Agrees;
    if evidence.iter().any(is_good) { Authentic::Yes } else { Authentic::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_name() {
        for (name, version) in [
            ("Python-3.14.2.tar.xz", "3.14.2"),
            ("Python-3.15.0rc1.tgz", "3.15.0rc1"),
            ("python-3.13.5-embed-amd64.zip", "3.13.5"),
            ("python-3.13.5-macos11.pkg", "3.13.5"),
        ] {
            assert_eq!(version_of(name).unwrap().to_string(), version, "{name}");
        }
        for name in ["", "Python-", "Python-x.tgz", "x.tar.xz", "python\u{e9}-3.1.2", "Python-3"] {
            let error = version_of(name).unwrap_err().to_string();
            assert!(error.contains("--version"), "{error}");
        }
    }
}
